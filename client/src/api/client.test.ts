import { Observable } from "@apollo/client";
import { afterEach, expect, test, vi } from "vitest";

import { Refused } from "./connection";
import { EventsDocument } from "./generated";

vi.stubGlobal("location", { href: "http://localhost/" });
vi.stubGlobal("WebSocket", class {});
const { client, listen } = await import("./client");

const { signal } = new AbortController();

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  ["is complete", []],
  ["is refused", [{ error: new Refused({ message: "No" }) }]],
  ["is left", [{ data: {} }]],
])("an operation that %s leaves nothing behind on a signal that lives on", async (_, results) => {
  const added = vi.spyOn(signal, "addEventListener");
  const removed = vi.spyOn(signal, "removeEventListener");
  vi.spyOn(client, "subscribe").mockReturnValue(
    new Observable((observer) => {
      queueMicrotask(() => {
        for (const result of results) observer.next(result);
        observer.complete();
      });
    }) as never,
  );
  await listen(EventsDocument, { conversationId: "a", last: 1 }, () => false, signal);
  const [event, listener] = added.mock.calls[0] ?? [];
  expect(event).toBe("abort");
  expect(removed).toHaveBeenCalledWith("abort", listener);
});
