import { expect, test } from "vitest";

import type { MessageModel, Status } from "./model";
import { awaiting, emptyThread, grown, removed, reset, type Thread } from "./thread";
import { type View, viewOf } from "./view";

function question(at: number): MessageModel {
  return { ...reply(at, "DONE"), id: `q${at}`, role: "USER", replyToId: null };
}

function reply(at: number, status: Status): MessageModel {
  return {
    id: `r${at}`,
    role: "ASSISTANT",
    content: "",
    status,
    createdAt: new Date(at).toISOString(),
    replyToId: `q${at - 1}`,
    error: null,
    replies: [],
    usage: null,
  };
}

function seen(...threads: Thread[]): View {
  const notes = { problem: null, putBacks: 0 };
  const before = viewOf(emptyThread, notes);
  return threads.reduce((view, thread) => viewOf(thread, notes, view), before);
}

function ended(thread: Thread, id: string, status: Status): Thread {
  return grown(thread, id, { content: "", status, error: null });
}

const two = reset(emptyThread, [
  question(1),
  reply(2, "STREAMING"),
  question(3),
  reply(4, "STREAMING"),
]);

test.each(["STOPPED", "ERROR"] as const)(
  "of two replies, the end is %s if one of them is, whichever ends first",
  (status) => {
    for (const [first, second] of [
      ["r2", "r4"],
      ["r4", "r2"],
    ] as const) {
      for (const [one, other] of [
        ["DONE", status],
        [status, "DONE"],
      ] as const) {
        const half = ended(two, first, one);
        expect(seen(two, half).lastEnd).toBeNull();
        expect(seen(two, half, ended(half, second, other)).lastEnd).toBe(status);
      }
    }
  },
);

test("the end of an earlier reply is not the one of the last row", () => {
  const done = reset(emptyThread, [question(1), reply(2, "DONE"), question(3), reply(4, "DONE")]);
  const again = awaiting(done, { ...reply(2, "STREAMING"), id: "again" });
  expect(seen(done, again, ended(again, "again", "STOPPED")).lastEnd).toBe("STOPPED");
  expect(seen(done, again, removed(again, "again")).lastEnd).toBeNull();
});

test("an end counts for what ended with it, and not for what comes later", () => {
  const stopped = ended(ended(two, "r2", "STOPPED"), "r4", "DONE");
  const next = reset(stopped, [...stopped.listed, question(5), reply(6, "STREAMING")]);
  expect(seen(two, stopped, next, ended(next, "r6", "DONE")).lastEnd).toBe("DONE");
});

test("a reply that was not seen to stream ends the waiting of its question", () => {
  const asked = awaiting(emptyThread, question(1));
  const answered = reset(asked, [question(1), reply(2, "ERROR")]);
  expect(seen(asked, answered).lastEnd).toBe("ERROR");
});
