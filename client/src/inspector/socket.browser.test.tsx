import { beforeEach, expect, test } from "vitest";

import { recorder } from "./recorder";
import { currentSocket, RecordedSocket } from "./socket";

let socket: RecordedSocket;
let heard: string[];

// Nobody listens there: what comes in is dispatched by the tests.
beforeEach(() => {
  heard = [];
  socket = new RecordedSocket("ws://127.0.0.1:9/graphql");
  socket.onmessage = ({ data }) => heard.push(data);
});

function receive(data: string): void {
  socket.dispatchEvent(new MessageEvent("message", { data }));
}

const record = () => recorder.sockets.at(-1);

test("what comes in while it is stalled is heard when it is released, in order", () => {
  receive("1");
  socket.stall();
  receive("2");
  receive("3");
  expect(heard).toEqual(["1"]);
  expect(record()?.isStalled).toBe(true);
  socket.release();
  receive("4");
  expect(heard).toEqual(["1", "2", "3", "4"]);
  expect(record()?.isStalled).toBe(false);
});

test("what a stalled socket held is lost when it closes", () => {
  socket.stall();
  receive("1");
  socket.close(4000, "cut");
  receive("2");
  socket.release();
  expect(heard).toEqual([]);
  expect(record()?.end).toBe("4000 cut");
});

test("the newest socket is the current one, and one that cannot be opened is recorded", async () => {
  expect(currentSocket()).toBe(socket);
  await expect.poll(() => record()?.end).toBe("1006");
  expect(record()?.openedAt).toBeNull();
});
