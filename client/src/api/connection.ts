import type { GraphQLFormattedError } from "graphql";
import { type Client, createClient, type Sink, type SubscribePayload } from "graphql-ws";

import type { ConnectionState } from "../chat/model";
import { backoff } from "./backoff";

// A socket that says nothing for so long is asked for a word, and has so long to answer. Together they
// are under the 8 seconds in which a dead one has to be found.
const QUIET = 3000;
const ANSWER = 3000;
// The same when there is a reason to doubt it; and how long a connection may take.
const DOUBT = 2000;
const CONNECT = 8000;
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

/** The server's refusal, for people and for programs. */
export class Refused extends Error {
  override name = "Refused";
  readonly code: string;

  constructor({ message = "", extensions }: Partial<GraphQLFormattedError> = {}) {
    super(message);
    this.code = String(extensions?.code ?? "");
  }
}

type Options = { url: string; isOnline: () => boolean; webSocketImpl?: unknown };
type Result = { data?: Record<string, unknown> | null };

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
  // What happens unless something else does before: a ping, giving the socket up, the next attempt.
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners = new Set<() => void>();

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

  /** Runs one operation on the socket that is there now. It ends with a `Cut`, or a `Refused`, if in error. */
  subscribe(payload: SubscribePayload, sink: Sink<Result>): () => void {
    const client = this.#client;
    if (!client || this.#state.kind !== "live") {
      sink.error(new Cut());
      return () => {};
    }
    if (new Blob([JSON.stringify(payload)]).size > LARGEST_FRAME) {
      sink.error(new Refused({ message: "This is too long to be sent." }));
      return () => {};
    }
    return client.subscribe<Result["data"]>(payload, {
      next: ({ data, errors }) =>
        errors ? sink.error(new Refused(errors[0])) : sink.next({ data }),
      // Of a socket that was closed, graphql-ws says the same for some codes.
      complete: () => (client === this.#client ? sink.complete() : sink.error(new Cut())),
      error: (error) => sink.error(Array.isArray(error) ? new Refused(error[0]) : new Cut()),
    });
  }

  connect = (): void => {
    this.#attemptedAt = performance.now();
    this.#after(CONNECT, this.#drop);
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
        message: ({ type }) => {
          if (client !== this.#client) return;
          this.#after(QUIET, () => this.#ping(ANSWER));
          // A server that accepts sockets and does nothing with them is not back yet.
          if (type === "next") this.#failures = 0;
        },
        closed: (event) => this.#lost(client, event as CloseEvent),
      },
    });
    this.#client = client;
  };

  reconnectNow = (): void => {
    const isUnderWay = this.#client && performance.now() - this.#attemptedAt < 1000;
    if (this.#state.kind === "live" || isUnderWay) return;
    this.#drop();
    if (this.#state.kind === "failed") this.#become({ kind: "connecting" });
    this.connect();
  };

  /** The network has changed, or somebody looks: the socket may be dead, or the wait in vain. */
  check = (): void => {
    if (this.#state.kind === "live") this.#ping(DOUBT);
    else this.reconnectNow();
  };

  #ping(deadline: number): void {
    this.#socket?.send('{"type":"ping"}');
    this.#after(deadline, this.#drop);
  }

  #after(delay: number, action: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, delay);
  }

  #drop = (): void => {
    const client = this.#client;
    client?.terminate();
    // It does not always tell.
    if (client) this.#lost(client, { code: 1006, reason: "" });
  };

  #lost(client: Client, { code, reason }: { code: number; reason: string }): void {
    if (client !== this.#client) return;
    this.#client = null;
    this.#socket = null;
    clearTimeout(this.#timer);
    // After a normal closure it would retry whatever it was told.
    Promise.resolve(client.dispose()).catch(() => {});
    if (FATAL.has(code)) {
      this.#become({ kind: "failed", reason: `${code} ${reason}`.trim() });
      return;
    }
    const delay = backoff(code === RESTARTING ? 1 : ++this.#failures);
    this.#after(delay, this.connect);
    this.#become({ kind: "reconnecting", retryAt: performance.now() + delay });
  }

  #become(state: ConnectionState): void {
    const isOffline = state.kind === "reconnecting" && !this.options.isOnline();
    this.#state = isOffline ? { kind: "offline" } : state;
    for (const listener of [...this.#listeners]) listener();
  }
}
