import { lazy, Suspense, useEffect, useState } from "react";

import { connection } from "../api/client";
import { Chat } from "./Chat";
import { Announcer } from "./components/Announcer";
import { ClearButton } from "./components/Composer";
import { ConnectionStatus } from "./components/ConnectionStatus";
import { ConversationList } from "./components/ConversationList";
import { Frame } from "./components/Frame";
import { Icon } from "./components/Icon";
import { newId } from "./id";
import { goTo, useAddress } from "./useAddress";
import { useConnection } from "./useConnection";
import { useConversation } from "./useConversation";
import { useConversations } from "./useConversations";

const Inspector = lazy(() => import("../inspector/Inspector"));

export function App() {
  const id = useAddress();
  const conversation = useConversation(id);
  const conversations = useConversations();
  const state = useConnection();
  const [isInspecting, toggleInspector] = useInspector();
  const title = conversations.find((each) => each.id === id)?.title ?? "New conversation";
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <Announcer>
      <Frame
        title={title}
        sidebar={
          <ConversationList
            conversations={conversations}
            currentId={id}
            onSelect={goTo}
            onNew={() => goTo(newId())}
          />
        }
        status={<ConnectionStatus state={state} onReconnectNow={() => connection.reconnectNow()} />}
        actions={
          <>
            <ClearButton onClear={conversation.clear} />
            <button
              type="button"
              className="icon-only"
              aria-label="Stream inspector"
              title="Stream inspector"
              aria-expanded={isInspecting}
              aria-controls="inspector"
              aria-keyshortcuts="Alt+Shift+I"
              onClick={toggleInspector}
            >
              <Icon name="inspect" />
            </button>
          </>
        }
      >
        <Chat key={id} conversation={conversation} />
      </Frame>
      {isInspecting && (
        <Suspense>
          <Inspector onResumeFromStart={conversation.replay} onClose={toggleInspector} />
        </Suspense>
      )}
    </Announcer>
  );
}

function useInspector(): [boolean, () => void] {
  const [isOpen, setIsOpen] = useState(false);
  const [toggle] = useState(() => () => setIsOpen((before) => !before));
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.altKey && event.shiftKey && event.code === "KeyI") toggle();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [toggle]);
  return [isOpen, toggle];
}
