import type { ComponentProps } from "react";
import { expect, test, vi } from "vitest";
import { page } from "vitest/browser";
import { render } from "vitest-browser-react";

import type { MessageModel } from "../model";
import { ConnectionStatus } from "./ConnectionStatus";
import { MessageView } from "./MessageView";

vi.mock("./Markdown", async (original) => {
  const { Markdown } = await original<typeof import("./Markdown")>();
  return {
    Markdown: (props: ComponentProps<typeof Markdown>) => {
      if (props.text.startsWith("**unlucky"))
        throw new RangeError("Maximum call stack size exceeded");
      return <Markdown {...props} />;
    },
  };
});

const REPLY: MessageModel = {
  id: "r1",
  role: "ASSISTANT",
  content: "So **it** is",
  status: "DONE",
  createdAt: "2025-01-01T00:00:00Z",
  replyToId: "m1",
  error: null,
  replies: [],
  usage: null,
};
const LOST = { code: "PRODUCER_LOST", message: "The process was lost." };

const button = (name: string) => page.getByRole("button", { name, exact: true });
const item = () => page.getByRole("listitem").element() as HTMLElement;
const text = () => item().innerText.trim();

function view(changes: Partial<MessageModel>, props = {}) {
  return (
    <>
      <MessageView message={{ ...REPLY, ...changes }} onRegenerate={() => {}} {...props} />
      <ConnectionStatus state={{ kind: "live" }} onReconnectNow={() => {}} />
    </>
  );
}

test("an item says which message it is, whose, and how it stands", async () => {
  const { rerender } = await render(view({ status: "STREAMING" }));
  expect({ ...item().dataset }).toEqual({
    messageId: "r1",
    role: "ASSISTANT",
    status: "STREAMING",
  });
  await rerender(view({}));
  expect(item().dataset.status).toBe("DONE");
});

test("an item's text is the message's and nothing else", async () => {
  await render(view({}));
  expect(text()).toBe("So it is");
});

test("what a user writes is shown as it was written", async () => {
  await render(view({ role: "USER", content: "**a**\n  <b> &amp; `c`" }));
  expect(text()).toBe("**a**\n  <b> &amp; `c`");
});

test("Copy takes the Markdown, and says so politely", async () => {
  const writeText = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue();
  await render(view({}));
  await button("Copy").click();
  expect(writeText).toHaveBeenCalledWith("So **it** is");
  await expect.element(page.getByRole("status")).toHaveTextContent("Copied");
});

test("a reply can be copied while it streams", async () => {
  const writeText = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue();
  await render(view({ status: "STREAMING" }));
  await button("Copy").click();
  expect(writeText).toHaveBeenCalledWith("So **it** is");
});

test("a text that cannot be shown is shown plain, in the same item, and can go on", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const { rerender } = await render(view({ content: "**unlucky", status: "STREAMING" }));
  expect(text()).toBe("**unlucky");
  const before = item();
  await rerender(view({ content: "**unlucky** as it is" }));
  expect(text()).toBe("**unlucky** as it is");
  expect(item()).toBe(before);
  expect({ ...item().dataset }).toEqual({ messageId: "r1", role: "ASSISTANT", status: "DONE" });
});

test("a stopped reply says that it was stopped", async () => {
  await render(view({ status: "STOPPED" }));
  await expect.element(page.getByText("Stopped")).toBeVisible();
});

test("a failure that happens now is an alert", async () => {
  const { rerender } = await render(view({ status: "STREAMING" }));
  await rerender(view({ status: "ERROR", error: LOST }));
  await expect.element(page.getByRole("alert")).toHaveTextContent(LOST.message);
});

test("a failure of long ago is shown, but is no alert", async () => {
  await render(view({ status: "ERROR", error: LOST }));
  await expect.element(page.getByText(LOST.message)).toBeVisible();
  await expect.element(page.getByRole("alert")).not.toBeInTheDocument();
});

test("a failed reply can be tried again", async () => {
  const onRegenerate = vi.fn();
  await render(view({ status: "ERROR", error: LOST }, { onRegenerate }));
  await button("Retry").click();
  expect(onRegenerate).toHaveBeenCalledOnce();
  await expect.element(button("Regenerate")).not.toBeInTheDocument();
});

test("a reply that ended can be asked for again", async () => {
  const onRegenerate = vi.fn();
  await render(view({ status: "STOPPED" }, { onRegenerate }));
  await button("Regenerate").click();
  expect(onRegenerate).toHaveBeenCalledOnce();
  await expect.element(button("Retry")).not.toBeInTheDocument();
});

test("a reply that streams, and a question, cannot be asked for again", async () => {
  const { rerender } = await render(view({ status: "STREAMING" }));
  await expect.element(button("Regenerate")).not.toBeInTheDocument();
  await rerender(view({ role: "USER" }));
  await expect.element(button("Regenerate")).not.toBeInTheDocument();
});

test("what a reply took is shown as far as it is known, and is no part of its text", async () => {
  const usage = { model: "a-model", inputTokens: 7, outputTokens: 120, timeToFirstToken: 0.2 };
  const words = () =>
    getComputedStyle(document.querySelector(".usage") as Element, "::after").content;
  const { rerender } = await render(view({ usage: { ...usage, duration: 3.44 } }));
  expect(words()).toBe('"a-model · 120 tokens · 3.4 s"');
  expect(text()).toBe("So it is");
  await rerender(view({ usage: { ...usage, model: null, duration: null } }));
  expect(words()).toBe('"120 tokens"');
});

test("an interrupted reply says that it goes on", async () => {
  await render(view({ status: "STREAMING" }, { isInterrupted: true }));
  await expect.element(page.getByText(/goes on on the server/)).toBeVisible();
});

test("earlier replies to the same question are reachable", async () => {
  const onSelect = vi.fn();
  await render(view({}, { versions: { index: 1, count: 2, onSelect } }));
  await expect.element(page.getByText("2 of 2")).toBeVisible();
  await expect.element(button("Next reply")).toBeDisabled();
  await button("Previous reply").click();
  expect(onSelect).toHaveBeenCalledWith(0);
});
