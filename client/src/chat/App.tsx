import { lazy, Suspense, useCallback, useEffect, useState, useSyncExternalStore } from "react";

import { connection, signIn } from "../api/client";
import { canSignOut, signOut } from "../api/session";
import { isGiven } from "../api/token";
import { Chat } from "./Chat";
import { ConnectionStatus } from "./components/ConnectionStatus";
import { ConversationList } from "./components/ConversationList";
import { Frame } from "./components/Frame";
import { Icon, IconButton } from "./components/Icon";
import { SignIn } from "./components/SignIn";
import { newId } from "./id";
import { goTo, useAddress } from "./useAddress";
import { useConversation } from "./useConversation";
import { useConversations } from "./useConversations";

const Inspector = lazy(() => import("../inspector/Inspector"));

export function App() {
  const id = useAddress();
  const { conversation, view } = useConversation(id);
  const conversations = useConversations();
  const state = useSyncExternalStore(connection.onState, connection.state);
  const [isInspecting, toggleInspector] = useInspector();
  const leave = canSignOut() ? signOut : undefined;
  const title = conversations.find((each) => each.id === id)?.title ?? "New conversation";
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <>
      <Frame
        title={title}
        sidebar={
          <ConversationList
            conversations={conversations}
            currentId={id}
            onNew={() => goTo(newId())}
            onSignOut={leave}
          />
        }
        status={<ConnectionStatus state={state} onReconnectNow={connection.reconnectNow} />}
        actions={
          <>
            <button type="button" onClick={conversation.clear}>
              <Icon name="clear" />
              Clear
            </button>
            <IconButton
              icon="inspect"
              name="Stream inspector"
              aria-expanded={isInspecting}
              aria-controls="inspector"
              aria-keyshortcuts="Alt+Shift+I"
              onClick={toggleInspector}
            />
          </>
        }
      >
        <Chat key={id} conversation={conversation} view={view} />
      </Frame>
      {state.kind === "unauthenticated" && (
        <SignIn
          state={state}
          isElsewhere={isGiven()}
          onSignIn={signIn}
          onTryAgain={connection.reconnectNow}
          onSignOut={leave}
        />
      )}
      {isInspecting && (
        <Suspense>
          <Inspector onResumeFromStart={conversation.replay} onClose={toggleInspector} />
        </Suspense>
      )}
    </>
  );
}

function useInspector() {
  const [isOpen, setIsOpen] = useState(false);
  const toggle = useCallback(() => setIsOpen((before) => !before), []);
  useEffect(() => {
    const onKeyDown = ({ altKey, shiftKey, code }: KeyboardEvent) => {
      if (altKey && shiftKey && code === "KeyI") toggle();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [toggle]);
  return [isOpen, toggle] as const;
}
