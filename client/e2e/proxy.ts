import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";

export type Direction = "toServer" | "toBrowser";

const BOTH: readonly Direction[] = ["toServer", "toBrowser"];

/** A TCP proxy on loopback, between the browser and the server, whose faults have names. */
export class FaultProxy {
  /** How many connections have been made since it listens. */
  opened = 0;

  /** Whether the browser had a reason to log a failed connection. */
  hadFaults = false;

  readonly #targetPort: number;
  readonly #listener: Server;
  readonly #links = new Set<Link>();
  #newcomers: "forward" | "hang" | "refuse" = "forward";
  #delayMs = 0;
  #bytesUntilCut = Number.POSITIVE_INFINITY;
  #onCut = () => {};

  static async to(targetPort: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort);
    proxy.#listener.listen(0, "127.0.0.1");
    await once(proxy.#listener, "listening");
    return proxy;
  }

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#listener = createServer({ allowHalfOpen: true }, (browser) => this.#accept(browser));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** How many connections are open now. */
  get open(): number {
    return this.#links.size;
  }

  /** Resets every open connection, towards both ends. */
  cut(): void {
    this.hadFaults = true;
    for (const link of [...this.#links]) link.cut();
  }

  /** Cuts once so many more bytes have gone to the browser, in the middle of a frame if it falls so. */
  cutAfter(bytes: number): Promise<void> {
    this.#bytesUntilCut = bytes;
    return new Promise((resolve) => {
      this.#onCut = resolve;
    });
  }

  /** Makes every open connection half-open: nobody learns of it, nothing gets through. */
  stall(...directions: Direction[]): void {
    this.hadFaults = true;
    for (const link of this.#links) link.stall(directions.length ? directions : BOTH);
  }

  /** Stalls, and leaves those who connect anew without an answer too. */
  hang(): void {
    this.#newcomers = "hang";
    this.stall();
  }

  /** Resets whoever connects from now on. Open connections stay. */
  refuse(): void {
    this.hadFaults = true;
    this.#newcomers = "refuse";
  }

  /** Holds up each byte for so long, in both directions. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Ends every fault; what was held up goes on its way. */
  resume(): void {
    this.#newcomers = "forward";
    this.#delayMs = 0;
    for (const link of this.#links) link.resume();
  }

  async close(): Promise<void> {
    this.#listener.close();
    this.cut();
    await once(this.#listener, "close");
  }

  #accept(browser: Socket): void {
    this.opened++;
    if (this.#newcomers === "refuse") {
      browser.resetAndDestroy();
      return;
    }
    const link = new Link(
      browser,
      connect({ port: this.#targetPort, host: "127.0.0.1", allowHalfOpen: true }),
      {
        delayMs: () => this.#delayMs,
        allow: (bytes) => this.#allow(bytes),
        sent: () => this.#cutIfDue(),
        failed: () => {
          this.hadFaults = true;
        },
        closed: () => this.#links.delete(link),
      },
    );
    this.#links.add(link);
    if (this.#newcomers === "hang") link.stall(BOTH);
  }

  #allow(bytes: Buffer): Buffer {
    const allowed = bytes.subarray(0, this.#bytesUntilCut);
    this.#bytesUntilCut -= allowed.length;
    return allowed;
  }

  #cutIfDue(): void {
    if (this.#bytesUntilCut > 0) return;
    this.#bytesUntilCut = Number.POSITIVE_INFINITY;
    this.cut();
    this.#onCut();
  }
}

interface Rules {
  delayMs(): number;
  /** What of these bytes may still go to the browser. */
  allow(bytes: Buffer): Buffer;
  /** Bytes have left for the browser: a cut before that would overtake them. */
  sent(): void;
  /** The server broke off, or is not there. */
  failed(): void;
  closed(): void;
}

/** One connection of the browser, and the one to the server that carries it on. */
class Link {
  readonly #browser: Socket;
  readonly #server: Socket;
  readonly #rules: Rules;
  readonly #gates: Record<Direction, Gate> = { toServer: new Gate(), toBrowser: new Gate() };

  constructor(browser: Socket, server: Socket, rules: Rules) {
    this.#browser = browser;
    this.#server = server;
    this.#rules = rules;
    this.#carry("toServer", browser, server);
    this.#carry("toBrowser", server, browser);
  }

  stall(directions: readonly Direction[]): void {
    for (const direction of directions) this.#gates[direction].shut();
  }

  resume(): void {
    for (const direction of BOTH) this.#gates[direction].open();
  }

  cut(): void {
    this.#browser.resetAndDestroy();
    this.#server.resetAndDestroy();
    this.#rules.closed();
  }

  #carry(direction: Direction, source: Socket, sink: Socket): void {
    const gate = this.#gates[direction];
    // One after another, so that a delay that changes does not change the order.
    let last = Promise.resolve();
    const inTurn = (act: () => void) => {
      const due = performance.now() + this.#rules.delayMs();
      last = last.then(async () => {
        const early = due - performance.now();
        if (early > 0) await setTimeout(early);
        await gate.passed;
        if (!sink.destroyed) act();
      });
    };
    source.setNoDelay(true);
    source.on("data", (bytes) => {
      inTurn(() => {
        if (direction === "toServer") sink.write(bytes);
        else sink.write(this.#rules.allow(bytes), () => this.#rules.sent());
      });
    });
    source.on("end", () => inTurn(() => sink.end()));
    source.on("error", () => {
      if (source === this.#server) this.#rules.failed();
    });
    source.on("close", () => {
      inTurn(() => sink.destroy());
      if (sink.destroyed) this.#rules.closed();
    });
  }
}

/** Lets pass, or makes wait. */
class Gate {
  passed: Promise<void> | undefined;
  #open = () => {};

  shut(): void {
    this.passed ??= new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.passed = undefined;
    this.#open();
  }
}
