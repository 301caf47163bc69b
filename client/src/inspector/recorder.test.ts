import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Status } from "../chat/model";
import { Recorder } from "./recorder";

let recorder: Recorder;

type Operation = ReturnType<Recorder["operation"]>;

beforeEach(() => {
  vi.useFakeTimers();
  recorder = new Recorder();
  pass(1000);
});

afterEach(() => {
  vi.useRealTimers();
});

function pass(milliseconds: number): void {
  vi.advanceTimersByTime(milliseconds);
}

function ask(name = "Send", message = { id: "question" }): Operation {
  return recorder.operation(name, { message });
}

function receive(
  operation: Operation,
  offset: number,
  text: string,
  status: Status = "STREAMING",
  messageId = "reply",
): void {
  operation.next({ data: { chunk: { messageId, offset, text, status, error: null } } });
}

function stream() {
  const [first] = recorder.streams;
  if (!first) throw new Error("no stream was recorded");
  return first;
}

function firstTextTime() {
  const { askedAt, firstTextAt } = stream();
  return askedAt === null || firstTextAt === null ? null : firstTextAt - askedAt;
}

test("an operation has its name, and the id of what it is about", () => {
  ask("Resume", { id: "reply" });
  recorder.operation("Stop", { id: "reply" });
  recorder.operation("Events", { conversationId: "default" });
  expect(recorder.operations.map(({ name, id }) => [name, id])).toEqual([
    ["Resume", "reply"],
    ["Stop", "reply"],
    ["Events", "default"],
  ]);
});

test("an operation ends as complete, with an error's code, left by this window, or cut", () => {
  const [complete, refused, left, cut] = [ask(), ask(), ask(), ask()];
  complete.complete();
  refused.error({ code: "MESSAGE_CLEARED" });
  left.unsubscribe();
  cut.error({});
  const ends = recorder.operations.map(({ end }) => end);
  expect(ends).toEqual(["complete", "MESSAGE_CLEARED", "left", "cut"]);
});

test("a socket ends once, with the first code that it was closed with", () => {
  const socket = recorder.connecting();
  recorder.ended(socket, "4000 cut");
  recorder.ended(socket, "1006");
  expect(recorder.sockets).toMatchObject([{ end: "4000 cut" }]);
});

test("only sockets that opened again count as reconnects", () => {
  recorder.opened(recorder.connecting());
  recorder.ended(recorder.connecting(), "1006");
  expect(recorder.reconnects).toBe(0);
  recorder.opened(recorder.connecting());
  expect(recorder.reconnects).toBe(1);
});

test("the time to the first text starts with the send, and ends with the first chunk that has any", () => {
  const send = ask();
  pass(100);
  receive(send, 0, "");
  expect(firstTextTime()).toBeNull();
  pass(400);
  receive(send, 0, "Hello");
  expect(firstTextTime()).toBe(500);
});

test("a send that was cut before its first chunk is waited for from the beginning", () => {
  ask().error({});
  pass(2000);
  const again = ask();
  pass(100);
  receive(again, 0, "Hello");
  expect(firstTextTime()).toBe(2100);
});

test("the time to the first text of somebody else's reply is not known", () => {
  receive(ask("Resume", { id: "reply" }), 0, "Hello");
  expect(firstTextTime()).toBeNull();
});

test("tokens are counted from the first text on", () => {
  const send = ask();
  receive(send, 0, "One ");
  pass(500);
  receive(send, 4, "two");
  pass(500);
  receive(send, 7, " three four");
  const { tokens, firstTextAt, lastTextAt } = stream();
  expect([tokens, (lastTextAt ?? 0) - (firstTextAt ?? 0)]).toEqual([3, 1000]);
});

test("text that comes twice counts once, and a reply stays one stream over its operations", () => {
  const send = ask();
  receive(send, 0, "One ");
  receive(send, 4, "two");
  send.error({});
  receive(ask("Resume", { id: "reply" }), 0, "One two three", "DONE");
  expect(recorder.streams).toMatchObject([{ length: 13, tokens: 2, end: "DONE" }]);
  expect(stream().chunks.map(({ length, isFirst }) => [length, isFirst])).toEqual([
    [4, true],
    [3, false],
    [13, true],
  ]);
});

test("the lag is the time that the oldest text waits until the page has it", () => {
  const send = ask();
  receive(send, 0, "One ");
  pass(6);
  receive(send, 4, "two");
  pass(4);
  recorder.written("reply");
  expect(stream().lag).toBe(10);
  pass(50);
  recorder.written("reply");
  expect(stream().lag).toBe(10);
});

test("what is kept is bounded, and what still runs is kept", () => {
  recorder.operation("Events");
  const socket = recorder.connecting();
  for (let number = 0; number < 500; number++) {
    const send = ask();
    receive(send, 0, "a", "DONE", `${number}`);
    send.complete();
    recorder.ended(recorder.connecting(), "1006");
  }
  const long = ask();
  for (let offset = 0; offset < 1000; offset++) receive(long, offset, "a");
  const { sockets, operations, streams } = recorder;
  expect([sockets, operations, streams].map((list) => list.length)).toEqual([20, 100, 20]);
  expect(operations[0]?.name).toBe("Events");
  expect(sockets[0]).toBe(socket);
  expect(streams.at(-1)?.chunks).toHaveLength(300);
});
