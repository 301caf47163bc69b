import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

type Frame = { type: string; id?: string; payload?: Record<string, unknown> };

class FakeCloseEvent extends Event {
  constructor(
    readonly code: number,
    readonly reason: string,
  ) {
    super("close");
  }
}

/** The browser's end of a socket, whose server takes or refuses what it is opened with. */
class FakeSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readyState = FakeSocket.CONNECTING;
  onopen?: () => void;
  onclose?: (event: FakeCloseEvent) => void;
  onmessage?: (event: { data: string }) => void;
  readonly sent: Frame[] = [];

  constructor() {
    sockets.push(this);
    queueMicrotask(() => {
      this.readyState = FakeSocket.OPEN;
      this.onopen?.();
    });
  }

  send(data: string): void {
    const frame: Frame = JSON.parse(data);
    this.sent.push(frame);
    if (frame.type === "connection_init") {
      if (isTaken(String(frame.payload?.Authorization))) this.say({ type: "connection_ack" });
      else this.close(4403, "The token is not valid.");
    }
  }

  say(message: object): void {
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify(message) }));
  }

  close(code: number, reason: string): void {
    this.readyState = FakeSocket.CLOSED;
    queueMicrotask(() => this.onclose?.(new FakeCloseEvent(code, reason)));
  }
}

let sockets: FakeSocket[] = [];
let isTaken = (_authorization: string) => true;

vi.stubGlobal("window", {});
vi.stubGlobal("location", { href: "http://localhost/graphql" });
vi.stubGlobal("CloseEvent", FakeCloseEvent);
vi.stubGlobal("WebSocket", FakeSocket);
const { fetcher } = await import("./fetcher");
const { paste } = await import("../api/token");

const SUBSCRIPTION = { query: "subscription { a }" };
const unsubscribers: (() => void)[] = [];

/** Runs a subscription; its end is what it failed with. */
async function subscribe(headers?: Record<string, string>) {
  const results: unknown[] = [];
  const observable = (await fetcher(SUBSCRIPTION, { headers })) as {
    subscribe(observer: object): { unsubscribe(): void };
  };
  const failure = new Promise<unknown>((error) => {
    const observer = { next: (result: unknown) => results.push(result), error, complete: () => {} };
    unsubscribers.push(observable.subscribe(observer).unsubscribe);
  });
  return { results, failure };
}

function subscribed(number = 0): Frame | undefined {
  return sockets[number]?.sent.find(({ type }) => type === "subscribe");
}

function authorization(socket: FakeSocket): unknown {
  return socket.sent.find(({ type }) => type === "connection_init")?.payload?.Authorization;
}

beforeEach(() => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  sockets = [];
  isTaken = () => true;
  window.graphqlAppToken = undefined;
  paste(null);
});

afterEach(async () => {
  for (const unsubscribe of unsubscribers.splice(0)) unsubscribe();
  await setTimeout(0); // the socket of the last one closes
  vi.restoreAllMocks();
});

describe("a query", () => {
  const asked = vi.fn();

  function answer(status: number, body: string) {
    asked.mockReset().mockResolvedValue(new Response(body, { status }));
    vi.stubGlobal("fetch", asked);
  }

  async function sent(headers?: Record<string, string>): Promise<Record<string, string>> {
    answer(200, "{}");
    await fetcher({ query: "{ a }" }, { headers });
    return asked.mock.calls[0]?.[1].headers;
  }

  test("goes with the headers editor's token, or else with the chat's, or with none", async () => {
    expect(await sent()).not.toHaveProperty("Authorization");
    paste("pasted");
    expect(await sent()).toHaveProperty("Authorization", "Bearer pasted");
    const headers = await sent({ authorization: "Bearer written" });
    expect(headers).toHaveProperty("authorization", "Bearer written");
    expect(headers).not.toHaveProperty("Authorization");
  });

  test("that needs a token says what is to be done", async () => {
    const error = { message: "A token is required.", extensions: { code: "UNAUTHENTICATED" } };
    answer(401, JSON.stringify({ errors: [error] }));
    const { errors } = (await fetcher({ query: "{ a }" })) as { errors: object[] };
    expect(errors).toEqual([
      {
        ...error,
        extensions: { code: "UNAUTHENTICATED", help: expect.stringContaining("Headers") },
      },
    ]);
  });

  test("has other errors as they are", async () => {
    const errors = [{ message: "No", extensions: { code: "RATE_LIMITED" } }];
    answer(429, JSON.stringify({ errors }));
    expect(await fetcher({ query: "{ a }" })).toEqual({ errors });
  });

  test("that is answered by something else says with what", async () => {
    answer(502, "Bad gateway");
    expect(await fetcher({ query: "{ a }" })).toEqual({ errors: [{ message: "502 Bad gateway" }] });
  });
});

describe("a subscription", () => {
  test("opens its socket with what the headers editor holds", async () => {
    await subscribe({ Authorization: "Bearer written", "X-Other": "1" });
    await vi.waitFor(() => expect(subscribed()).toBeDefined());
    expect(sockets.map(authorization)).toEqual(["Bearer written"]);
  });

  test("with other headers has another socket, while what runs on the first goes on", async () => {
    const first = await subscribe({ Authorization: "Bearer a" });
    await vi.waitFor(() => expect(subscribed()).toBeDefined());
    await subscribe({ Authorization: "Bearer b" });
    await vi.waitFor(() => expect(subscribed(1)).toBeDefined());
    expect(sockets.map(authorization)).toEqual(["Bearer a", "Bearer b"]);
    sockets[0]?.say({ type: "next", id: subscribed(0)?.id, payload: { data: { a: 1 } } });
    await vi.waitFor(() => expect(first.results).toEqual([{ data: { a: 1 } }]));
  });

  test("whose token is refused says what is to be done, at once", async () => {
    isTaken = () => false;
    const { failure } = await subscribe({ Authorization: "Bearer wrong" });
    expect(await failure).toEqual({
      message: "The token is not valid.",
      extensions: { code: "UNAUTHENTICATED", help: expect.stringContaining("Headers") },
    });
    expect(sockets).toHaveLength(1);
  });

  test("goes on with a fresh token where there is a source of them", async () => {
    let number = 0;
    window.graphqlAppToken = async () => `token-${++number}`;
    await subscribe({ "X-Other": "2" });
    await vi.waitFor(() => expect(subscribed()).toBeDefined());
    sockets[0]?.close(4403, "The token has expired.");
    await vi.waitFor(() => expect(subscribed(1)).toBeDefined(), { timeout: 5000 });
    expect(sockets.map(authorization)).toEqual(["Bearer token-1", "Bearer token-2"]);
  });

  test("asks a source of wrong ones no more than three times", { timeout: 15_000 }, async () => {
    isTaken = () => false;
    window.graphqlAppToken = () => "wrong";
    const { failure } = await subscribe();
    expect(await failure).toHaveProperty("message", "The token is not valid.");
    expect(sockets).toHaveLength(3);
  });
});
