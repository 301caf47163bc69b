import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { MessageModel, Status } from "./model";
import {
  attached,
  awaiting,
  changed,
  earlier,
  emptyThread,
  grown,
  interrupted,
  messagesOf,
  PAGE,
  removed,
  reset,
  streamingIn,
  type Thread,
  underWayIn,
} from "./thread";

function question(at: number, id = `q${at}`): MessageModel {
  return {
    id,
    role: "USER",
    content: id,
    status: "DONE",
    createdAt: stamp(at),
    replyToId: null,
    error: null,
    replies: [],
    usage: null,
  };
}

function reply(at: number, content = "", status: Status = "STREAMING", id = `r${at}`) {
  const message: MessageModel = {
    id,
    role: "ASSISTANT",
    content,
    status,
    createdAt: stamp(at),
    replyToId: `q${at - 1}`,
    error: null,
    replies: [],
    usage: null,
  };
  return message;
}

function stamp(at: number): string {
  return new Date(at).toISOString();
}

function idsOf(thread: Thread): string[] {
  return messagesOf(thread).map(({ id }) => id);
}

function contentOf(thread: Thread, id: string): string | undefined {
  return messagesOf(thread).find((message) => message.id === id)?.content;
}

const news = { content: "Hello", status: "STREAMING", error: null } as const;

describe("a list", () => {
  test("is what the reset says, and nothing else", () => {
    const before = reset(emptyThread, [question(1), reply(2, "old", "DONE")]);
    const thread = reset(before, [question(3), reply(4)]);
    expect(idsOf(thread)).toEqual(["q3", "r4"]);
    expect(thread).toMatchObject({ isLoaded: true, hasEarlier: false });
  });

  test("keeps earlier pages when a reset shows that the conversation is still the same", () => {
    const messages = Array.from({ length: PAGE + 2 }, (_, at) => question(at + 10));
    const page = messages.slice(0, PAGE);
    const thread = earlier(reset(emptyThread, page), "q10", [question(1), question(2)]);
    const again = reset(thread, messages.slice(2));
    expect(idsOf(again)).toEqual(["q1", "q2", ...messages.map(({ id }) => id)]);
    expect(again.hasEarlier).toBe(false);
  });

  test("keeps an earlier message of the same millisecond as the first of a reset", () => {
    const messages = Array.from({ length: PAGE }, (_, at) => question(at + 10));
    const [first] = messages as [MessageModel];
    const older = { ...question(1), createdAt: first.createdAt };
    const thread = earlier(reset(emptyThread, messages), first.id, [older]);
    expect(idsOf(reset(thread, messages))).toEqual(["q1", ...messages.map(({ id }) => id)]);
  });

  test("loses earlier pages when all that it knew is gone", () => {
    const page = Array.from({ length: PAGE }, (_, at) => question(at + 10));
    const thread = earlier(reset(emptyThread, page), "q10", [question(1)]);
    const others = Array.from({ length: PAGE }, (_, at) => question(at + 1000));
    expect(idsOf(reset(thread, others))).toEqual(others.map(({ id }) => id));
  });

  test("takes an earlier page only in front of the message that it was asked for", () => {
    const page = Array.from({ length: PAGE }, (_, at) => question(at + 10));
    const cleared = reset(reset(emptyThread, page), []);
    expect(earlier(cleared, "q10", [question(1)])).toBe(cleared);
  });

  test("puts what is added or changed in the order of the server", () => {
    const thread = [reply(4), question(1), reply(2, "", "DONE"), question(3)].reduce(
      changed,
      emptyThread,
    );
    expect(idsOf(thread)).toEqual(["q1", "r2", "q3", "r4"]);
  });

  test("has no hole, whatever happens to messages older than the loaded page", () => {
    const all = [1, 3, 5, 7, 9].flatMap((at) => [question(at), reply(at + 1, "", "DONE")]);
    const someAt = fc.integer({ min: 0, max: all.length - 1 });
    fc.assert(
      fc.property(someAt, fc.array(someAt), (first, happenings) => {
        const page = reset(emptyThread, all.slice(first));
        const thread = happenings.reduce((before, at) => changed(before, all[at] as MessageModel), {
          ...page,
          hasEarlier: first > 0,
        });
        const older = all.slice(0, first);
        const whole = first > 0 ? earlier(thread, thread.listed[0]?.id as string, older) : thread;
        expect(whole.listed).toEqual(all);
      }),
    );
  });
});

describe("a send", () => {
  test("stands at the end until a list has it, then where the server puts it", () => {
    const sent = question(0, "mine");
    const thread = awaiting(reset(emptyThread, [question(1)]), sent);
    expect(idsOf(thread)).toEqual(["q1", "mine"]);
    expect(idsOf(reset(thread, [question(1), question(2)]))).toEqual(["q1", "q2", "mine"]);
    const listed = changed(thread, { ...sent, createdAt: stamp(2) });
    expect(idsOf(changed(listed, question(3)))).toEqual(["q1", "mine", "q3"]);
    expect(listed.pending).toEqual([]);
  });

  test("goes when it is refused", () => {
    expect(idsOf(removed(awaiting(emptyThread, question(1)), "q1"))).toEqual([]);
  });
});

describe("a regenerate", () => {
  const old = reset(emptyThread, [question(1), reply(2, "old", "DONE"), question(3)]);
  const fresh = reply(2, "", "STREAMING", "new");

  test("puts the new reply in the old one's place at once, through any reset that has not heard of it", () => {
    const thread = awaiting(old, fresh);
    expect(idsOf(thread)).toEqual(["q1", "new", "q3"]);
    expect(idsOf(reset(thread, old.listed))).toEqual(["q1", "new", "q3"]);
    expect(streamingIn(thread)).toEqual([fresh]);
  });

  test("keeps the text that came before the list did", () => {
    const thread = grown(awaiting(old, fresh), "new", news);
    const listed = reset(thread, [question(1), fresh, question(3)]);
    expect(contentOf(listed, "new")).toBe("Hello");
    expect(listed.pending).toEqual([]);
  });

  test("brings the old reply back when it is refused", () => {
    expect(idsOf(removed(awaiting(old, fresh), "new"))).toEqual(["q1", "r2", "q3"]);
  });

  test("of another window shows in the old reply's place, by a reset or by an event", () => {
    expect(idsOf(reset(old, [question(1), fresh, question(3)]))).toEqual(["q1", "new", "q3"]);
    expect(idsOf(changed(old, fresh))).toEqual(["q1", "new", "q3"]);
  });
});

describe("a text that streams", () => {
  const thread = grown(reset(emptyThread, [question(1), reply(2)]), "r2", news);

  test("is not overwritten by a list or an event that has less", () => {
    expect(contentOf(reset(thread, [question(1), reply(2, "He")]), "r2")).toBe("Hello");
    expect(contentOf(changed(thread, reply(2)), "r2")).toBe("Hello");
  });

  test("is complete when a list or an event says that it ended", () => {
    const ended = changed(thread, reply(2, "Hello!", "DONE"));
    expect(contentOf(ended, "r2")).toBe("Hello!");
    expect(streamingIn(ended)).toEqual([]);
  });

  test("stays as it is shown while the window is interrupted, even if it ends", () => {
    const frozen = changed(interrupted(thread), reply(2, "Hello!", "DONE"));
    expect(contentOf(frozen, "r2")).toBe("Hello");
    expect(frozen.isInterrupted).toBe(true);
    expect(attached(frozen).isInterrupted).toBe(false);
  });

  test("can be interrupted before it begins, when only the question is shown", () => {
    const asked = interrupted(reset(emptyThread, [question(1)]));
    expect(asked.isInterrupted).toBe(true);
    expect(changed(asked, reply(2)).isInterrupted).toBe(true);
    expect(changed(asked, reply(2, "Hello", "DONE")).isInterrupted).toBe(false);
  });

  test("leaves nothing to be interrupted when it is cleared", () => {
    expect(reset(interrupted(thread), [])).toMatchObject({ isInterrupted: false, listed: [] });
  });
});

// The default, a hundred, has missed faults.
fc.configureGlobal({ numRuns: 1000 });

type Event = (thread: Thread) => Thread;

const status = fc.constantFrom<Status>("STREAMING", "DONE", "STOPPED", "ERROR");
const place = fc.integer({ min: 1, max: 5 });
const someReply = fc
  .tuple(place, fc.string({ maxLength: 5 }), status)
  .map(([at, content, ended]) => reply(2 * at, content, ended));
const someQuestion = place.map((at) => question(2 * at - 1));
const someMessage = fc.oneof(someReply, someQuestion);
const someList = fc
  .uniqueArray(someMessage, { selector: ({ id }) => id, maxLength: 8 })
  .map((messages) => messages.sort((one, other) => (one.createdAt < other.createdAt ? -1 : 1)));
const someEvent: fc.Arbitrary<Event> = fc.oneof(
  someList.map(
    (messages): Event =>
      (thread) =>
        reset(thread, messages),
  ),
  someMessage.map(
    (message): Event =>
      (thread) =>
        changed(thread, message),
  ),
  someReply.map(
    (message): Event =>
      (thread) =>
        grown(thread, message.id, message),
  ),
  someQuestion.map(
    (message): Event =>
      (thread) =>
        awaiting(thread, message),
  ),
  place.map(
    (at): Event =>
      (thread) =>
        removed(thread, `q${at}`),
  ),
  fc.constantFrom<Event>(interrupted, attached),
);

function played(events: Event[]): Thread[] {
  const threads = [emptyThread];
  for (const event of events) threads.push(event(threads.at(-1) as Thread));
  return threads;
}

describe("whatever lists, events, streams and sends come in which order", () => {
  test("no message is there twice, and the server's are in its order", () => {
    fc.assert(
      fc.property(fc.array(someEvent), (events) => {
        for (const thread of played(events)) {
          expect(new Set(idsOf(thread)).size).toBe(idsOf(thread).length);
          const order = thread.listed.map(({ createdAt }) => createdAt);
          expect(order).toEqual([...order].sort());
        }
      }),
    );
  });

  test("an end is never undone", () => {
    fc.assert(
      fc.property(fc.array(someEvent), (events) => {
        const threads = played(events);
        for (const [index, thread] of threads.slice(1).entries()) {
          for (const before of messagesOf(threads[index] as Thread)) {
            const after = messagesOf(thread).find(({ id }) => id === before.id);
            if (before.status === "STREAMING" || !after) continue;
            expect(after).toMatchObject({ status: before.status, content: before.content });
          }
        }
      }),
    );
  });

  test("the newest reset's messages are all there, and no reply that it does not have", () => {
    fc.assert(
      fc.property(fc.array(someEvent), someList, (events, messages) => {
        const thread = reset(played(events).at(-1) as Thread, messages);
        expect(thread.listed.map(({ id }) => id)).toEqual(messages.map(({ id }) => id));
      }),
    );
  });

  test("the window is interrupted only where there is more to come", () => {
    fc.assert(
      fc.property(fc.array(someEvent), (events) => {
        for (const thread of played(events)) {
          if (thread.isInterrupted) expect(underWayIn(thread)).not.toEqual([]);
        }
      }),
    );
  });
});
