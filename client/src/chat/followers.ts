import { type Ask, follow } from "./follow";
import type { MessageModel } from "./model";
import type { Stream } from "./stream";

type Followed = { stream: Stream; leave: AbortController };

/** The streams that this window follows at one time. */
export class Followers {
  // By the reply's id, or by the id of the sent message, which is known before it.
  readonly #followed = new Map<string, Followed>();

  constructor(private readonly onChange: (stream: Stream, key: string) => void) {}

  has(key: string): boolean {
    return this.#followed.has(key);
  }

  follows({ id, replyToId }: MessageModel): boolean {
    return this.has(id) || (replyToId !== null && this.has(replyToId));
  }

  /** Resolves when the server is known to have the reply, or to have refused it. */
  start(key: string, stream: Stream, begin: Ask | null = null): Promise<Stream> {
    const followed: Followed = { stream, leave: new AbortController() };
    this.#followed.set(key, followed);
    return new Promise((resolve) => {
      const onChange = (next: Stream) => {
        followed.stream = next;
        if (next.messageId !== null || next.phase === "failed") resolve(next);
        this.onChange(next, key);
        if (next.phase === "ended" || next.phase === "failed") this.#followed.delete(key);
      };
      void follow(stream, begin, onChange, followed.leave.signal);
    });
  }

  leave({ id, replyToId }: MessageModel): void {
    for (const key of [id, replyToId ?? id]) {
      this.#followed.get(key)?.leave.abort();
      this.#followed.delete(key);
    }
  }

  /** Leaves what the server has. A send that it may not have goes on until it has it. */
  detach(): void {
    for (const [key, { stream, leave }] of this.#followed) {
      if (stream.messageId === null) continue;
      leave.abort();
      this.#followed.delete(key);
    }
  }
}
