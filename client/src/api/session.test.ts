import { beforeEach, describe, expect, test, vi } from "vitest";

import { loadDraft, saveDraft } from "../chat/components/draft";
import { loadUnsent, saveUnsent } from "../chat/outbox";

const leavers: (() => void)[] = [];
const replace = vi.fn();
const tabs = { postMessage: vi.fn(), onmessage: (_: { data: unknown }) => {} };

vi.stubGlobal("window", {});
vi.stubGlobal("location", { pathname: "/chat/", hash: "#secret-plans", replace });
vi.stubGlobal("addEventListener", (type: string, leaver: () => void) => {
  if (type === "pagehide") leavers.push(leaver);
});
vi.stubGlobal(
  "BroadcastChannel",
  class {
    constructor() {
      // biome-ignore lint/correctness/noConstructorReturn: the module and the test share one.
      return tabs;
    }
  },
);
const { accepted, canSignOut, known, signOut } = await import("./session");
const { paste, token } = await import("./token");

const UNSENT = [{ id: "1", content: "Send me" }] as never;

/** sessionStorage: a plain object has its keys, as a browser's has. */
class Items {
  [key: string]: unknown;
  getItem(key: string) {
    return this[key] ?? null;
  }
  setItem(key: string, value: string) {
    this[key] = value;
  }
  removeItem(key: string) {
    delete this[key];
  }
}

function tokenOf(sub: string): string {
  return `e30.${Buffer.from(JSON.stringify({ sub })).toString("base64url")}.signature`;
}

function write(): void {
  saveDraft("a", "A draft");
  saveUnsent("a", UNSENT);
}

function written(): unknown[] {
  return [loadDraft("a"), loadUnsent("a")];
}

function expectAnew(): void {
  expect(written()).toEqual(["", []]);
  // Without the conversation's id.
  expect(replace).toHaveBeenCalledExactlyOnceWith("/chat/");
  // A page that is going can still write.
  write();
  for (const leave of leavers) leave();
  expect(written()).toEqual(["", []]);
}

beforeEach(() => {
  window.graphqlAppToken = undefined;
  vi.stubGlobal("sessionStorage", new Items());
  leavers.length = 0;
  replace.mockReset();
  tabs.postMessage.mockReset();
});

describe("what was written", () => {
  test("on an open server stays", () => {
    write();
    expect(accepted(null)).toBe(true);
    expect(canSignOut()).toBe(false);
    expect(written()).toEqual(["A draft", UNSENT]);
  });

  test("before anybody signed in belongs to who does so first", () => {
    write();
    expect(accepted(tokenOf("alice"))).toBe(true);
    expect(canSignOut()).toBe(true);
    expect(written()).toEqual(["A draft", UNSENT]);
  });

  test("stays when the same person comes with another token", () => {
    accepted(tokenOf("alice"));
    write();
    expect(accepted(`${tokenOf("alice")}2`)).toBe(true);
    expect(written()).toEqual(["A draft", UNSENT]);
    expect(replace).not.toHaveBeenCalled();
  });

  test.each([
    ["somebody else", tokenOf("bob")],
    ["whoever needs no token", null],
  ])("is gone for %s, and the page begins anew before anything runs", (_, next) => {
    accepted(tokenOf("alice"));
    write();
    expect(accepted(next)).toBe(false);
    expectAnew();
    expect(accepted(next)).toBe(true);
  });

  test("by others on the page that this one is part of stays", () => {
    sessionStorage.setItem("basket", "3 apples");
    accepted(tokenOf("alice"));
    signOut();
    expect(sessionStorage.getItem("basket")).toBe("3 apples");
  });

  test("goes with a new person also where storage is off", () => {
    vi.stubGlobal("sessionStorage", undefined);
    expect(accepted(tokenOf("alice"))).toBe(true);
    expect(accepted(tokenOf("bob"))).toBe(false);
    expect(replace).toHaveBeenCalledOnce();
    signOut();
  });
});

describe("signing out", () => {
  test("forgets the token and what was written, and tells this person's other tabs", async () => {
    paste(tokenOf("alice"));
    accepted(tokenOf("alice"));
    write();
    signOut();
    expect(await token()).toBeNull();
    expect(canSignOut()).toBe(false);
    expectAnew();
    expect(tabs.postMessage).toHaveBeenCalledExactlyOnceWith("alice");
  });

  test("in another tab does so in this one, if it is the same person's", async () => {
    paste(tokenOf("alice"));
    accepted(tokenOf("alice"));
    write();
    tabs.onmessage({ data: "bob" });
    expect(written()).toEqual(["A draft", UNSENT]);
    tabs.onmessage({ data: "alice" });
    expect(await token()).toBeNull();
    expectAnew();
    expect(tabs.postMessage).not.toHaveBeenCalled();
  });

  test("is not offered where the page itself signs people in", () => {
    window.graphqlAppToken = tokenOf("alice");
    accepted(tokenOf("alice"));
    expect(canSignOut()).toBe(false);
  });
});

describe("before the page shows what the tab keeps", () => {
  test("it waits for nobody if it signs in people itself", async () => {
    accepted(tokenOf("alice"));
    write();
    await known();
    expect(written()).toEqual(["A draft", UNSENT]);
  });

  test("it waits for who comes if others sign them in, and keeps it if it is the same", async () => {
    accepted(tokenOf("alice"));
    write();
    window.graphqlAppToken = async () => tokenOf("alice");
    await known();
    expect(written()).toEqual(["A draft", UNSENT]);
  });

  test.each([tokenOf("bob"), "opaque", null])("it drops it for anybody else: %j", async (given) => {
    accepted(tokenOf("alice"));
    write();
    window.graphqlAppToken = async () => given;
    await known();
    expect(written()).toEqual(["", []]);
    expect(accepted(given)).toBe(true);
    expect(replace).not.toHaveBeenCalled();
  });

  test("it asks again as long as nobody can say who comes", async () => {
    vi.useFakeTimers();
    accepted(tokenOf("alice"));
    write();
    const source = vi
      .fn()
      .mockRejectedValueOnce(new Error("The login is away."))
      .mockRejectedValueOnce(new Error("The login is away."))
      .mockResolvedValue(tokenOf("bob"));
    window.graphqlAppToken = source;
    const knows = known();
    await vi.advanceTimersByTimeAsync(2000);
    await knows;
    expect(source).toHaveBeenCalledTimes(3);
    expect(written()).toEqual(["", []]);
    vi.useRealTimers();
  });
});
