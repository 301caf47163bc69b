import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Chunk, Status } from "./model";
import {
  beginning,
  continuing,
  ended,
  received,
  replaying,
  resumption,
  type Stream,
} from "./stream";

const ID = "reply";

function chunk(offset: number, text: string, status: Status = "STREAMING"): Chunk {
  return { messageId: ID, offset, text, status, error: null };
}

const message = (content: string) => ({ id: ID, content });

function fed(stream: Stream, ...chunks: Chunk[]): Stream {
  return chunks.reduce(received, stream);
}

describe("a stream", () => {
  test("repeats its send until it knows the reply's id, and resumes with its content from then on", () => {
    const cut = ended(beginning, { kind: "cut" });
    expect(cut.phase).toBe("asking");
    expect(resumption(cut)).toBeNull();

    const later = ended(fed(cut, chunk(0, ""), chunk(0, "Hello")), { kind: "cut" });
    expect(resumption(later)).toEqual({ id: ID, content: "Hello" });
  });

  test("ends with the one chunk that has a final status, and nothing changes it afterwards", () => {
    const done = fed(beginning, chunk(0, "Hello", "DONE"));
    expect(done).toMatchObject({ phase: "ended", content: "Hello", status: "DONE" });
    expect(received(done, chunk(0, ""))).toBe(done);
    expect(ended(done, { kind: "complete" })).toBe(done);
    expect(ended(done, { kind: "error", code: "STORE_UNAVAILABLE", message: "" })).toBe(done);
  });

  test("was cut when it completes without a final status, and each time counts until it grows", () => {
    const once = ended(fed(continuing(message("a")), chunk(1, "b")), { kind: "complete" });
    expect(once).toMatchObject({ phase: "asking", failures: 1 });
    const twice = ended(fed(once, chunk(2, "")), { kind: "complete" });
    expect(twice.failures).toBe(2);
    expect(fed(twice, chunk(2, "c")).failures).toBe(0);
  });

  test("does not count a cut, since the connection waits for itself", () => {
    expect(ended(continuing(message("a")), { kind: "cut" }).failures).toBe(0);
  });

  test("asks again, with what it has, when a chunk lies beyond it", () => {
    const stream = fed(continuing(message("abc")), chunk(3, "d"), chunk(9, "x"));
    expect(stream).toMatchObject({ phase: "asking", content: "abcd", failures: 1 });
    expect(resumption(stream)).toEqual({ id: ID, content: "abcd" });
  });

  test("heals a wrong end when the answer to a resume says where the text stops being right", () => {
    expect(fed(continuing(message("abcX")), chunk(3, "")).content).toBe("abc");
    expect(fed(continuing(message("abXX")), chunk(2, "cd", "DONE")).content).toBe("abcd");
  });

  test("is cut off by its last chunk where the text ends", () => {
    const stream = fed(replaying(message("abcX")), chunk(0, ""));
    expect(stream.content).toBe("abcX");
    expect(received(stream, chunk(0, "abc", "DONE")).content).toBe("abc");
  });

  test("keeps what is shown while a replay comes to it, and goes on from there", () => {
    const replay = replaying(message("abcd"));
    expect(resumption(replay)).toEqual({ id: ID, content: "" });
    const stream = fed(replay, chunk(0, ""), chunk(0, "ab"));
    expect(stream.content).toBe("abcd");
    expect(received(stream, chunk(2, "cdef")).content).toBe("abcdef");
  });

  test("tries again after an error that passes", () => {
    for (const code of ["STORE_UNAVAILABLE", "RATE_LIMITED", "INTERNAL_SERVER_ERROR"]) {
      const stream = ended(continuing(message("a")), { kind: "error", code, message: "" });
      expect(stream).toMatchObject({ phase: "asking", failures: 1 });
    }
  });

  test("fails for good with any other error, a new one too", () => {
    for (const code of ["MESSAGE_CLEARED", "MESSAGE_NOT_FOUND", "SOMETHING_NEW"]) {
      const stream = ended(continuing(message("a")), { kind: "error", code, message: "m" });
      expect(stream).toMatchObject({ phase: "failed", error: { code, message: "m" } });
    }
  });

  test("gives a refused send back, whatever the reason", () => {
    const error = { kind: "error", code: "STORE_UNAVAILABLE", message: "" } as const;
    expect(ended(beginning, error).phase).toBe("failed");
  });
});

// The server, as docs/streaming.md has it: it answers a resume with where the texts part, never splits a
// code point, and ends with the one final status.
type Step =
  | { kind: "grow"; text: string }
  | { kind: "repeat"; back: number; length: number }
  | { kind: "replay" }
  | { kind: "skip"; ahead: number }
  | { kind: "end"; ending: "cut" | "complete" };

const text = fc.string({ unit: "binary", minLength: 0, maxLength: 12 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("grow" as const), text }) },
  fc.record({
    kind: fc.constant("repeat" as const),
    back: fc.nat(20),
    length: fc.nat(20),
  }),
  fc.record({ kind: fc.constant("replay" as const) }),
  fc.record({ kind: fc.constant("skip" as const), ahead: fc.integer({ min: 1, max: 9 }) }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("end" as const),
      ending: fc.constantFrom("cut" as const, "complete" as const),
    }),
  },
);

/** The nearest offset at or before this one that does not lie inside a code point. */
function boundary(stored: string, offset: number): number {
  const code = stored.charCodeAt(offset);
  return code >= 0xdc00 && code <= 0xdfff && offset > 0 ? offset - 1 : offset;
}

function commonLength(stored: string, content: string): number {
  let length = 0;
  while (length < content.length && content[length] === stored[length]) length++;
  return boundary(stored, length);
}

function answer(stored: string, stream: Stream): Chunk {
  const from = commonLength(stored, resumption(stream)?.content ?? "");
  return chunk(from, stored.slice(from));
}

function reopened(stored: string, stream: Stream): Stream {
  return stream.phase === "asking" ? received(stream, answer(stored, stream)) : stream;
}

/** Plays the steps; returns each stream that was shown, with what was stored then. */
function play(first: Stream, steps: Step[]): { stream: Stream; stored: string }[] {
  let stored = "";
  let stream = reopened(stored, first);
  const shown = [{ stream, stored }];
  const show = (next: Stream) => {
    stream = next;
    shown.push({ stream, stored });
  };
  for (const one of steps) {
    show(reopened(stored, stream));
    if (one.kind === "grow") {
      const offset = stored.length;
      stored += one.text;
      show(received(stream, chunk(offset, one.text)));
    } else if (one.kind === "repeat") {
      const from = boundary(stored, Math.max(0, stored.length - one.back));
      const to = boundary(stored, Math.min(stored.length, from + one.length));
      show(received(stream, chunk(from, stored.slice(from, Math.max(from, to)))));
    } else if (one.kind === "replay") {
      show(received(stream, chunk(0, "")));
      show(received(stream, chunk(0, stored)));
    } else if (one.kind === "skip") {
      show(received(stream, chunk(stream.content.length + one.ahead, "?")));
    } else {
      show(ended(stream, { kind: one.ending }));
    }
  }
  show(reopened(stored, stream));
  show(received(stream, chunk(stored.length, "", "DONE")));
  return shown;
}

describe("whatever is cut, lost, repeated, overlapped or replayed", () => {
  test("the text is exact at the end", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { stream, stored } = play(beginning, steps).at(-1) as ReturnType<typeof play>[0];
        expect(stream).toMatchObject({ phase: "ended", status: "DONE", content: stored });
      }),
    );
  });

  test("what is shown is a beginning of what is stored, and never gets shorter", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let before = "";
        for (const { stream, stored } of play(beginning, steps)) {
          expect(stored.startsWith(stream.content)).toBe(true);
          expect(stream.content.startsWith(before)).toBe(true);
          expect(stream.content).not.toMatch(/\p{Surrogate}/u);
          before = stream.content;
        }
      }),
    );
  });

  test("a text that was wrong is healed by the answer to its resume", () => {
    fc.assert(
      fc.property(text, text, fc.array(step, { maxLength: 20 }), (stored, wrong, steps) => {
        const healed = reopened(stored, continuing(message(stored + wrong)));
        expect(healed.content).toBe(stored);
        const last = play(continuing(message(wrong)), steps).at(-1);
        expect(last?.stream.content).toBe(last?.stored);
      }),
    );
  });

  test("a final status stays, whatever comes after it", () => {
    const status = fc.constantFrom<Status>("DONE", "STOPPED", "ERROR", "STREAMING");
    const late = fc.oneof(
      fc.tuple(fc.nat(30), text, status).map(
        ([offset, words, last]) =>
          (stream: Stream) =>
            received(stream, chunk(offset, words, last)),
      ),
      fc
        .constantFrom("cut" as const, "complete" as const)
        .map((kind) => (stream: Stream) => ended(stream, { kind })),
    );
    fc.assert(
      fc.property(text, fc.array(late), (words, events) => {
        const done = fed(beginning, chunk(0, words, "STOPPED"));
        expect(events.reduce((stream, event) => event(stream), done)).toBe(done);
      }),
    );
  });
});
