import "./Composer.css";

import {
  type FormEvent,
  type KeyboardEvent,
  useEffect,
  useEffectEvent,
  useId,
  useRef,
  useState,
} from "react";

import { joined, loadDraft, saveDraft } from "./draft";
import { Icon, IconButton } from "./Icon";

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

export function Composer(props: Props) {
  const { conversationId, isReplying, isInterrupted, lastEnd } = props;
  const [draft, setDraft] = useState(() => loadDraft(conversationId));
  const [followUp, setFollowUp] = useState("");
  const [refusal, setRefusal] = useState("");
  const textbox = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const isQueueing = isReplying && !isInterrupted;

  // Without a mouse, the focus would bring up the keyboard over half of the page.
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) textbox.current?.focus({ preventScroll: true });
  }, []);

  // A reload puts a follow-up back into the box, too: nobody waits there for the reply.
  useEffect(() => {
    saveDraft(conversationId, joined(followUp, draft));
  }, [conversationId, followUp, draft]);

  function writeOn(text: string) {
    setDraft((current) => joined(text, current));
    textbox.current?.focus();
  }

  async function send(content: string) {
    setRefusal("");
    try {
      await props.onSend(content);
    } catch (error) {
      writeOn(content);
      setRefusal(error instanceof Error ? error.message : String(error));
    }
  }

  function submit(event: FormEvent | KeyboardEvent) {
    event.preventDefault();
    if (!draft.trim()) return;
    if (isQueueing) setFollowUp(joined(followUp, draft));
    else send(draft);
    setDraft("");
    textbox.current?.focus();
  }

  const onEnd = useEffectEvent(() => {
    setFollowUp("");
    // Not by itself after a stop, an error or a refusal: the writer decides.
    if (lastEnd === "DONE") send(followUp);
    else setDraft(joined(followUp, draft));
  });

  useEffect(() => {
    if (followUp && !isReplying) onEnd();
  }, [followUp, isReplying]);

  function onKeyDown(event: KeyboardEvent) {
    // An input method's Enter chooses a character. Safari says so only by the key code.
    const isComposing = event.nativeEvent.isComposing || event.keyCode === 229;
    if (event.key === "Enter" && !event.shiftKey && !isComposing) submit(event);
  }

  const onEscape = useEffectEvent((event: globalThis.KeyboardEvent) => {
    if (event.key !== "Escape" || event.isComposing || event.defaultPrevented) return;
    // Where a drawer is open, Esc closes it; under a dialog nothing is to be reached.
    if (isQueueing && !document.querySelector(":popover-open, :modal")) props.onStop();
  });

  useEffect(() => {
    document.addEventListener("keydown", onEscape);
    return () => document.removeEventListener("keydown", onEscape);
  }, []);

  return (
    <form className="composer" onSubmit={submit}>
      {refusal && (
        <p className="problem" role="alert">
          {refusal}
        </p>
      )}
      <div className="card">
        {followUp && (
          <div className="follow-up">
            <span className="queued">Queued</span>
            <span className="text">{followUp}</span>
            <IconButton
              icon="edit"
              name="Edit"
              ref={leavingFocus}
              onClick={() => {
                setFollowUp("");
                writeOn(followUp);
              }}
            />
          </div>
        )}
        <label className="visually-hidden" htmlFor={id}>
          Message
        </label>
        <div className="writing">
          <textarea
            id={id}
            ref={textbox}
            placeholder={isQueueing ? "Write a follow-up…" : "Write a message…"}
            enterKeyHint="send"
            value={draft}
            onChange={(event) => setDraft(event.target.value)}
            onKeyDown={onKeyDown}
          />
          <div className="tools">
            {isReplying && (
              <>
                <button
                  type="button"
                  ref={leavingFocus}
                  onClick={isInterrupted ? props.onResume : props.onInterrupt}
                >
                  <Icon name={isInterrupted ? "resume" : "interrupt"} />
                  {isInterrupted ? "Resume" : "Interrupt"}
                </button>
                <button type="button" ref={leavingFocus} onClick={props.onStop}>
                  <Icon name="stop" />
                  Stop
                </button>
              </>
            )}
            <IconButton
              icon="send"
              name="Send"
              type="submit"
              className="primary"
              title={isQueueing ? "Send when the reply is done" : "Send"}
              disabled={!draft.trim()}
            />
          </div>
        </div>
      </div>
    </form>
  );
}

/** A button that goes while it has the focus, such as Stop, leaves it to the textbox. */
function leavingFocus(button: HTMLButtonElement) {
  const { form } = button;
  return () => {
    if (document.activeElement === button) form?.querySelector("textarea")?.focus();
  };
}
