import { useEffect, useRef } from "react";

import { announce } from "./components/announce";
import { Composer } from "./components/Composer";
import { Transcript } from "./components/Transcript";
import type { Conversation } from "./conversation";
import { MessageRow } from "./MessageRow";
import type { View } from "./view";

/** One conversation: what was said, and the box to write in. */
export function Chat({ conversation, view }: { conversation: Conversation; view: View }) {
  const { isReplying, isInterrupted, lastEnd, problem } = view;
  const transcript = useRef<Transcript>(null);
  useBoundaries(view);

  function send(content: string) {
    const sent = conversation.send(content);
    transcript.current?.toEnd();
    return sent;
  }

  return (
    <>
      <Transcript
        ref={transcript}
        messageIds={view.messageIds}
        isLoading={view.isLoading}
        hasEarlier={view.hasEarlier}
        onLoadEarlier={conversation.loadEarlier}
        renderRow={(id) => (
          <MessageRow
            key={id}
            id={id}
            isInterrupted={isInterrupted}
            onRegenerate={conversation.regenerate}
          />
        )}
      />
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <Composer
        key={view.putBacks}
        conversationId={conversation.id}
        isReplying={isReplying}
        isInterrupted={isInterrupted}
        lastEnd={lastEnd}
        onSend={send}
        onStop={conversation.stop}
        onInterrupt={conversation.interrupt}
        onResume={conversation.resume}
      />
    </>
  );
}

const ENDS = { DONE: "Reply finished", STOPPED: "Reply stopped", ERROR: "" };

/** Says where a reply begins and ends; its words are not read out. An error is an alert by itself. */
function useBoundaries({ isReplying, streamingId, lastEnd }: View) {
  const before = useRef({ isReplying, streamingId });
  useEffect(() => {
    const was = before.current;
    before.current = { isReplying, streamingId };
    if (streamingId && streamingId !== was.streamingId) announce("Reply begins");
    if (!isReplying && was.isReplying && lastEnd) announce(ENDS[lastEnd]);
  }, [isReplying, streamingId, lastEnd]);
}
