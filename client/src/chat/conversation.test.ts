import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { client, listen, mutate, query } from "../api/client";
import { Refused } from "../api/connection";
import { EventsDocument, RegenerateDocument, ResumeDocument, SendDocument } from "../api/generated";
import { loadDraft, saveDraft } from "./components/draft";
import { Conversation } from "./conversation";
import type { Ending, MessageModel, Status } from "./model";
import { loadUnsent } from "./outbox";
import { PAGE } from "./thread";

vi.mock("../api/client", async () => {
  const { ApolloClient, ApolloLink, InMemoryCache } = await import("@apollo/client");
  return {
    client: new ApolloClient({ cache: new InMemoryCache(), link: ApolloLink.empty() }),
    ready: (failures = 0) => new Promise((resolve) => setTimeout(resolve, failures * 1000)),
    listen: vi.fn(),
    mutate: vi.fn(() => Promise.resolve({})),
    query: vi.fn(),
    repeated: (run: () => unknown) => run(),
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

const USAGE = {
  model: null,
  inputTokens: null,
  outputTokens: null,
  timeToFirstToken: null,
  duration: null,
};

let operations: Operation[];
let conversation: Conversation;

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
    replies: [],
    usage: null,
  };
}

async function reset(...messages: MessageModel[]): Promise<void> {
  newest(EventsDocument).next({ event: { __typename: "MessagesReset", messages } });
  await settled();
}

async function changed(one: MessageModel): Promise<void> {
  newest(EventsDocument).next({ event: { __typename: "MessageChanged", message: one } });
  await settled();
}

async function chunk(
  operation: Operation,
  messageId: string,
  offset: number,
  text: string,
  status = "STREAMING",
): Promise<void> {
  operation.next({ chunk: { messageId, offset, text, status, error: null } });
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
  return conversation.view().messageIds.map((id) => {
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
  conversation = await opened();
});

afterEach(() => {
  conversation.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function opened(): Promise<Conversation> {
  const one = new Conversation("conversation");
  one.open();
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
    const sent = conversation.send("Hello");
    expect(shown()).toEqual(["USER DONE Hello"]);
    expect(conversation.view().isReplying).toBe(true);
    await settled();
    await chunk(newest(SendDocument), "reply", 0, "");
    await sent;
  });

  test("is taken back, with the reason, when the server refuses it", async () => {
    await reset(message(1, "Before"), message(2, "Yes", "DONE"));
    const sent = conversation.send("Hello");
    const refused = expect(sent).rejects.toMatchObject({ code: "TOO_MANY_REPLIES", message: "No" });
    await settled();
    newest(SendDocument).end({ kind: "error", code: "TOO_MANY_REPLIES", message: "No" });
    await refused;
    expect(shown()).toEqual(["USER DONE Before", "ASSISTANT DONE Yes"]);
  });

  test("goes when it is cleared before a list has it", async () => {
    await reset();
    void conversation.send("Hello");
    await settled();
    await chunk(newest(SendDocument), "reply", 0, "");
    newest(SendDocument).end({ kind: "error", code: "MESSAGE_CLEARED", message: "" });
    await settled();
    expect(shown()).toEqual([]);
  });

  test("has one row and one stream, whichever comes first, its list or its chunks", async () => {
    await reset();
    void conversation.send("Hello");
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
    void conversation.send("Hello");
    await settled();
    const { id } = newest(SendDocument).message;
    operations = [];
    conversation = await opened(); // as a reload does: the storage stays, the streams are gone
    await reset();
    expect(newest(SendDocument).message).toMatchObject({ id, content: "Hello" });

    operations = [];
    conversation = await opened();
    await reset({ ...message(1, "Hello"), id: id as string });
    expect(running(SendDocument)).toHaveLength(0);
  });

  test("goes on until the server has it when the conversation is left", async () => {
    await reset();
    const sent = conversation.send("Hello");
    await settled();
    const operation = newest(SendDocument);
    conversation.close();
    await settled();
    expect(operation.signal.aborted).toBe(false);
    await chunk(operation, "reply", 0, "");
    await sent;
    expect(operation.signal.aborted).toBe(true);
  });
});

describe("a send that the server has, and no list", () => {
  beforeEach(async () => {
    await reset();
    void conversation.send("Hello");
    await settled();
    await chunk(newest(SendDocument), "reply", 0, "Hi", "DONE");
  });

  test("goes when it was cleared before an event told of it", async () => {
    vi.mocked(query).mockResolvedValueOnce({ message: null });
    await reset();
    expect(shown()).toEqual([]);
  });

  test("stays when the list was only read before it was stored", async () => {
    const [id] = conversation.view().messageIds;
    const stored = { ...message(5, "Hello"), id };
    vi.mocked(query).mockResolvedValueOnce({ message: stored });
    await reset(message(3, "Two"));
    expect(shown()).toEqual(["USER DONE Two", "USER DONE Hello"]);
  });

  test("goes to where it belongs when it is older than all that the list has", async () => {
    const [id] = conversation.view().messageIds;
    vi.mocked(query).mockResolvedValueOnce({ message: { ...message(1, "Hello"), id } });
    await reset(...Array.from({ length: PAGE }, (_, at) => message(at + 10, "Later")));
    expect(new Set(shown())).toEqual(new Set(["USER DONE Later"]));
  });
});

describe("a regenerate", () => {
  const list = [message(1, "One"), message(2, "Yes", "DONE")];

  test("is repeated with its id after a cut, and after a reload, unless the list has it", async () => {
    await reset(...list);
    conversation.regenerate("m2");
    await settled();
    const { id } = newest(RegenerateDocument).message;
    newest(RegenerateDocument).end({ kind: "cut" });
    await settled();
    expect(newest(RegenerateDocument).message).toEqual({ id, messageId: "m1" });

    operations = [];
    conversation = await opened();
    await reset(...list);
    expect(shown()).toEqual(["USER DONE One", "ASSISTANT STREAMING "]);
    expect(newest(RegenerateDocument).message).toEqual({ id, messageId: "m1" });

    operations = [];
    conversation = await opened();
    await reset(message(1, "One"), { ...message(2, "No", "DONE"), id: id as string });
    expect(running(RegenerateDocument)).toHaveLength(0);
  });

  test("that is refused brings the old reply back, with the reason", async () => {
    await reset(...list);
    conversation.regenerate("m2");
    await settled();
    newest(RegenerateDocument).end({ kind: "error", code: "REPLY_STREAMING", message: "No" });
    await settled();
    expect(shown()).toEqual(["USER DONE One", "ASSISTANT DONE Yes"]);
    expect(conversation.view().problem).toBe("No");
  });
});

describe("a replay", () => {
  test("of a reply that is not shown asks for it, and shows nothing", async () => {
    await reset(message(1, "One"));
    conversation.replay("elsewhere");
    await settled();
    expect(newest(ResumeDocument).message).toEqual({ id: "elsewhere", content: "" });
    await chunk(newest(ResumeDocument), "elsewhere", 0, "Hello", "DONE");
    expect(shown()).toEqual(["USER DONE One"]);
  });
});

describe("a send that is refused when its box is gone", () => {
  const refusal = { kind: "error", code: "TOO_MANY_REPLIES", message: "No" } as const;

  test("after a reload goes back to the draft, which the box shows, with the reason", async () => {
    await reset();
    void conversation.send("Hello");
    await settled();
    saveDraft("conversation", "Then");
    operations = [];
    conversation = await opened();
    await reset();
    const before = conversation.view().putBacks;
    newest(SendDocument).end(refusal);
    await settled();
    expect(loadDraft("conversation")).toBe("Hello\n\nThen");
    expect(conversation.view().putBacks).toBe(before + 1);
    expect(conversation.view().problem).toBe("No");
    expect(loadUnsent("conversation")).toEqual([]);
  });

  test("after its conversation was left is in the draft, once, also if somebody is back", async () => {
    await reset();
    const sent = conversation.send("Hello");
    const refused = expect(sent).rejects.toMatchObject({ code: "TOO_MANY_REPLIES" });
    await settled();
    conversation.close();
    conversation.open();
    await settled();
    await reset();
    expect(shown()).toEqual(["USER DONE Hello"]);
    expect(running(SendDocument)).toHaveLength(1);
    newest(SendDocument).end(refusal);
    await refused;
    await settled();
    expect(loadDraft("conversation")).toBe("Hello");
    expect(conversation.view()).toMatchObject({ problem: "No", messageIds: [], putBacks: 1 });
  });

  test("stays with its box as long as that is there", async () => {
    await reset();
    const refused = expect(conversation.send("Hello")).rejects.toMatchObject({ message: "No" });
    await settled();
    newest(SendDocument).end(refusal);
    await refused;
    expect(loadDraft("conversation")).toBe("");
    expect(loadUnsent("conversation")).toEqual([]);
  });
});

describe("a subscription to events that is refused", () => {
  test("says why until events come again", async () => {
    newest(EventsDocument).end({ kind: "error", code: "STORE_UNAVAILABLE", message: "No store" });
    await settled();
    expect(conversation.view().problem).toBe("No store");
    await vi.advanceTimersByTimeAsync(20_000);
    expect(operations).toHaveLength(2);
    await reset();
    expect(conversation.view().problem).toBeNull();
  });

  test.each(["BAD_USER_INPUT", "DOCUMENT_TOO_COSTLY"])(
    "is not repeated when it would be refused again: %s",
    async (code) => {
      newest(EventsDocument).end({ kind: "error", code, message: "Not so" });
      await vi.advanceTimersByTimeAsync(60_000);
      expect(operations).toHaveLength(1);
      expect(conversation.view().problem).toBe("Not so");
    },
  );
});

describe("earlier messages", () => {
  test("come in front, or the reason why not", async () => {
    await reset(message(3, "Two"));
    vi.mocked(query).mockRejectedValueOnce(
      new Refused({ message: "No store", extensions: { code: "STORE_UNAVAILABLE" } }),
    );
    await conversation.loadEarlier();
    expect(conversation.view().problem).toBe("No store");
    vi.mocked(query).mockResolvedValueOnce({ messages: [message(1, "One")] });
    await conversation.loadEarlier();
    expect(shown()).toEqual(["USER DONE One", "USER DONE Two"]);
    expect(conversation.view().problem).toBeNull();
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
    expect(conversation.view()).toMatchObject({ streamingId: "m4", lastEnd: null });
  });

  test("freeze while the window is interrupted, and go on from exactly there", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    await chunk(newest(ResumeDocument), "m2", 0, "Hello");
    conversation.interrupt();
    await changed(message(2, "Hello, world", "DONE"));
    expect(shown()[1]).toBe("ASSISTANT STREAMING Hello");
    expect(running(ResumeDocument)).toHaveLength(0);

    conversation.resume();
    await settled();
    expect(newest(ResumeDocument).message).toEqual({ id: "m2", content: "Hello" });
    await chunk(newest(ResumeDocument), "m2", 5, ", world", "DONE");
    expect(shown()[1]).toBe("ASSISTANT DONE Hello, world");
    expect(conversation.view()).toMatchObject({ isInterrupted: false, lastEnd: "DONE" });
  });

  test("are followed again when what was interrupted is cleared", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    conversation.interrupt();
    await reset();
    await reset(message(3, "Two"), message(4, "", "STREAMING"));
    await chunk(newest(ResumeDocument), "m4", 0, "Hello");
    expect(shown()[1]).toBe("ASSISTANT STREAMING Hello");
    expect(conversation.view().isInterrupted).toBe(false);
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
        () => conversation.interrupt(),
        () => conversation.resume(),
      ),
    );
    const check = async (happenings: (() => unknown)[]) => {
      conversation.close();
      operations = [];
      conversation = await opened();
      for (const happen of happenings) {
        await happen();
        await settled();
        const { isInterrupted, isReplying, messageIds } = conversation.view();
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
    conversation.interrupt();
    expect(conversation.view()).toMatchObject({ isReplying: true, isInterrupted: true });
    await changed(message(2, "", "STREAMING"));
    expect(running(ResumeDocument)).toHaveLength(0);
    expect(conversation.view()).toMatchObject({ streamingId: "m2", isInterrupted: true });
    conversation.resume();
    await settled();
    await chunk(newest(ResumeDocument), "m2", 0, "Hello", "DONE");
    expect(shown()[1]).toBe("ASSISTANT DONE Hello");
  });

  test("are left by an interrupted window as soon as the server has its send", async () => {
    await reset();
    const sent = conversation.send("Hello");
    await settled();
    conversation.interrupt();
    const operation = newest(SendDocument);
    expect(operation.signal.aborted).toBe(false);
    await chunk(operation, "m2", 0, "He");
    await sent;
    expect(operation.signal.aborted).toBe(true);
    const id = operation.message.id as string;
    await changed({ ...message(1, "Hello"), id });
    await changed({ ...message(2, "", "STREAMING"), replyToId: id });
    expect(shown()[1]).toBe("ASSISTANT STREAMING ");
    expect(conversation.view().isInterrupted).toBe(true);
  });

  test("are stopped for everyone, and the question that has no reply yet, too", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    conversation.stop();
    expect(mutate).toHaveBeenLastCalledWith(expect.anything(), { id: "m2" });
    await reset(message(1, "One"));
    conversation.stop();
    expect(mutate).toHaveBeenLastCalledWith(expect.anything(), { id: "m1" });
    await reset(message(1, "One"), message(2, "", "STREAMING"), message(3, "Two"));
    vi.mocked(mutate).mockClear();
    conversation.stop();
    expect(vi.mocked(mutate).mock.calls.map(([, variables]) => variables)).toEqual([
      { id: "m2" },
      { id: "m3" },
    ]);
  });

  test("go when they are cleared, whether the list or the stream says so", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    newest(ResumeDocument).end({ kind: "error", code: "MESSAGE_CLEARED", message: "" });
    await settled();
    expect(shown()).toEqual([]);
    await reset(message(1, "One"), message(2, "", "STREAMING"));
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

  test("end as an error with the server's sentence, whatever its code", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    const error = { code: "COMPLETION_OF_TOMORROW", message: "Why" };
    const last = { messageId: "m2", offset: 0, text: "Hel", status: "ERROR", error };
    newest(ResumeDocument).next({ chunk: last });
    await settled();
    expect(shown()[1]).toBe("ASSISTANT ERROR Hel");
    expect(cache()["Message:m2"]).toMatchObject({ error });
    expect(conversation.view().lastEnd).toBe("ERROR");
  });

  test("get what is known of them only after their end", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    await chunk(newest(ResumeDocument), "m2", 0, "Hello", "DONE");
    const usage = { ...USAGE, model: "one" };
    await changed({ ...message(2, "Hello", "DONE"), usage });
    expect(cache()["Message:m2"]).toMatchObject({ usage });
  });

  test("are left when the conversation is", async () => {
    await reset(message(1, "One"), message(2, "", "STREAMING"));
    conversation.close();
    expect(operations.every(({ signal }) => signal.aborted)).toBe(true);
  });
});
