import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { expect, test } from "@playwright/test";
import { FaultProxy } from "./proxy";

let echo: Server;
let proxy: FaultProxy;

/** All that has arrived at the server. */
let arrived: string;

test.beforeEach(async () => {
  arrived = "";
  echo = createServer((socket) => {
    socket.setEncoding("utf8").on("data", (piece) => {
      arrived += piece;
      socket.write(piece);
    });
    socket.on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  proxy = await FaultProxy.to(port());
});

test.afterEach(async () => {
  await proxy.close();
  echo.close();
});

function port(): number {
  return (echo.address() as AddressInfo).port;
}

class Caller {
  heard = "";
  isClosed = false;
  readonly #socket: Socket;

  constructor(calledPort = Number(new URL(proxy.url).port)) {
    this.#socket = connect(calledPort, "127.0.0.1");
    this.#socket.setEncoding("utf8").on("data", (piece) => {
      this.heard += piece;
    });
    this.#socket.on("close", () => {
      this.isClosed = true;
    });
    this.#socket.on("error", () => {});
  }

  async say(words: string): Promise<void> {
    this.#socket.write(words);
    const expected = this.heard + words;
    await expect.poll(() => this.heard).toBe(expected);
  }

  mumble(words: string): void {
    this.#socket.write(words);
  }

  leave(): void {
    this.#socket.end();
  }
}

test("forwards both ways, and an end after what came before it", async () => {
  const caller = new Caller();
  await caller.say("hello");
  caller.mumble(" and bye");
  caller.leave();
  await expect.poll(() => caller.isClosed).toBe(true);
  expect(caller.heard).toBe("hello and bye");
  expect(proxy.open).toBe(0);
  expect(proxy.opened).toBe(1);
});

test("a cut closes connections, and the next one is fine", async () => {
  const caller = new Caller();
  await caller.say("hello");
  proxy.cut();
  await expect.poll(() => caller.isClosed).toBe(true);
  await new Caller().say("again");
});

test("a cut after so many bytes delivers exactly these, and the next connection is fine", async () => {
  const caller = new Caller();
  const cut = proxy.cutAfter(4);
  caller.mumble("hello");
  await cut;
  await expect.poll(() => caller.isClosed).toBe(true);
  expect(caller.heard).toBe("hell");
  await new Caller().say("a later, longer answer");
});

test("a stall lets nothing through until it is resumed, and nothing is lost or out of order", async () => {
  const caller = new Caller();
  await caller.say("0");
  proxy.stall();
  for (const word of ["1", "2", "3"]) caller.mumble(word);
  caller.leave();
  await new Caller().say("x");
  expect(arrived).toBe("0x");
  expect(caller.heard).toBe("0");
  proxy.resume();
  await expect.poll(() => caller.heard).toBe("0123");
  await expect.poll(() => caller.isClosed).toBe(true);
});

test("a stall of one direction lets the other through", async () => {
  const caller = new Caller();
  await caller.say("0");
  proxy.stall("toBrowser");
  caller.mumble("1");
  await expect.poll(() => arrived).toBe("01");
  expect(caller.heard).toBe("0");
});

test("while it hangs, who connects anew gets no answer either", async () => {
  proxy.hang();
  const caller = new Caller();
  caller.mumble("hello");
  await new Caller(port()).say("x");
  expect(caller.isClosed).toBe(false);
  expect(arrived).toBe("x");
  proxy.resume();
  await expect.poll(() => caller.heard).toBe("hello");
});

test("while it refuses, who connects is reset, and who is connected stays", async () => {
  const caller = new Caller();
  await caller.say("hello");
  proxy.refuse();
  const refused = new Caller();
  await expect.poll(() => refused.isClosed).toBe(true);
  await caller.say(", still here");
  proxy.resume();
  await new Caller().say("back");
});

test("a delay holds up each way and keeps the order when it ends", async () => {
  const caller = new Caller();
  await caller.say("0");
  proxy.delay(200);
  const begin = performance.now();
  caller.mumble("1");
  await expect.poll(() => arrived, { intervals: [10] }).toBe("01");
  expect(performance.now() - begin).toBeGreaterThan(195);
  expect(caller.heard).toBe("0");
  proxy.delay(0);
  caller.mumble("2");
  await expect.poll(() => caller.heard).toBe("012");
});
