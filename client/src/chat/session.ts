import { mutate, query, Refused, repeated } from "../api/client";
import { ClearDocument, EarlierDocument, StopDocument } from "../api/generated";
import { regenerate, send } from "./follow";
import { newId } from "./id";
import { LiveThread } from "./live";
import type { Actions, MessageModel } from "./model";
import { type Outgoing, outbox } from "./outbox";
import { earlier, messageIn, PAGE, underWayIn } from "./thread";

/** What people do in one conversation. */
export class Session implements Actions {
  readonly #id: string;
  readonly #live: LiveThread;
  // Refused without a word on whether it was stored: the same text goes with the same id again.
  #unsure: Outgoing | null = null;

  constructor(conversationId: string) {
    this.#id = conversationId;
    this.#live = new LiveThread(conversationId, () => this.#deliverKept());
  }

  get live(): LiveThread {
    return this.#live;
  }

  send = (content: string): Promise<void> => {
    this.#live.report(null);
    this.resume();
    const id = this.#unsure?.content === content ? this.#unsure.id : newId();
    const message = { id, content, conversationId: this.#id };
    outbox.add(message);
    return this.#deliver(message);
  };

  interrupt = (): void => this.#live.interrupt();

  resume = (): void => this.#live.attach();

  stop = (): Promise<unknown> => {
    this.resume();
    // A question that has no reply yet stands for it.
    const targets = underWayIn(this.#live.thread);
    return this.#reporting(
      ...targets.map(({ id }) => repeated(() => mutate(StopDocument, { id }))),
    );
  };

  // Not repeated after a cut: later there may be others.
  clear = (): Promise<unknown> =>
    this.#reporting(mutate(ClearDocument, { conversationId: this.#id }));

  regenerate = async (replyId: string): Promise<void> => {
    const old = messageIn(this.#live.thread, replyId);
    if (!old) return;
    this.resume();
    const id = newId();
    const reply: MessageModel = { ...old, id, content: "", status: "STREAMING", error: null };
    await this.#reporting(this.#live.accepted(reply, regenerate({ id, messageId: replyId })));
  };

  loadEarlier = async (): Promise<boolean> => {
    const before = this.#live.thread.listed[0]?.id;
    if (!before) return false;
    const variables = { conversationId: this.#id, last: PAGE, before };
    const page = repeated(() => query(EarlierDocument, variables));
    return this.#reporting(
      page.then(({ messages }) => this.#live.change((thread) => earlier(thread, before, messages))),
    );
  };

  replay = (replyId: string): void => {
    const reply = messageIn(this.#live.thread, replyId);
    if (reply) this.#live.replay(reply);
  };

  /** Repeats what a reload left unsent. */
  #deliverKept(): void {
    for (const message of outbox.of(this.#id)) {
      if (messageIn(this.#live.thread, message.id)) outbox.remove(message.id);
      else if (!this.#live.isAwaiting(message.id))
        void this.#reporting(this.#deliver(message, true));
    }
  }

  async #deliver(message: Outgoing, isKept = false): Promise<void> {
    try {
      await this.#live.accepted(questionOf(message), send(message));
      this.#unsure = null;
    } catch (error) {
      this.#unsure =
        error instanceof Refused && error.code === "STORE_UNAVAILABLE" ? message : null;
      // Otherwise the box that it came from is there, and takes it back.
      if (isKept || this.#live.isClosed) outbox.putBack(message);
      throw error;
    } finally {
      outbox.remove(message.id);
    }
  }

  /** Resolves to whether all of it was done. */
  async #reporting(...doings: Promise<unknown>[]): Promise<boolean> {
    this.#live.report(null);
    try {
      await Promise.all(doings);
      return true;
    } catch (error) {
      this.#live.report(error instanceof Error ? error.message : String(error));
      return false;
    }
  }
}

/** What the page shows until a list brings the server's. */
function questionOf({ id, content }: Outgoing): MessageModel {
  return {
    id,
    role: "USER",
    content,
    status: "DONE",
    createdAt: new Date().toISOString(),
    replyToId: null,
    error: null,
  };
}
