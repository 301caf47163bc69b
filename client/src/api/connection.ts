import {
  type Client,
  createClient,
  type Message,
  type Sink,
  type SubscribePayload,
} from "graphql-ws";

import type { ConnectionState } from "../chat/model";
import { backoff } from "./backoff";
import { Watchdog } from "./watchdog";

// How long a connection may take, and an answer when there is a reason to doubt the socket.
const CONNECT = 8000;
const DOUBT = 2000;
// The server restarts, and says so.
const RESTARTING = 1012;
// What we sent was wrong, or is not allowed: it would be so again.
const FATAL = new Set([1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4406, 4409, 4429]);
// The server's limit for a frame. One that is larger would end the socket, and everything on it.
const LARGEST_FRAME = 2 * 1024 * 1024;

/** The socket was lost before the operation was over; whether the server has seen it is not known. */
export class Cut extends Error {
  override name = "Cut";
  override message = "The connection was lost.";
}

type Options = {
  url: string;
  isOnline: () => boolean;
  webSocketImpl?: unknown;
  onMessage?: (message: Message) => void;
};

/**
 * The page's one socket, for as long as the page lives.
 *
 * graphql-ws makes it and speaks the protocol, but is given a new client for each socket and never
 * retries: it would repeat every operation as it was first asked, and a reply that was followed since then
 * would come again from there. Here a lost socket ends its operations with a `Cut`, and who follows
 * something asks for what is missing once `live()` says that it can. So there is one owner of
 * reconnecting, too.
 */
export class Connection {
  #state: ConnectionState = { kind: "connecting" };
  #client: Client | null = null;
  #socket: WebSocket | null = null;
  #attemptedAt = 0;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #watchdog = new Watchdog(
    () => this.#socket?.send('{"type":"ping"}'),
    () => this.#drop(),
  );

  constructor(private readonly options: Options) {}

  state = (): ConnectionState => this.#state;

  onState = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Resolves when operations can be sent, at once if they can now. */
  live(): Promise<void> {
    if (this.#state.kind === "live") return Promise.resolve();
    return new Promise((resolve) => {
      const leave = this.onState(() => {
        if (this.#state.kind !== "live") return;
        leave();
        resolve();
      });
    });
  }

  /** Runs one operation on the socket that is there now. */
  subscribe(payload: SubscribePayload, sink: Sink): () => void {
    const client = this.#client;
    if (!client || this.#state.kind !== "live") {
      sink.error(new Cut());
      return () => {};
    }
    if (new Blob([JSON.stringify(payload)]).size > LARGEST_FRAME) {
      const extensions = { code: "BAD_USER_INPUT" };
      sink.error([{ message: "This is too long to be sent.", extensions }]);
      return () => {};
    }
    return client.subscribe(payload, {
      next: (result) => sink.next(result as never),
      // Of a socket that was closed, graphql-ws says the same for some codes.
      complete: () => (client === this.#client ? sink.complete() : sink.error(new Cut())),
      error: (error) => sink.error(Array.isArray(error) ? error : new Cut()),
    });
  }

  connect(): void {
    clearTimeout(this.#timer);
    this.#attemptedAt = performance.now();
    this.#watchdog.expect(CONNECT);
    const client = createClient({
      url: this.options.url,
      webSocketImpl: this.options.webSocketImpl,
      lazy: false,
      retryAttempts: 0,
      onNonLazyError: () => {}, // "closed" tells
      on: {
        opened: (socket) => {
          this.#socket = socket as WebSocket;
        },
        connected: () => this.#become({ kind: "live" }),
        message: (message) => {
          if (client !== this.#client) return;
          this.#watchdog.heard();
          // A server that accepts sockets and does nothing with them is not back yet.
          if (message.type === "next") this.#failures = 0;
          this.options.onMessage?.(message);
        },
        closed: (event) => this.#lost(client, event as CloseEvent),
      },
    });
    this.#client = client;
  }

  reconnectNow(): void {
    const isUnderWay = this.#client && performance.now() - this.#attemptedAt < 1000;
    if (this.#state.kind === "live" || isUnderWay) return;
    this.#drop();
    if (this.#state.kind === "failed") this.#become({ kind: "connecting" });
    this.connect();
  }

  /** The network is back, or somebody looks: the socket may be dead, or the wait in vain. */
  check(): void {
    if (this.#state.kind === "live") this.#watchdog.check(DOUBT);
    else this.reconnectNow();
  }

  /** The network is gone: no use in waiting for the socket to notice. */
  networkLost(): void {
    if (this.#client) this.#drop();
    else this.#become(this.#state);
  }

  #drop(): void {
    const client = this.#client;
    client?.terminate();
    // It does not always tell.
    if (client) this.#lost(client, { code: 1006, reason: "" });
  }

  #lost(client: Client, { code, reason }: { code: number; reason: string }): void {
    if (client !== this.#client) return;
    this.#client = null;
    this.#socket = null;
    this.#watchdog.stop();
    // After a normal closure it would retry whatever it was told.
    Promise.resolve(client.dispose()).catch(() => {});
    if (FATAL.has(code)) {
      this.#become({ kind: "failed", reason: `${code} ${reason}`.trim() });
      return;
    }
    const delay = backoff(code === RESTARTING ? 1 : ++this.#failures);
    this.#timer = setTimeout(() => this.connect(), delay);
    this.#become({ kind: "reconnecting", retryAt: performance.now() + delay });
  }

  #become(state: ConnectionState): void {
    const isWaiting = state.kind === "reconnecting" || state.kind === "offline";
    this.#state = isWaiting && !this.options.isOnline() ? { kind: "offline" } : state;
    for (const listener of [...this.#listeners]) listener();
  }
}
