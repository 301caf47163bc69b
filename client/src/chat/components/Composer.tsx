import "./Composer.css";

import {
  type FocusEvent,
  type FormEvent,
  type KeyboardEvent,
  type RefObject,
  useEffect,
  useEffectEvent,
  useId,
  useRef,
  useState,
} from "react";

import { joined, loadDraft, save } from "./draft";
import { Icon } from "./Icon";

interface Props {
  conversationId: string;
  isReplying: boolean;
  /** This window has detached itself from the reply. */
  isInterrupted: boolean;
  /** The worst end of what was under way together; null while something is, or before. */
  lastEnd: "DONE" | "STOPPED" | "ERROR" | null;
  /** Resolves when the server has the message; rejects with the reason when it was refused. */
  onSend: (content: string) => Promise<void>;
  onStop: () => void;
  onInterrupt: () => void;
  onResume: () => void;
}

interface FollowUp {
  id: number;
  text: string;
}

export function Composer({
  conversationId,
  isReplying,
  isInterrupted,
  lastEnd,
  onSend,
  onStop,
  onInterrupt,
  onResume,
}: Props) {
  const [draft, setDraft] = useState(() => loadDraft(conversationId));
  const [queue, setQueue] = useState<FollowUp[]>([]);
  const [refusal, setRefusal] = useState("");
  const textbox = useRef<HTMLTextAreaElement>(null);
  const nextId = useRef(0);
  const isQueueing = isReplying && !isInterrupted;

  // Without a mouse, the focus would bring up the keyboard over half of the page.
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) textbox.current?.focus({ preventScroll: true });
  }, []);

  // A reload puts what was queued back into the box: in another session nobody waits for it.
  useEffect(() => {
    save("localStorage", conversationId, draft);
    save("sessionStorage", conversationId, joined(...queue.map(({ text }) => text)));
  }, [conversationId, queue, draft]);

  const accepted = useRef<Promise<boolean>>(Promise.resolve(true));

  function send(content: string) {
    setRefusal("");
    accepted.current = onSend(content).then(
      () => true,
      (error: unknown) => {
        setDraft((current) => joined(content, current));
        setRefusal(error instanceof Error ? error.message : String(error));
        textbox.current?.focus();
        return false;
      },
    );
  }

  function submit(event?: FormEvent) {
    event?.preventDefault();
    if (!draft.trim()) return;
    if (isQueueing) setQueue([...queue, { id: nextId.current++, text: draft }]);
    else send(draft);
    setDraft("");
    textbox.current?.focus();
  }

  const onEnd = useEffectEvent((isDone: boolean) => {
    accepted.current = Promise.resolve(true);
    const [first, ...rest] = queue;
    if (first && isDone) {
      setQueue(rest);
      send(first.text);
    } else {
      // Not by itself after a stop or an error: the writer decides.
      setQueue([]);
      setDraft((current) => joined(...queue.map(({ text }) => text), current));
    }
  });

  const wasReplying = useRef(isReplying);
  useEffect(() => {
    const hasEnded = wasReplying.current && !isReplying;
    wasReplying.current = isReplying;
    // A send that is refused ends the waiting, too; the reply before it may well be DONE.
    if (hasEnded) accepted.current.then((isAccepted) => onEnd(isAccepted && lastEnd === "DONE"));
  }, [isReplying, lastEnd]);

  useEscape(isQueueing, onStop);
  const focusKept = useFocusKept(textbox);

  function onKeyDown(event: KeyboardEvent) {
    // An input method's Enter chooses a character. Safari says so only by the key code.
    const isComposing = event.nativeEvent.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || isComposing) return;
    event.preventDefault();
    submit();
  }

  const id = useId();
  return (
    <form className="composer" onSubmit={submit} {...focusKept}>
      {refusal && (
        <p className="problem" role="alert">
          {refusal}
        </p>
      )}
      <div className="card">
        <Queue
          queue={queue}
          onEdit={({ id, text }) => {
            setQueue(queue.filter((followUp) => followUp.id !== id));
            setDraft(joined(text, draft));
            textbox.current?.focus();
          }}
          onRemove={({ id }) => {
            setQueue(queue.filter((followUp) => followUp.id !== id));
            textbox.current?.focus();
          }}
        />
        <label className="visually-hidden" htmlFor={id}>
          Message
        </label>
        <div className="writing">
          {/* The invisible copy of the text gives the box its height. */}
          <div className="growing" data-text={draft}>
            <textarea
              id={id}
              ref={textbox}
              rows={1}
              placeholder={isQueueing ? "Write a follow-up…" : "Write a message…"}
              enterKeyHint="send"
              value={draft}
              onChange={(event) => setDraft(event.target.value)}
              onKeyDown={onKeyDown}
            />
          </div>
          <div className="tools">
            {isReplying && (
              <button type="button" onClick={isInterrupted ? onResume : onInterrupt}>
                {isInterrupted ? <Icon name="resume" /> : <Icon name="interrupt" />}
                {isInterrupted ? "Resume" : "Interrupt"}
              </button>
            )}
            {isReplying && (
              <button type="button" onClick={onStop}>
                <Icon name="stop" />
                Stop
              </button>
            )}
            <button
              type="submit"
              className="primary icon-only"
              aria-label="Send"
              title={isQueueing ? "Send when the reply is done" : "Send"}
              disabled={!draft.trim()}
            >
              <Icon name="send" />
            </button>
          </div>
        </div>
      </div>
    </form>
  );
}

function Queue({
  queue,
  onEdit,
  onRemove,
}: {
  queue: FollowUp[];
  onEdit: (followUp: FollowUp) => void;
  onRemove: (followUp: FollowUp) => void;
}) {
  if (queue.length === 0) return null;
  return (
    <ul className="queue" aria-label="Queue">
      {queue.map((followUp) => (
        <li key={followUp.id}>
          <span className="queued">Queued</span>
          <span className="text">{followUp.text}</span>
          <button
            type="button"
            className="icon-only"
            aria-label="Edit"
            title="Edit"
            onClick={() => onEdit(followUp)}
          >
            <Icon name="edit" />
          </button>
          <button
            type="button"
            className="icon-only"
            aria-label="Remove"
            title="Remove"
            onClick={() => onRemove(followUp)}
          >
            <Icon name="remove" />
          </button>
        </li>
      ))}
    </ul>
  );
}

export function ClearButton({ onClear }: { onClear: () => void }) {
  return (
    <button type="button" onClick={onClear}>
      <Icon name="clear" />
      Clear
    </button>
  );
}

/** Esc, wherever the focus is, unless something else has a use for it. */
function useEscape(isOn: boolean, onEscape: () => void) {
  useEffect(() => {
    if (!isOn) return;
    function onKeyDown(event: globalThis.KeyboardEvent) {
      if (event.key !== "Escape" || event.isComposing || event.defaultPrevented) return;
      if (document.querySelector("dialog[open]")) return;
      event.preventDefault();
      onEscape();
    }
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [isOn, onEscape]);
}

/** A button that goes while it has the focus, such as Stop, leaves it to the textbox. */
function useFocusKept(textbox: RefObject<HTMLElement | null>) {
  const focused = useRef<Element>(null);
  useEffect(() => {
    if (focused.current?.isConnected === false && document.activeElement === document.body) {
      textbox.current?.focus();
    }
  });
  return {
    onFocus: ({ target }: FocusEvent) => {
      focused.current = target;
    },
    onBlur: () => {
      focused.current = null;
    },
  };
}
