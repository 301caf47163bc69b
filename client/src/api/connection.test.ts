import type { Sink } from "graphql-ws";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { Connection, Cut, Refused } from "./connection";

/** The browser's end of a socket, with the test as its server. */
class FakeSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readyState = FakeSocket.CONNECTING;
  onopen?: () => void;
  onclose?: (event: { code: number; reason: string }) => void;
  onmessage?: (event: { data: string }) => void;
  readonly sent: { type: string; id?: string; payload?: unknown }[] = [];

  constructor() {
    sockets.push(this);
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }

  // A browser waits for the other side, which may be dead.
  close(): void {
    this.readyState = FakeSocket.CLOSING;
  }

  async accept(): Promise<void> {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
    await settle();
    await this.say({ type: "connection_ack" });
  }

  async say(message: object): Promise<void> {
    this.onmessage?.({ data: JSON.stringify(message) });
    await settle();
  }

  async end(code: number, reason = ""): Promise<void> {
    this.readyState = FakeSocket.CLOSED;
    this.onclose?.({ code, reason });
    await settle();
  }

  count(type: string): number {
    return this.sent.filter((message) => message.type === type).length;
  }
}

let sockets: FakeSocket[];
let connection: Connection;
let isOnline: boolean;
let token: string | null;
let isRenewable: boolean;
const accepted = vi.fn((_token: string | null) => true);

function newest(): FakeSocket {
  return sockets.at(-1) as FakeSocket;
}

function settle(): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(0);
}

function pass(milliseconds: number): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(milliseconds);
}

function sink() {
  return { next: vi.fn(), error: vi.fn(), complete: vi.fn() } satisfies Sink;
}

beforeEach(async () => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.99);
  sockets = [];
  isOnline = true;
  token = null;
  isRenewable = false;
  accepted.mockReturnValue(true);
  connection = new Connection({
    url: "ws://test",
    isOnline: () => isOnline,
    credentials: { token: async () => token, isRenewable: () => isRenewable, accepted },
    webSocketImpl: FakeSocket,
  });
  connection.connect();
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("a connection", () => {
  test("is live when the server has acknowledged it, and tells who waits", async () => {
    expect(connection.state()).toEqual({ kind: "connecting" });
    const live = connection.live();
    await newest().accept();
    expect(connection.state()).toEqual({ kind: "live" });
    await live;
  });

  test.each([1000, 1001, 1006, 1011, 1012, 4000, 4500])(
    "ends its operations with a cut when it is closed with %i, and comes back by itself",
    async (code) => {
      await newest().accept();
      const operation = sink();
      connection.subscribe({ query: "{ a }" }, operation);
      await settle();
      await newest().end(code);
      expect(operation.error).toHaveBeenCalledExactlyOnceWith(expect.any(Cut));
      expect(operation.complete).not.toHaveBeenCalled();
      expect(connection.state().kind).toBe("reconnecting");

      await pass(500);
      expect(sockets).toHaveLength(2);
      await newest().accept();
      expect(connection.state().kind).toBe("live");
      // Who followed something asks by itself for what is missing.
      expect(newest().count("subscribe")).toBe(0);
    },
  );

  test("refuses operations while it is not live", async () => {
    const operation = sink();
    connection.subscribe({ query: "{ a }" }, operation);
    expect(operation.error).toHaveBeenCalledWith(expect.any(Cut));
  });

  test("does not send a frame that would cost the socket", async () => {
    await newest().accept();
    const operation = sink();
    connection.subscribe({ query: "x".repeat(3_000_000) }, operation);
    expect(operation.error).toHaveBeenCalledWith(expect.any(Refused));
    expect(newest().count("subscribe")).toBe(0);
  });

  test("waits longer from attempt to attempt, up to ten seconds, and says how long", async () => {
    const waits = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      await newest().end(1006);
      const state = connection.state();
      if (state.kind !== "reconnecting") throw new Error(state.kind);
      const wait = state.retryAt - performance.now();
      waits.push(Math.round(wait / 990));
      await pass(wait);
    }
    expect(waits).toEqual([1, 1, 2, 4, 8, 10, 10, 10]);
    expect(sockets).toHaveLength(9);
  });

  test("does not storm a server that accepts sockets and closes them", async () => {
    for (let second = 0; second < 60; second++) {
      if (newest().readyState === FakeSocket.CONNECTING) {
        await newest().accept();
        await newest().end(1011);
      }
      await pass(1000);
    }
    expect(sockets.length).toBeLessThan(15);
  });

  test("begins with short waits again when the server has answered something", async () => {
    for (let attempt = 0; attempt < 5; attempt++) {
      await newest().end(1006);
      await pass(10_000);
    }
    await newest().accept();
    await newest().say({ type: "next", id: "1", payload: {} });
    await newest().end(1006);
    await pass(500);
    expect(newest().readyState).toBe(FakeSocket.CONNECTING);
  });

  test.each([4400, 4406, 1009])("says that it failed when closed with %i", async (code) => {
    await newest().accept();
    await newest().end(code, "Because");
    expect(connection.state()).toEqual({ kind: "failed", reason: `${code} Because` });
    await pass(60_000);
    expect(sockets).toHaveLength(1);
    connection.reconnectNow();
    expect(connection.state().kind).toBe("connecting");
    await newest().accept();
    expect(connection.state().kind).toBe("live");
  });

  test.each([
    [4429, "The server takes no more; try again in 30 s.", 30_000],
    [4429, "Too many messages; try again in 7 seconds.", 7000],
    [1013, "There are 100 sockets of yours.", 10_000],
  ])("waits as long as a busy server wants: %i %j", async (code, reason, wait) => {
    await newest().accept();
    await newest().end(code, reason);
    const state = connection.state();
    expect(state).toMatchObject({ kind: "reconnecting", reason });
    connection.check();
    await pass(wait);
    expect(sockets).toHaveLength(1);
    await pass(1000);
    expect(sockets).toHaveLength(2);
    await newest().accept();
    expect(connection.state().kind).toBe("live");
  });

  test("reconnects now when told so, with one socket however often", async () => {
    await newest().end(1006);
    for (let times = 0; times < 5; times++) connection.reconnectNow();
    expect(sockets).toHaveLength(2);
    await newest().accept();
    await pass(60);
    expect(sockets).toHaveLength(2);
  });
});

describe("a server that wants a token", () => {
  const init = () => newest().sent.find(({ type }) => type === "connection_init");

  /** The next socket opens, and is closed without an acknowledgement. */
  async function refuse(reason = "Because"): Promise<void> {
    newest().readyState = FakeSocket.OPEN;
    newest().onopen?.();
    await settle();
    await newest().end(4403, reason);
  }

  test("gets the one that there is when the socket opens, and nothing if there is none", async () => {
    await newest().accept();
    expect(init()).toEqual({ type: "connection_init" });
    await newest().end(1006);
    await pass(500);
    token = "first";
    await newest().accept();
    expect(init()?.payload).toEqual({ authorization: "Bearer first" });
    expect(accepted).toHaveBeenLastCalledWith("first");
  });

  test.each([
    ["missing", null, false],
    ["refused", "wrong", false],
    ["expired", "old", true],
  ])("and has one that is %s, is asked no more by itself", async (why, given, wasLive) => {
    token = given;
    if (wasLive) {
      await newest().accept();
      await newest().end(4403, "Because");
    } else {
      await refuse();
    }
    const state = { kind: "unauthenticated", why, reason: "Because" };
    expect(connection.state()).toEqual({ ...state, isTrying: false });
    connection.check();
    await pass(60_000);
    expect(sockets).toHaveLength(1);

    token = "new";
    connection.reconnectNow();
    expect(connection.state()).toEqual({ ...state, isTrying: true });
    await newest().accept();
    expect(init()?.payload).toEqual({ authorization: "Bearer new" });
    expect(connection.state()).toEqual({ kind: "live" });
  });

  test("ends what runs with a cut when the token does, and lets nobody through until there is a new one", async () => {
    await newest().accept();
    const operation = sink();
    connection.subscribe({ query: "{ a }" }, operation);
    await settle();
    const live = vi.fn();
    await newest().end(4403);
    void connection.live().then(live);
    expect(operation.error).toHaveBeenCalledExactlyOnceWith(expect.any(Cut));
    connection.reconnectNow();
    await settle();
    expect(live).not.toHaveBeenCalled();
    await newest().accept();
    expect(live).toHaveBeenCalled();
  });

  test("gets a fresh one at once from a source, each time that one has ended", async () => {
    isRenewable = true;
    for (let times = 1; times < 6; times++) {
      token = `token ${times}`;
      await newest().accept();
      expect(init()?.payload).toEqual({ authorization: `Bearer ${token}` });
      for (let second = 0; second < 11; second++) {
        await pass(1000);
        await newest().say({ type: "pong" });
      }
      await newest().end(4403);
      await pass(10);
      expect(sockets).toHaveLength(times + 1);
    }
  });

  test.each([
    ["refuses", refuse],
    [
      "takes, and refuses soon after",
      async () => {
        await newest().accept();
        await newest().say({ type: "next", id: "1", payload: {} });
        await newest().end(4403);
      },
    ],
  ])("and %s whatever a source gives, is asked three times", async (_, happen) => {
    isRenewable = true;
    token = "wrong";
    for (let times = 0; times < 3; times++) {
      expect(sockets).toHaveLength(times + 1);
      await happen();
      await pass(5000);
    }
    expect(connection.state().kind).toBe("unauthenticated");
    await pass(60_000);
    expect(sockets).toHaveLength(3);
    // Who comes back to the page may have signed in where the source is.
    connection.check();
    await newest().accept();
    expect(connection.state().kind).toBe("live");
  });

  test("is asked again later while a source cannot give one", async () => {
    newest().readyState = FakeSocket.OPEN;
    const broken = new Connection({
      url: "ws://test",
      isOnline: () => true,
      credentials: {
        token: () => Promise.reject(new Error("The login is away.")),
        isRenewable: () => true,
        accepted,
      },
      webSocketImpl: FakeSocket,
    });
    broken.connect();
    newest().readyState = FakeSocket.OPEN;
    newest().onopen?.();
    await settle();
    expect(newest().readyState).toBe(FakeSocket.CLOSING);
    await newest().end(4005, "The login is away.");
    expect(broken.state().kind).toBe("reconnecting");
  });

  test("and takes one that the page may not go on with, runs nothing for it", async () => {
    accepted.mockReturnValue(false);
    const states: string[] = [];
    connection.onState(() => states.push(connection.state().kind));
    await newest().accept();
    expect(states).not.toContain("live");
  });
});

describe("a socket that says nothing", () => {
  test("is pinged, and given up within eight seconds when no pong comes", async () => {
    await newest().accept();
    const operation = sink();
    connection.subscribe({ query: "{ a }" }, operation);
    await pass(7_500);
    expect(sockets[0]?.count("ping")).toBe(1);
    expect(operation.error).toHaveBeenCalledWith(expect.any(Cut));
    expect(sockets).toHaveLength(2);
  });

  test("stays when it answers, and is not pinged while it says something", async () => {
    await newest().accept();
    for (let second = 0; second < 30; second++) {
      await pass(1000);
      await newest().say({ type: "next", id: "1", payload: {} });
    }
    expect(newest().count("ping")).toBe(0);
    for (let second = 0; second < 30; second++) {
      const pings = newest().count("ping");
      await pass(1000);
      if (newest().count("ping") > pings) await newest().say({ type: "pong" });
    }
    expect(newest().count("ping")).toBeGreaterThan(5);
    expect(sockets).toHaveLength(1);
  });

  test("is given up after eight seconds when it never opens", async () => {
    await pass(8_500);
    expect(sockets).toHaveLength(2);
  });

  test("is asked at once when there is a reason to doubt it, and given up after two seconds", async () => {
    await newest().accept();
    connection.check();
    expect(newest().count("ping")).toBe(1);
    await pass(2_500);
    expect(sockets).toHaveLength(2);
  });
});

describe("without a network", () => {
  test("it says so, tries now and then all the same, and at once when the network is back", async () => {
    await newest().accept();
    isOnline = false;
    connection.check();
    await pass(2000);
    expect(connection.state()).toEqual({ kind: "offline" });
    await pass(1000);
    await newest().end(1006);
    expect(connection.state()).toEqual({ kind: "offline" });

    isOnline = true;
    const before = sockets.length;
    connection.check();
    expect(sockets).toHaveLength(before + 1);
    await newest().accept();
    expect(connection.state()).toEqual({ kind: "live" });
  });

  test("a server on the same machine can be live", async () => {
    isOnline = false;
    await newest().accept();
    expect(connection.state()).toEqual({ kind: "live" });
  });
});
