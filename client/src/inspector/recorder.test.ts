import { MessageType } from "graphql-ws";
import { beforeEach, expect, test } from "vitest";

import { firstTextTime, perSecond, Recorder, type SocketRecord } from "./recorder";

let now: number;
let updates: (() => void)[];
let recorder: Recorder;
let socket: SocketRecord;

const SEND =
  "subscription Send($message: MessageInput!) {\n  sendMessage(message: $message) { text } }";
const RESUME = "subscription Resume($message: ResumeInput!) { chunk: resumeMessage { text } }";

beforeEach(() => {
  now = 1000;
  updates = [];
  recorder = new Recorder(
    () => now,
    (callback) => updates.push(callback),
  );
  socket = open();
});

function open(): SocketRecord {
  const opening = recorder.connecting();
  recorder.opened(opening);
  return opening;
}

function subscribe(id: string, query = SEND, message: object = { id: "question" }): void {
  recorder.sent(socket, {
    id,
    type: MessageType.Subscribe,
    payload: { query, variables: { message } },
  });
}

function receive(id: string, offset: number, text: string, status = "STREAMING"): void {
  const data = { chunk: { messageId: "reply", offset, text, status } };
  recorder.received({ id, type: MessageType.Next, payload: { data } });
}

function stream() {
  const [first] = recorder.snapshot().streams;
  if (!first) throw new Error("no stream was recorded");
  return first;
}

const operations = () => recorder.snapshot().operations;
const ends = () => operations().map(({ end }) => end);

test("an operation is named by its field and its ids", () => {
  subscribe("1", RESUME, { id: "reply", content: "Hello" });
  expect(operations()).toMatchObject([
    { kind: "resumeMessage", ids: { id: "reply" }, socket: 1, end: null, results: 0 },
  ]);
});

test("an operation ends as complete, with an error's code, left by this window, or cut", () => {
  for (const id of ["1", "2", "3", "4"]) subscribe(id);
  recorder.received({ id: "1", type: MessageType.Complete });
  const error = { message: "gone", extensions: { code: "MESSAGE_CLEARED" } };
  recorder.received({ id: "2", type: MessageType.Error, payload: [error] });
  recorder.sent(socket, { id: "3", type: MessageType.Complete });
  recorder.closed(socket, 1006, "");
  expect(ends()).toEqual(["complete", "MESSAGE_CLEARED", "left", "cut"]);
});

test("the close of an old socket does not end what runs on the new one", () => {
  subscribe("1");
  const old = socket;
  socket = open();
  subscribe("2");
  recorder.closed(old, 4499, "Terminated");
  expect(ends()).toEqual(["cut", null]);
});

test("a socket ends once, with the first code that it was closed with", () => {
  recorder.closed(socket, 4000, "cut");
  recorder.closed(socket, 1006, "");
  expect(recorder.snapshot().sockets).toMatchObject([{ number: 1, end: "4000 cut" }]);
});

test("only sockets that opened again count as reconnects", () => {
  recorder.closed(socket, 1006, "");
  recorder.closed(recorder.connecting(), 1006, "");
  expect(recorder.snapshot().reconnects).toBe(0);
  open();
  expect(recorder.snapshot().reconnects).toBe(1);
});

test("a pong tells the round trip", () => {
  recorder.sent(socket, { type: MessageType.Ping });
  now += 25;
  recorder.received({ type: MessageType.Pong });
  expect(recorder.snapshot().sockets).toMatchObject([{ pings: 1, roundTrip: 25 }]);
});

test("the time to the first text starts with the send, and ends with the first chunk that has any", () => {
  subscribe("1");
  now += 100;
  receive("1", 0, "");
  expect(firstTextTime(stream())).toBeNull();
  now += 400;
  receive("1", 0, "Hello");
  expect(firstTextTime(stream())).toBe(500);
});

test("a send that was cut before its first chunk is waited for from the beginning", () => {
  subscribe("1");
  recorder.closed(socket, 1006, "");
  now += 2000;
  socket = open();
  subscribe("1");
  now += 100;
  receive("1", 0, "Hello");
  expect(firstTextTime(stream())).toBe(2100);
});

test("the time to the first text of somebody else's reply is not known", () => {
  subscribe("1", RESUME, { id: "reply" });
  receive("1", 0, "Hello");
  expect(firstTextTime(stream())).toBeNull();
});

test("words and characters are counted from the first text on, per second of what came after it", () => {
  subscribe("1");
  receive("1", 0, "One ");
  for (const [offset, text] of [
    [4, "tw"],
    [6, "o three"],
    [13, " four"],
  ] as const) {
    now += 500;
    receive("1", offset, text);
  }
  const { words, characters } = stream();
  expect([words, characters]).toEqual([3, 14]);
  expect(perSecond(words, stream())).toBe(2);
});

test("text that comes twice counts once, and a reply stays one stream over its operations", () => {
  subscribe("1");
  receive("1", 0, "One ");
  now += 500;
  receive("1", 4, "two");
  recorder.closed(socket, 1006, "");
  socket = open();
  subscribe("2", RESUME, { id: "reply" });
  now += 500;
  receive("2", 0, "One two three", "DONE");
  expect(recorder.snapshot().streams).toHaveLength(1);
  expect(stream()).toMatchObject({ operations: 2, length: 13, words: 2, status: "DONE" });
  expect(stream().chunks.map(({ offset, isFirst }) => [offset, isFirst])).toEqual([
    [0, true],
    [4, false],
    [0, true],
  ]);
});

test("the lag is the time that the oldest text waits until the page has it", () => {
  subscribe("1");
  receive("1", 0, "One ");
  now += 6;
  receive("1", 4, "two");
  now += 4;
  recorder.written("reply");
  expect(stream().lag).toBe(10);
  now += 50;
  recorder.written("reply");
  expect(stream().lag).toBe(10);
});

test("the longest silence is the longest time between two pieces of new text", () => {
  subscribe("1");
  for (const [pause, offset, text] of [
    [0, 0, "a"],
    [30, 1, "b"],
    [200, 2, ""],
    [100, 2, "c"],
    [10, 3, "d"],
  ] as const) {
    now += pause;
    receive("1", offset, text);
  }
  expect(stream().longestSilence).toBe(300);
});

test("listeners hear of many changes once, and see the same snapshot until then", () => {
  let calls = 0;
  const unsubscribe = recorder.subscribe(() => calls++);
  const before = recorder.snapshot();
  subscribe("1");
  for (let offset = 0; offset < 10; offset++) receive("1", offset, "a");
  expect(recorder.snapshot()).toBe(before);
  expect(updates).toHaveLength(1);
  updates.shift()?.();
  expect(calls).toBe(1);
  expect(stream().length).toBe(10);
  unsubscribe();
  receive("1", 10, "a");
  expect(updates).toHaveLength(0);
  expect(stream().length).toBe(11);
});

test("a snapshot does not change any more", () => {
  subscribe("1");
  receive("1", 0, "One ");
  const { chunks } = stream();
  receive("1", 4, "two");
  expect(chunks).toHaveLength(1);
});

test("what is kept is bounded, and what still runs is kept", () => {
  subscribe("events", "subscription { conversationEvents { __typename } }");
  for (let number = 0; number < 500; number++) {
    subscribe(`${number}`);
    const data = { chunk: { messageId: `${number}`, offset: 0, text: "a", status: "DONE" } };
    recorder.received({ id: `${number}`, type: MessageType.Next, payload: { data } });
    recorder.received({ id: `${number}`, type: MessageType.Complete });
    recorder.closed(recorder.connecting(), 1006, "");
  }
  subscribe("long");
  for (let offset = 0; offset < 1000; offset++) receive("long", offset, "a");
  const { sockets, operations, streams } = recorder.snapshot();
  expect([sockets, operations, streams].map((list) => list.length)).toEqual([20, 100, 20]);
  expect(operations[0]?.id).toBe("events");
  expect(sockets[0]?.number).toBe(1);
  expect(streams.at(-1)?.chunks).toHaveLength(300);
});
