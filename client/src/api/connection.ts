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
const FATAL = new Set([1002, 1003, 1007, 1008, 1009, 4400, 4401, 4406, 4409]);
// It cannot now, or has too much of us, and says why; and for how long, if it knows.
const BUSY = new Set([1013, 4429]);
const BUSY_SECONDS = 10;
// The token is missing, wrong or no longer valid.
const FORBIDDEN = 4403;
// One whose tokens are refused so often in a row is asked for no more; and how long a connection lives
// that began with a good one.
const REFUSALS = 3;
const GOOD = 10_000;
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

/** Who comes. */
export interface Credentials {
  /** Asked anew for each socket; null comes as nobody. What it throws counts as a lost connection. */
  token(): Promise<string | null>;
  /** Whether it may give another one by itself, so that a refusal is a reason to ask again. */
  isRenewable(): boolean;
  /** The server has taken the token. Gives false if this page must not go on with it. */
  accepted(token: string | null): boolean;
}

type Options = {
  url: string;
  isOnline: () => boolean;
  credentials: Credentials;
  webSocketImpl?: unknown;
};
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
  #refusals = 0;
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
    const { url, credentials } = this.options;
    let token: string | null = null;
    this.#attemptedAt = performance.now();
    this.#after(CONNECT, this.#drop);
    const client = createClient({
      url,
      webSocketImpl: this.options.webSocketImpl,
      lazy: false,
      retryAttempts: 0,
      onNonLazyError: () => {}, // "closed" tells
      connectionParams: async () => {
        token = await credentials.token();
        return token === null ? undefined : { authorization: `Bearer ${token}` };
      },
      on: {
        opened: (socket) => {
          this.#socket = socket as WebSocket;
        },
        connected: () => {
          if (credentials.accepted(token)) this.#become({ kind: "live" });
          else client.terminate();
        },
        message: ({ type }) => {
          if (client !== this.#client) return;
          this.#after(QUIET, () => this.#ping(ANSWER));
          // A server that accepts sockets and does nothing with them is not back yet.
          if (type === "next") this.#failures = 0;
        },
        closed: (event) => this.#lost(client, event as CloseEvent, token !== null),
      },
    });
    this.#client = client;
  };

  reconnectNow = (): void => {
    const isUnderWay = this.#client && performance.now() - this.#attemptedAt < 1000;
    if (this.#state.kind === "live" || isUnderWay) return;
    this.#drop();
    if (this.#state.kind === "failed") this.#become({ kind: "connecting" });
    if (this.#state.kind === "unauthenticated") this.#become({ ...this.#state, isTrying: true });
    this.connect();
  };

  /** The network has changed, or somebody looks: the socket may be dead, or the wait in vain. */
  check = (): void => {
    if (this.#state.kind === "live") this.#ping(DOUBT);
    else if (!this.#hasToWait()) this.reconnectNow();
  };

  /** For the time that the server wants, or for somebody who has a token. */
  #hasToWait(): boolean {
    const state = this.#state;
    if (state.kind === "unauthenticated") return !this.options.credentials.isRenewable();
    return state.kind === "reconnecting" && state.reason !== "";
  }

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

  #lost(
    client: Client,
    { code, reason }: { code: number; reason: string },
    cameWithToken = false,
  ): void {
    if (client !== this.#client) return;
    this.#client = null;
    this.#socket = null;
    clearTimeout(this.#timer);
    // After a normal closure it would retry whatever it was told.
    Promise.resolve(client.dispose()).catch(() => {});
    if (FATAL.has(code)) {
      this.#become({ kind: "failed", reason: `${code} ${reason}`.trim() });
    } else if (code === FORBIDDEN) {
      this.#refused(reason, cameWithToken);
    } else if (BUSY.has(code)) {
      const [, seconds = BUSY_SECONDS] = /(\d+) s(econds?)?\b/.exec(reason) ?? [];
      // A little later, and not together with the other windows.
      this.#retryIn(Number(seconds) * 1000 + backoff(2), reason);
    } else {
      this.#retryIn(backoff(code === RESTARTING ? 1 : ++this.#failures));
    }
  }

  #refused(reason: string, cameWithToken: boolean): void {
    const wasLive = this.#state.kind === "live";
    // One that is taken and soon refused is no better than one that is refused.
    const wasGood = wasLive && performance.now() - this.#attemptedAt > GOOD;
    this.#refusals = wasGood ? 0 : this.#refusals + 1;
    if (this.options.credentials.isRenewable() && this.#refusals < REFUSALS) {
      this.#retryIn(backoff(this.#refusals));
      return;
    }
    const why = cameWithToken ? (wasLive ? "expired" : "refused") : "missing";
    this.#become({ kind: "unauthenticated", why, reason, isTrying: false });
  }

  #retryIn(delay: number, reason = ""): void {
    this.#after(delay, this.connect);
    this.#become({ kind: "reconnecting", retryAt: performance.now() + delay, reason });
  }

  #become(state: ConnectionState): void {
    const isOffline = state.kind === "reconnecting" && !this.options.isOnline();
    this.#state = isOffline ? { kind: "offline" } : state;
    for (const listener of [...this.#listeners]) listener();
  }
}
