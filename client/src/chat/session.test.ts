import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { client, listen, mutate, query, Refused } from "../api/client";
import { EventsDocument, ResumeDocument, SendDocument } from "../api/generated";
import { loadDraft, save } from "./components/draft";
import type { Ending, MessageModel, Status } from "./model";
import { outbox } from "./outbox";
import { Session } from "./session";

vi.mock("../api/client", async () => {
  const { ApolloClient, ApolloLink, InMemoryCache } = await import("@apollo/client");
  return {
    client: new ApolloClient({ cache: new InMemoryCache(), link: ApolloLink.empty() }),
    connection: { live: () => Promise.resolve(), state: () => ({ kind: "live" }) },
    listen: vi.fn(),
    mutate: vi.fn(() => Promise.resolve({})),
    query: vi.fn(),
    repeated: (run: () => unknown) => run(),
    Refused: class extends Error {
      constructor(
        readonly code: string,
        message: string,
      ) {
        super(message);
      }
    },
  };
});

/** A running subscription, which the test plays the server of. */
interface Operation {
  document: unknown;
  message: { id?: string; content?: string };
  next(data: object): boolean;
  end(ending: Ending): void;
  signal: AbortSignal;
}

let operations: Operation[];
let session: Session;

function running(document: unknown): Operation[] {
  return operations.filter((each) => each.document === document && !each.signal.aborted);
}

function newest(document: unknown): Operation {
  const operation = running(document).at(-1);
  if (!operation) throw new Error("There is no such operation.");
  return operation;
}

function message(at: number, content: string, status?: Status): MessageModel {
  return {
    id: `m${at}`,
    role: status ? "ASSISTANT" : "USER",
    content,
    status: status ?? "DONE",
    createdAt: new Date(at).toISOString(),
    replyToId: status ? `m${at - 1}` : null,
    error: null,
  };
}

async function reset(...messages: MessageModel[]): Promise<void> {
  newest(EventsDocument).next({ conversationEvents: { __typename: "MessagesReset", messages } });
  await settled();
}

async function changed(one: MessageModel): Promise<void> {
  const conversationEvents = { __typename: "MessageChanged", message: one };
  newest(EventsDocument).next({ conversationEvents });
  await settled();
}

async function chunk(
  operation: Operation,
  messageId: string,
  offset: number,
  text: string,
  status = "STREAMING",
): Promise<void> {
  const one = { messageId, offset, text, status, error: null };
  operation.next({ sendMessage: one, resumeMessage: one });
  if (status !== "STREAMING") operation.end({ kind: "complete" });
  await settled();
}

// Longer than a frame, which is a timer here.
function settled(): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(20);
}

function cache(): Record<string, unknown> {
  return client.cache.extract() as Record<string, unknown>;
}

function shown(): string[] {
  return session.live.view().messageIds.map((id) => {
    const cached = cache()[`Message:${id}`] as MessageModel;
    return `${cached.role} ${cached.status} ${cached.content}`;
  });
}

beforeEach(async () => {
  vi.useFakeTimers();
  vi.stubGlobal("requestAnimationFrame", (draw: () => void) => setTimeout(draw, 16));
  vi.stubGlobal("cancelAnimationFrame", clearTimeout);
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("sessionStorage", storage());
  vi.stubGlobal("localStorage", storage());
  operations = [];
  vi.mocked(listen).mockImplementation(
    (document, variables, next, signal) =>
      new Promise<Ending>((resolve) => {
        const { message: sent } = variables as unknown as Pick<Operation, "message">;
        const end = (ending: Ending) => resolve(ending);
        operations.push({ document, message: sent, next: next as never, end, signal });
        signal.addEventListener("abort", () => resolve({ kind: "cut" }));
      }),
  );
  session = await opened();
});

afterEach(() => {
  session.live.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function opened(): Promise<Session> {
  const one = new Session("conversation");
  one.live.open();
  await settled();
  return one;
}

function storage() {
  const items = new Map<string, string>();
  return {
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => items.set(key, value),
    removeItem: (key: string) => items.delete(key),
  };
}

describe("a send", () => {
  test("shows at once, and resolves with the first chunk", async () => {
    await reset();
    const sent = session.send("Hello");
    expect(shown()).toEqual(["USER DONE Hello"]);
    expect(session.live.view().isReplying).toBe(true);
    await settled();
    await chunk(newest(SendDocument), "reply", 0, "");
    await sent;
  });

  test("is taken back, with the reason, when the server refuses it", async () => {
    await reset(message(1, "Before"), message(2, "Yes", "DONE"));
    const sent = session.send("Hello");
    const refused = expect(sent).rejects.toMatchObject({ code: "TOO_MANY_REPLIES", message: "No" });
    await settled();
    newest(SendDocument).end({ kind: "error", code: "TOO_MANY_REPLIES", message: "No" });
    await refused;
    expect(shown()).toEqual(["USER DONE Before", "ASSISTANT DONE Yes"]);
  });

  test("goes when it is cleared before a list has it", async () => {
    await reset();
    void session.send("Hello");
    await settled();
    await chunk(newest(SendDocument), "reply", 0, "");
    newest(SendDocument).end({ kind: "error", code: "MESSAGE_CLEARED", message: "" });
    await settled();
    expect(shown()).toEqual([]);
  });

  test("has one row and one stream, whichever comes first, its list or its chunks", async () => {
    await reset();
    void session.send("Hello");
    await settled();
    const operation = newest(SendDocument);
    const id = operation.message.id as string;
    await chunk(operation, "m2", 0, "He");
    await changed({ ...message(1, "Hello"), id });
    await changed({ ...message(2, "", "STREAMING"), replyToId: id });
    expect(shown()).toEqual(["USER DONE Hello", "ASSISTANT STREAMING He"]);
    expect(running(ResumeDocument)).toHaveLength(0);
  });

  test("is repeated with its id after a reload, unless the list has it", async () => {
    await reset();
    void session.send("Hello");
    await settled();
    const { id } = newest(SendDocument).message;
    operations = [];
    session = await opened(); // as a reload does: the storage stays, the streams are gone
    await reset();
    expect(newest(SendDocument).message).toMatchObject({ id, content: "Hello" });

    operations = [];
    session = await opened();
    await reset({ ...message(1, "Hello"), id: id as string });
    expect(running(SendDocument)).toHaveLength(0);
  });

  test("goes on until the server has it when the conversation is left", async () => {
    await reset();
    const sent = session.send("Hello");
    await settled();
    const operation = newest(SendDocument);
    session.live.close();
    await settled();
    expect(operation.signal.aborted).toBe(false);
    await chunk(operation, "reply", 0, "");
    await sent;
    expect(operation.signal.aborted).toBe(true);
  });
});

describe("a send that is refused when its box is gone", () => {
  const refusal = { kind: "error", code: "TOO_MANY_REPLIES", message: "No" } as const;

  test("after a reload goes back to the draft, which the box shows, with the reason", async () => {
    await reset();
    void session.send("Hello");
    await settled();
    save("sessionStorage", "conversation", "Then");
    save("localStorage", "conversation", "And");
    operations = [];
    session = await opened();
    await reset();
    const before = outbox.putBacks("conversation");
    newest(SendDocument).end(refusal);
    await settled();
    expect(loadDraft("conversation")).toBe("Hello\n\nThen\n\nAnd");
    expect(outbox.putBacks("conversation")).toBe(before + 1);
    expect(session.live.view().problem).toBe("No");
    expect(outbox.of("conversation")).toEqual([]);
  });

  test("after its conversation was left is in the draft, once, also if somebody is back", async () => {
    await reset();
    const sent = session.send("Hello");
    const refused = expect(sent).rejects.toMatchObject({ code: "TOO_MANY_REPLIES" });
    await settled();
    session.live.close();
    session = await opened();
    await reset();
    for (const operation of running(SendDocument)) operation.end(refusal);
    await refused;
    await settled();
    expect(loadDraft("conversation")).toBe("Hello");
  });

  test("stays with its box as long as that is there", async () => {
    await reset();
    const refused = expect(session.send("Hello")).rejects.toMatchObject({ message: "No" });
    await settled();
    newest(SendDocument).end(refusal);
    await refused;
    expect(loadDraft("conversation")).toBe("");
    expect(outbox.of("conversation")).toEqual([]);
  });
});

describe("a subscription to events that is refused", () => {
  test("says why until events come again", async () => {
    newest(EventsDocument).end({ kind: "error", code: "STORE_UNAVAILABLE", message: "No store" });
    await settled();
    expect(session.live.view().problem).toBe("No store");
    await vi.advanceTimersByTimeAsync(20_000);
    expect(operations).toHaveLength(2);
    await reset();
    expect(session.live.view().problem).toBeNull();
  });

  test("is not repeated when it would be refused again", async () => {
    newest(EventsDocument).end({ kind: "error", code: "BAD_USER_INPUT", message: "Not an id" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(operations).toHaveLength(1);
    expect(session.live.view().problem).toBe("Not an id");
  });
});

describe("earlier messages", () => {
  test("come in front, or the reason why not", async () => {
    await reset(message(3, "Two"));
    vi.mocked(query).mockRejectedValueOnce(new Refused("STORE_UNAVAILABLE", "No store"));
    expect(await session.loadEarlier()).toBe(false);
    expect(session.live.view().problem).toBe("No store");
    vi.mocked(query).mockResolvedValueOnce({ messages: [message(1, "One")] });
    expect(await session.loadEarlier()).toBe(true);
    expect(shown()).toEqual(["USER DONE One", "USER DONE Two"]);
    expect(session.live.view().problem).toBeNull();
  });
});

describe("replies that stream", () => {
  test("are all followed, from the text that the list has", async () => {
    await reset(
      message(1, "One"),
      message(2, "a", "STREAMING"),
      message(3, "Two"),
      message(4, "b", "STREAMING"),
    );
    expect(running(ResumeDocument).map((each) => each.message)).toEqual([
      { id: "m2", content: "a" },
      { id: "m4", content: "b" },
    ]);
    await chunk(running(ResumeDocument)[0] as Operation, "m2", 1, "nd", "DONE");
    expect(shown()[1]).toBe("ASSISTANT DONE and");
    expect(session.live.view()).toMatchObject({ streamingId: "m4", lastEnd: null });
  });

  test("freeze while the window is interrupted, and go on from exactly there", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    await chunk(newest(ResumeDocument), "m2", 0, "Hello");
    session.interrupt();
    await changed(message(2, "Hello, world", "DONE"));
    expect(shown()[1]).toBe("ASSISTANT STREAMING Hello");
    expect(running(ResumeDocument)).toHaveLength(0);

    session.resume();
    await settled();
    expect(newest(ResumeDocument).message).toEqual({ id: "m2", content: "Hello" });
    await chunk(newest(ResumeDocument), "m2", 5, ", world", "DONE");
    expect(shown()[1]).toBe("ASSISTANT DONE Hello, world");
    expect(session.live.view()).toMatchObject({ isInterrupted: false, lastEnd: "DONE" });
  });

  test("are followed again when what was interrupted is cleared", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    session.interrupt();
    await reset();
    await reset(message(3, "Two"), message(4, "", "STREAMING"));
    await chunk(newest(ResumeDocument), "m4", 0, "Hello");
    expect(shown()[1]).toBe("ASSISTANT STREAMING Hello");
    expect(session.live.view().isInterrupted).toBe(false);
  });

  test("are all followed, or there is something to resume, whatever happens", async () => {
    const status = fc.constantFrom<Status>("STREAMING", "DONE");
    const someList = fc
      .array(status, { maxLength: 3 })
      .map((all) => all.flatMap((one, at) => [message(2 * at, "?"), message(2 * at + 1, "", one)]));
    const happening = fc.oneof(
      someList.map((messages) => () => reset(...messages)),
      someList.map((messages) => () => reset(...messages, message(9, "Not replied to"))),
      status.map((one) => () => changed(message(5, "", one))),
      fc.constantFrom(
        () => session.interrupt(),
        () => session.resume(),
      ),
    );
    const check = async (happenings: (() => unknown)[]) => {
      session.live.close();
      operations = [];
      session = await opened();
      for (const happen of happenings) {
        await happen();
        await settled();
        const { isInterrupted, isReplying, messageIds } = session.live.view();
        const streaming = messageIds.filter((_, at) => shown()[at]?.includes("STREAMING"));
        const followed = running(ResumeDocument).map(({ message: { id } }) => id);
        if (isInterrupted)
          expect({ isReplying, followed }).toEqual({ isReplying: true, followed: [] });
        else expect(followed).toEqual(expect.arrayContaining(streaming));
      }
    };
    await fc.assert(fc.asyncProperty(fc.array(happening), check));
  });

  test("can be interrupted, and resumed, when only the question is there", async () => {
    await reset(message(1, "One"));
    session.interrupt();
    expect(session.live.view()).toMatchObject({ isReplying: true, isInterrupted: true });
    await changed(message(2, "", "STREAMING"));
    expect(running(ResumeDocument)).toHaveLength(0);
    expect(session.live.view()).toMatchObject({ streamingId: "m2", isInterrupted: true });
    session.resume();
    await settled();
    await chunk(newest(ResumeDocument), "m2", 0, "Hello", "DONE");
    expect(shown()[1]).toBe("ASSISTANT DONE Hello");
  });

  test("are left by an interrupted window as soon as the server has its send", async () => {
    await reset();
    const sent = session.send("Hello");
    await settled();
    session.interrupt();
    const operation = newest(SendDocument);
    expect(operation.signal.aborted).toBe(false);
    await chunk(operation, "m2", 0, "He");
    await sent;
    expect(operation.signal.aborted).toBe(true);
    const id = operation.message.id as string;
    await changed({ ...message(1, "Hello"), id });
    await changed({ ...message(2, "", "STREAMING"), replyToId: id });
    expect(shown()[1]).toBe("ASSISTANT STREAMING ");
    expect(session.live.view().isInterrupted).toBe(true);
  });

  test("are stopped for everyone, and the question that has no reply yet, too", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    session.stop();
    expect(mutate).toHaveBeenLastCalledWith(expect.anything(), { id: "m2" });
    await reset(message(1, "One"));
    session.stop();
    expect(mutate).toHaveBeenLastCalledWith(expect.anything(), { id: "m1" });
    await reset(message(1, "One"), message(2, "", "STREAMING"), message(3, "Two"));
    vi.mocked(mutate).mockClear();
    session.stop();
    expect(vi.mocked(mutate).mock.calls.map(([, variables]) => variables)).toEqual([
      { id: "m2" },
      { id: "m3" },
    ]);
  });

  test("go when they are cleared, whether the list or the stream says so", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    newest(ResumeDocument).end({ kind: "error", code: "MESSAGE_CLEARED", message: "" });
    await settled();
    expect(shown()).toEqual(["USER DONE One"]);
    await reset();
    expect(shown()).toEqual([]);
    expect(Object.keys(cache())).not.toContain("Message:m1");
  });

  test("keep their text, and say why, when they cannot be followed any more", async () => {
    await reset(message(1, "One"), message(2, "Hel", "STREAMING"));
    newest(ResumeDocument).end({ kind: "error", code: "SOMETHING_NEW", message: "Why" });
    await settled();
    expect(shown()[1]).toBe("ASSISTANT ERROR Hel");
  });

  test("are left when the conversation is", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    session.live.close();
    expect(operations.every(({ signal }) => signal.aborted)).toBe(true);
  });
});
