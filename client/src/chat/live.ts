import { backoff } from "../api/backoff";
import { client, connection, listen, Refused } from "../api/client";
import { EventsDocument, type EventsSubscription } from "../api/generated";
import { recorder } from "../inspector/recorder";
import { type Ask, pause } from "./follow";
import { Followers } from "./followers";
import { oncePerFrame } from "./frame";
import { Mirror } from "./mirror";
import type { MessageModel, View } from "./model";
import { beginning, continuing, replayed, type Stream } from "./stream";
import {
  attached,
  awaiting,
  changed,
  emptyThread,
  grown,
  interrupted,
  messageIn,
  messagesOf,
  PAGE,
  removed,
  reset,
  streamingIn,
  type Thread,
} from "./thread";
import { viewOf } from "./view";

// The server says that there is no such message any more.
const GONE = new Set(["MESSAGE_CLEARED", "MESSAGE_NOT_FOUND"]);

/** A thread that is kept as the server's events and its replies' streams say, and shown. */
export class LiveThread {
  #thread = emptyThread;
  #problem: string | null = null;
  #view = viewOf(emptyThread, null);
  #lifetime = new AbortController();
  // What streams brought and the thread does not have yet, by the reply's id.
  readonly #news = new Map<string, Stream>();
  readonly #followers = new Followers((stream, key) => this.#heard(stream, key));
  readonly #mirror = new Mirror();
  readonly #listeners = new Set<() => void>();
  readonly #writeSoon = oncePerFrame(() => this.change((thread) => thread));

  constructor(
    private readonly conversationId: string,
    private readonly onReset: () => void,
  ) {}

  get thread(): Thread {
    return this.#thread;
  }

  view = (): View => this.#view;

  onView = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  open(): void {
    this.#lifetime = new AbortController();
    void this.#watch(this.#lifetime.signal);
  }

  close(): void {
    this.change(() => emptyThread);
    this.#lifetime.abort();
    this.#followers.detach();
  }

  get isClosed(): boolean {
    return this.#lifetime.signal.aborted;
  }

  interrupt(): void {
    this.change(interrupted);
  }

  attach(): void {
    this.change(attached);
  }

  /** Shows a message until a list has it; throws `Refused`, and takes it back, if the server refuses it. */
  async accepted(shown: MessageModel, begin: Ask): Promise<void> {
    const accepted = this.#followers.start(shown.id, beginning(), begin);
    this.change((thread) => awaiting(thread, shown));
    const { phase, error } = await accepted;
    if (phase !== "failed" || !error) return;
    this.change((thread) => removed(thread, shown.id));
    throw new Refused(error.code, error.message);
  }

  isAwaiting(id: string): boolean {
    return this.#followers.has(id);
  }

  replay(reply: MessageModel): void {
    this.#followers.leave(reply);
    void this.#followers.start(reply.id, replayed(continuing(reply)));
  }

  report(problem: string | null): void {
    this.#problem = problem;
    this.change((thread) => thread);
  }

  change(rule: (thread: Thread) => Thread): void {
    if (this.isClosed) return;
    this.#thread = this.#withNews(rule(this.#thread));
    this.#mirror.show(messagesOf(this.#thread));
    if (this.#thread.isInterrupted) this.#followers.detach();
    else this.#followAll();
    const view = viewOf(this.#thread, this.#problem, this.#view);
    if (view === this.#view) return;
    this.#view = view;
    for (const listener of [...this.#listeners]) listener();
  }

  // A send's stream may be faster than the list that gets its reply.
  #withNews(thread: Thread): Thread {
    let next = thread;
    for (const [id, { content, status, error }] of this.#news) {
      if (!messageIn(next, id)) continue;
      next = grown(next, id, { content, status, error });
      this.#news.delete(id);
      recorder.written(id);
    }
    return next;
  }

  /** Every reply that streams, not only the newest. */
  #followAll(): void {
    for (const reply of streamingIn(this.#thread)) {
      if (!this.#followers.follows(reply)) void this.#followers.start(reply.id, continuing(reply));
    }
  }

  #heard(stream: Stream, key: string): void {
    const { messageId, phase, content, error } = stream;
    if (messageId === null) return;
    if (this.isClosed || this.#thread.isInterrupted) {
      this.#followers.detach();
    } else if (phase !== "failed") {
      this.#news.set(messageId, stream);
      this.#writeSoon();
    } else if (error && GONE.has(error.code)) {
      this.change((thread) => removed(removed(thread, messageId), key));
    } else {
      this.change((thread) => grown(thread, messageId, { content, status: "ERROR", error }));
    }
  }

  /** The one source of the list: each subscription begins with the list as it is. */
  async #watch(signal: AbortSignal): Promise<void> {
    const variables = { conversationId: this.conversationId, last: PAGE };
    let failures = 0;
    const next = (data: EventsSubscription) => {
      if (failures > 0) this.report(null);
      failures = 0;
      this.#happened(data.conversationEvents);
      return true;
    };
    while (!signal.aborted) {
      await pause(backoff(failures));
      await connection.live();
      if (signal.aborted) return;
      const ending = await listen(EventsDocument, variables, next, signal);
      if (ending.kind !== "cut") failures++;
      if (ending.kind !== "error") continue;
      this.report(ending.message);
      // It would be refused again.
      if (ending.code === "BAD_USER_INPUT") return;
    }
  }

  #happened(event: EventsSubscription["conversationEvents"]): void {
    if (event.__typename === "MessageChanged") {
      this.change((thread) => changed(thread, event.message));
    } else {
      this.change((thread) => reset(thread, event.messages));
      this.onReset();
    }
    // The list of conversations is the one query that is watched.
    client.refetchQueries({ include: "active" }).catch(() => {});
  }
}
