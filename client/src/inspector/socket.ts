import { recorder } from "./recorder";

/** A WebSocket that is recorded, and can be cut or stalled to see what the page makes of it. */
export class RecordedSocket extends WebSocket {
  readonly #record = recorder.connecting();
  // While it is stalled: what waits to come in and go out, in order.
  #held: (() => void)[] | null = null;

  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols);
    current = this;
    this.addEventListener("open", () => recorder.opened(this.#record));
    this.addEventListener("close", ({ code, reason }) => this.#ended(code, reason));
    // The first listener: no other hears of a message that is held.
    this.addEventListener("message", (event) => {
      if (!this.#held) return;
      event.stopImmediatePropagation();
      this.#held.push(() => this.dispatchEvent(new MessageEvent("message", { data: event.data })));
    });
  }

  override send(data: string): void {
    if (this.#held) this.#held.push(() => super.send(data));
    else super.send(data);
  }

  override close(code = 1005, reason = ""): void {
    this.#ended(code, reason);
    super.close(code === 1005 ? undefined : code, reason);
  }

  /** Holds back what comes in and goes out, as a network does that died without a word. */
  stall(): void {
    this.#held ??= [];
    this.#record.isStalled = true;
  }

  /** Lets go what was held back: nothing is lost, as TCP promises. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    this.#record.isStalled = false;
    if (this.readyState > WebSocket.OPEN) return;
    for (const pass of held) pass();
  }

  #ended(code: number, reason: string): void {
    recorder.ended(this.#record, `${code} ${reason}`.trim());
  }
}

let current: RecordedSocket | undefined;

/** The page's newest socket; it has one at a time. */
export function currentSocket(): RecordedSocket | undefined {
  return current;
}
