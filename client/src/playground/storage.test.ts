import { beforeEach, expect, test, vi } from "vitest";

import { leaveLocalStorage, storage } from "./storage";

/** What a browser's storage is, as far as it is used: an object that has its keys. */
function items(start: Record<string, string> = {}) {
  const methods = {
    getItem: (key: string) => here[key] ?? null,
    setItem: (key: string, value: string) => Object.assign(here, { [key]: value }),
    removeItem: (key: string) => delete here[key],
  };
  const here: Record<string, string> = Object.assign(Object.create(methods), start);
  return here;
}

beforeEach(() => {
  vi.stubGlobal("sessionStorage", items());
});

test("what GraphiQL keeps is in the tab, and cleared without anything of the chat's", () => {
  sessionStorage.setItem("draft:default", "A draft");
  storage.setItem("graphiql:theme", "dark");
  expect(storage.getItem("graphiql:theme")).toBe("dark");
  expect(sessionStorage.getItem("graphiql:theme")).toBe("dark");
  storage.clear();
  expect(storage.getItem("graphiql:theme")).toBeNull();
  expect(sessionStorage.getItem("draft:default")).toBe("A draft");
});

test("no headers are kept, which have the token, and all else is as it was", () => {
  const query = { query: "{ a }", variables: '{"headers": 1}', headers: '{"Authorization": "x"}' };
  storage.setItem("graphiql:queries", JSON.stringify({ queries: [query] }));
  const kept = JSON.parse(storage.getItem("graphiql:queries") ?? "");
  expect(kept).toEqual({ queries: [{ query: "{ a }", variables: '{"headers": 1}' }] });
  storage.setItem("graphiql:query", "{ headers }");
  expect(storage.getItem("graphiql:query")).toBe("{ headers }");
});

test("what an earlier version kept for all tabs is gone, and nothing else", () => {
  vi.stubGlobal("localStorage", items({ "graphiql:queries": "{}", basket: "3 apples" }));
  leaveLocalStorage();
  expect({ ...localStorage }).toEqual({ basket: "3 apples" });
});
