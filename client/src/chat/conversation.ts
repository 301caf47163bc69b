import { listen, mutate, query, ready, repeated } from "../api/client";
import { Refused } from "../api/connection";
import * as operations from "../api/generated";
import { recorder } from "../inspector/recorder";
import { joined, loadDraft, saveDraft } from "./components/draft";
import { type Ask, follow, regenerate, send } from "./follow";
import { oncePerFrame } from "./frame";
import { newId } from "./id";
import { write } from "./messages";
import type { MessageModel } from "./model";
import { loadUnsent, saveUnsent } from "./outbox";
import { beginning, continuing, replaying, type Stream } from "./stream";
import * as rules from "./thread";
import { emptyThread, messageIn, messagesOf, PAGE, type Thread } from "./thread";
import { conversationsChanged } from "./useConversations";
import { isSameView, type View, viewOf } from "./view";

// The server says that there is no such message any more.
const GONE = new Set(["MESSAGE_CLEARED", "MESSAGE_NOT_FOUND"]);
// It would say the same again.
const FINAL = new Set(["BAD_USER_INPUT", "DOCUMENT_TOO_COSTLY"]);

/** A conversation: what is shown of it, as its events and its replies' streams say, and what people do in it. */
export class Conversation {
  #thread = emptyThread;
  #problem: string | null = null;
  #putBacks = 0;
  #view = viewOf(emptyThread, { problem: null, putBacks: 0 });
  #lifetime = new AbortController();
  #unsent: readonly MessageModel[];
  // Refused without a word on whether it was stored: the same text goes with the same id again.
  #unsure: MessageModel | null = null;
  // The replies that this window follows, by their questions.
  readonly #followed = new Map<string, { stream: Stream; leaving: AbortController }>();
  readonly #listeners = new Set<() => void>();
  readonly #writeSoon = oncePerFrame(() => this.#change());

  constructor(readonly id: string) {
    this.#unsent = loadUnsent(id);
  }

  view = (): View => this.#view;

  onView = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  open(): void {
    this.#lifetime = new AbortController();
    this.#change();
    void this.#watch(this.#lifetime.signal);
  }

  /** Leaves all that streams. What the server may not have goes on until it has it. */
  close(): void {
    this.#problem = null;
    this.#change(() => emptyThread);
    this.#lifetime.abort();
    this.#detach();
  }

  /** Shows the message at once; resolves when the server has it, rejects with the reason if it refuses it. */
  send = (content: string): Promise<void> => {
    this.#report(null);
    this.resume();
    const message = this.#unsure?.content === content ? this.#unsure : questionOf(content);
    return this.#deliver(message, this.#lifetime.signal);
  };

  /** Asks for another reply in the place of this one. */
  regenerate = (replyId: string): void => {
    const old = messageIn(this.#thread, replyId);
    if (!old) return;
    this.resume();
    const reply: MessageModel = { ...old, ...EMPTY, id: newId(), status: "STREAMING" };
    this.#reporting(this.#deliver(reply));
  };

  /** Leaves the replies that stream: they go on, and this window shows what it showed. */
  interrupt = (): void => this.#change(rules.interrupted);

  resume = (): void => this.#change(rules.attached);

  /** Ends, for everyone, all that streams. */
  stop = (): void => {
    this.resume();
    // A question that has no reply yet stands for it.
    const targets = rules.underWayIn(this.#thread);
    const stops = targets.map(({ id }) => repeated(() => mutate(operations.StopDocument, { id })));
    this.#reporting(Promise.all(stops));
  };

  /** Removes the messages for everyone. Not repeated after a cut: later there may be others. */
  clear = (): void => {
    this.#reporting(mutate(operations.ClearDocument, { conversationId: this.id }));
  };

  loadEarlier = async (): Promise<void> => {
    const before = this.#thread.listed[0]?.id;
    if (!before) return;
    const variables = { conversationId: this.id, last: PAGE, before };
    const page = query(operations.EarlierDocument, variables).then(({ messages }) =>
      this.#change((thread) => rules.earlier(thread, before, messages)),
    );
    await this.#reporting(page);
  };

  /** Streams a reply, of any conversation, from its beginning, under the text that is shown. */
  replay = (id: string): void => {
    const reply = messageIn(this.#thread, id);
    const key = reply ? keyOf(reply) : id;
    // What is still being asked for comes from its beginning anyway.
    if (this.#followed.get(key)?.stream.messageId === null) return;
    void this.#follow(key, replaying(reply ?? { id, content: "" }));
  };

  /**
   * Shows a message until a list has it; throws `Refused`, and takes it back, if the server refuses it.
   *
   * @param box ends when the one that the text came from is gone, and can no longer take it back.
   */
  async #deliver(message: MessageModel, box?: AbortSignal): Promise<void> {
    const { id, role, content, replyToId } = message;
    this.#keepUnsent([...this.#unsent.filter((each) => each.id !== id), message]);
    const begin =
      role === "USER"
        ? send({ id, content, conversationId: this.id })
        : regenerate({ id, messageId: replyToId ?? "" });
    const begun = this.#follow(keyOf(message), beginning, begin);
    this.#change((thread) => rules.awaiting(thread, message));
    const { phase, error } = await begun;
    this.#keepUnsent(this.#unsent.filter((each) => each.id !== id));
    this.#unsure = error?.code === "STORE_UNAVAILABLE" ? message : null;
    if (phase !== "failed" || !error) return;
    if (role === "USER" && (!box || box.aborted)) {
      saveDraft(this.id, joined(content, loadDraft(this.id)));
      this.#putBacks++;
      this.#problem = error.message;
    }
    this.#change((thread) => rules.removed(thread, id));
    throw new Refused({ message: error.message, extensions: error });
  }

  #keepUnsent(messages: readonly MessageModel[]): void {
    this.#unsent = messages;
    saveUnsent(this.id, messages);
  }

  /** Resolves when the server is known to have the reply, or to have refused it. */
  #follow(key: string, stream: Stream, begin: Ask | null = null): Promise<Stream> {
    this.#leave(key);
    const followed = { stream, leaving: new AbortController() };
    this.#followed.set(key, followed);
    return new Promise((resolve) => {
      const onChange = (next: Stream) => {
        followed.stream = next;
        if (next.messageId !== null || next.phase === "failed") resolve(next);
        this.#heard(key, next);
      };
      void follow(stream, begin, onChange, followed.leaving.signal);
    });
  }

  #leave(key: string): void {
    this.#followed.get(key)?.leaving.abort();
    this.#followed.delete(key);
  }

  /** Leaves what the server has. */
  #detach(): void {
    for (const [key, { stream }] of this.#followed) if (stream.messageId !== null) this.#leave(key);
  }

  #heard(key: string, { messageId, phase, content, error }: Stream): void {
    if (phase === "failed") this.#followed.delete(key);
    if (messageId === null) return;
    if (this.#lifetime.signal.aborted || this.#thread.isInterrupted) this.#detach();
    else if (phase !== "failed") this.#writeSoon();
    else if (error && GONE.has(error.code))
      this.#change((thread) => rules.removed(rules.removed(thread, messageId), key));
    else
      this.#change((thread) => rules.grown(thread, messageId, { content, status: "ERROR", error }));
  }

  #change(rule = (thread: Thread) => thread): void {
    if (this.#lifetime.signal.aborted) return;
    const before = messagesOf(this.#thread);
    this.#thread = this.#withNews(rule(this.#thread));
    write(messagesOf(this.#thread), before);
    if (this.#thread.isInterrupted) this.#detach();
    else this.#followAll();
    const notes = { problem: this.#problem, putBacks: this.#putBacks };
    const view = viewOf(this.#thread, notes, this.#view);
    if (isSameView(view, this.#view)) return;
    this.#view = view;
    for (const listener of [...this.#listeners]) listener();
  }

  // A send's stream may be faster than the list that gets its reply.
  #withNews(thread: Thread): Thread {
    let next = thread;
    for (const [key, { stream }] of this.#followed) {
      const { messageId, phase, isReplay } = stream;
      if (messageId === null) continue;
      const isListed = messageIn(next, messageId) !== undefined;
      if (isListed) {
        next = rules.grown(next, messageId, stream);
        recorder.written(messageId);
      }
      // A replay may be of another conversation; the list gets all others.
      if (phase === "ended" && (isListed || isReplay)) this.#followed.delete(key);
    }
    return next;
  }

  /** Every reply that streams, not only the newest. */
  #followAll(): void {
    for (const reply of rules.streamingIn(this.#thread)) {
      const key = keyOf(reply);
      if (!this.#followed.has(key)) void this.#follow(key, continuing(reply));
    }
  }

  /** The one source of the list: each subscription begins with the list as it is. */
  async #watch(signal: AbortSignal): Promise<void> {
    const variables = { conversationId: this.id, last: PAGE };
    let failures = 0;
    const next = ({ event }: operations.EventsSubscription) => {
      if (failures > 0) this.#report(null);
      failures = 0;
      if (event.__typename === "MessageChanged") {
        this.#change((thread) => rules.changed(thread, event.message));
      } else {
        this.#change((thread) => rules.reset(thread, event.messages));
        this.#repeatUnsent();
        this.#checkPending();
      }
      conversationsChanged();
      return true;
    };
    for (;;) {
      await ready(failures);
      if (signal.aborted) return;
      const ending = await listen(operations.EventsDocument, variables, next, signal);
      if (ending.kind !== "cut") failures++;
      if (ending.kind !== "error") continue;
      this.#report(ending.message);
      if (FINAL.has(ending.code)) return;
    }
  }

  /** Sends again what was not sent before a reload, and shows what is being sent since before it was left. */
  #repeatUnsent(): void {
    const isListed = ({ id }: MessageModel) => this.#thread.listed.some((each) => each.id === id);
    this.#keepUnsent(this.#unsent.filter((message) => !isListed(message)));
    for (const message of this.#unsent) {
      if (!this.#followed.has(keyOf(message))) this.#reporting(this.#deliver(message));
      else this.#change((thread) => rules.awaiting(thread, message));
    }
  }

  /** What the server has had, and its list has not, was cleared, or is older than the list, or newer. */
  #checkPending(): void {
    for (const { id } of this.#thread.pending) {
      if (this.#unsent.some((message) => message.id === id)) continue;
      const settle = ({ message }: operations.OneMessageQuery) =>
        this.#change((thread) =>
          message ? rules.changed(thread, message) : rules.removed(thread, id),
        );
      query(operations.OneMessageDocument, { id }).then(settle, () => {}); // the next reset asks again
    }
  }

  #report(problem: string | null): void {
    this.#problem = problem;
    this.#change();
  }

  #reporting(doing: Promise<unknown>): Promise<void> {
    this.#report(null);
    return doing.then(
      () => {},
      ({ message }: Error) => this.#report(message),
    );
  }
}

/** The id of the question, which is known before the reply's. */
function keyOf({ id, replyToId }: MessageModel): string {
  return replyToId ?? id;
}

const EMPTY = { content: "", error: null, replies: [], usage: null };

/** What the page shows until a list brings the server's. */
function questionOf(content: string): MessageModel {
  const createdAt = new Date().toISOString();
  return {
    ...EMPTY,
    id: newId(),
    role: "USER",
    status: "DONE",
    content,
    createdAt,
    replyToId: null,
  };
}
