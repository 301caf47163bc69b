import { useEffect, useRef, useSyncExternalStore } from "react";

import { useAnnounce } from "./components/Announcer";
import { Composer } from "./components/Composer";
import { Transcript, type TranscriptHandle } from "./components/Transcript";
import { MessageRow } from "./MessageRow";
import type { Conversation } from "./model";
import { outbox } from "./outbox";

/** One conversation: what was said, and the box to write in. */
export function Chat({ conversation }: { conversation: Conversation }) {
  const { id, messageIds, isLoading, hasEarlier, isReplying, isInterrupted, lastEnd } =
    conversation;
  const { stop, interrupt, resume, regenerate, loadEarlier, problem } = conversation;
  const transcript = useRef<TranscriptHandle>(null);
  const putBacks = useSyncExternalStore(outbox.onPutBack, () => outbox.putBacks(id));
  useBoundaries(conversation);

  function send(content: string) {
    const sent = conversation.send(content);
    transcript.current?.toEnd();
    return sent;
  }

  return (
    <>
      <Transcript
        ref={transcript}
        messageIds={messageIds}
        isLoading={isLoading}
        hasEarlier={hasEarlier}
        onLoadEarlier={loadEarlier}
        renderRow={(messageId, isLast) => (
          <MessageRow
            key={messageId}
            id={messageId}
            isLast={isLast}
            isInterrupted={isInterrupted}
            onRegenerate={regenerate}
          />
        )}
      />
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <Composer
        key={putBacks}
        conversationId={id}
        isReplying={isReplying}
        isInterrupted={isInterrupted}
        lastEnd={lastEnd}
        onSend={send}
        onStop={stop}
        onInterrupt={interrupt}
        onResume={resume}
      />
    </>
  );
}

const ENDS = { DONE: "Reply finished", STOPPED: "Reply stopped", ERROR: "" };

/** Says where a reply begins and ends; its words are not read out. An error is an alert by itself. */
function useBoundaries({ isReplying, streamingId, lastEnd }: Conversation) {
  const announce = useAnnounce();
  const before = useRef({ isReplying, streamingId });
  useEffect(() => {
    const was = before.current;
    before.current = { isReplying, streamingId };
    if (streamingId && streamingId !== was.streamingId) announce("Reply begins");
    if (!isReplying && was.isReplying && lastEnd) announce(ENDS[lastEnd]);
  }, [isReplying, streamingId, lastEnd, announce]);
}
