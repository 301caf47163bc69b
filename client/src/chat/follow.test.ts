import { beforeEach, expect, test, vi } from "vitest";

import { listen, ready } from "../api/client";
import { follow } from "./follow";
import type { Chunk, Ending, Status } from "./model";
import { beginning, continuing, type Stream } from "./stream";

vi.mock("../api/client", () => ({
  ready: vi.fn(() => Promise.resolve()),
  listen: vi.fn(),
}));

function deferred<Value>() {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** One operation, which the test plays the server of. */
class Operation {
  readonly #next: (chunk: Chunk) => boolean;
  readonly #ended = deferred<Ending>();
  readonly ended = this.#ended.promise;
  hasLeft = false;

  constructor(
    next: (chunk: Chunk) => boolean,
    readonly message: unknown,
  ) {
    this.#next = next;
  }

  say(offset: number, text: string, status: Status = "STREAMING"): void {
    const chunk = { messageId: "reply", offset, text, status, error: null };
    if (this.#next(chunk)) return;
    this.hasLeft = true;
    this.#ended.resolve({ kind: "cut" });
  }

  async end(ending: Ending): Promise<void> {
    this.#ended.resolve(ending);
    await settled();
  }
}

let operations: Operation[];
let shown: Stream[];
const leave = new AbortController();

function operation(number: number): Operation {
  return operations[number] as Operation;
}

function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

async function start(stream: Stream, signal = leave.signal): Promise<void> {
  void follow(
    stream,
    (next) => begin(next, "begin"),
    (next) => shown.push(next),
    signal,
  );
  await settled();
}

function begin(next: (chunk: Chunk) => boolean, message: unknown): Promise<Ending> {
  const begun = new Operation(next, message);
  operations.push(begun);
  return begun.ended;
}

beforeEach(() => {
  operations = [];
  shown = [];
  vi.mocked(ready).mockResolvedValue();
  vi.mocked(listen).mockImplementation((_query, variables, next) => {
    const chunkNext = (chunk: Chunk) => next({ chunk } as never);
    return begin(chunkNext, (variables as unknown as { message: unknown }).message);
  });
});

test("a send that is cut before its first chunk is repeated, later the rest is asked for", async () => {
  await start(beginning);
  await operation(0).end({ kind: "cut" });
  expect(operation(1).message).toBe("begin");

  operation(1).say(0, "");
  operation(1).say(0, "Hello");
  await operation(1).end({ kind: "cut" });
  expect(operation(2).message).toEqual({ id: "reply", content: "Hello" });
});

test("a reply that has ended is not asked for again", async () => {
  await start(beginning);
  operation(0).say(0, "Hello", "DONE");
  await operation(0).end({ kind: "complete" });
  expect(operations).toHaveLength(1);
  expect(shown.at(-1)).toMatchObject({ phase: "ended", content: "Hello", status: "DONE" });
});

test("a gap ends the operation, and the next asks with what is there", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  await start(beginning);
  operation(0).say(0, "Hello");
  operation(0).say(9, "?");
  expect(operation(0).hasLeft).toBe(true);
  await settled();
  expect(operation(1).message).toEqual({ id: "reply", content: "Hello" });
});

test("nothing is asked for before the connection is live", async () => {
  const live = deferred<void>();
  vi.mocked(ready).mockReturnValue(live.promise);
  await start(beginning);
  expect(operations).toHaveLength(0);
  live.resolve();
  await settled();
  expect(operations).toHaveLength(1);
});

test("nothing is shown or asked for after leaving", async () => {
  const window = new AbortController();
  const reply = { id: "reply", content: "He" } as Parameters<typeof continuing>[0];
  await start(continuing(reply), window.signal);
  const before = shown.length;
  window.abort();
  operation(0).say(2, "llo");
  await operation(0).end({ kind: "cut" });
  expect(shown).toHaveLength(before);
  expect(operations).toHaveLength(1);
});
