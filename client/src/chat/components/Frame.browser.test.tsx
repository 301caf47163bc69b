import { expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { render } from "vitest-browser-react";

import type { ConnectionState } from "../model";
import { announce } from "./announce";
import { ConnectionStatus } from "./ConnectionStatus";
import { ConversationList } from "./ConversationList";
import { Frame } from "./Frame";

const CONVERSATIONS = [
  { id: "a/b", title: "Rain" },
  { id: "c", title: "Sun" },
];
const status = page.getByRole("status");

async function frame({
  state = { kind: "live" } as ConnectionState,
  onReconnectNow = () => {},
} = {}) {
  const onNew = vi.fn();
  const view = (current: ConnectionState) => (
    <Frame
      title="Rain"
      sidebar={<ConversationList conversations={CONVERSATIONS} currentId="a/b" onNew={onNew} />}
      status={<ConnectionStatus state={current} onReconnectNow={onReconnectNow} />}
      actions={null}
    >
      <div className="composer">
        <textarea aria-label="Message" />
      </div>
    </Frame>
  );
  const { rerender } = await render(view(state));
  return { onNew, change: (next: ConnectionState) => rerender(view(next)) };
}

test("the open conversation is marked in the list", async () => {
  await page.viewport(1280, 800);
  await frame();
  const link = page.getByRole("link", { name: "Rain" });
  await expect.element(link).toHaveAttribute("aria-current", "page");
  await expect.element(link).toHaveAttribute("href", "#a%2Fb");
  const other = page.getByRole("link", { name: "Sun" });
  await expect.element(other).not.toHaveAttribute("aria-current");
});

test("a conversation is chosen and begun from the list", async () => {
  await page.viewport(1280, 800);
  const { onNew } = await frame();
  await page.getByRole("link", { name: "Sun" }).click();
  expect(location.hash).toBe("#c");
  await page.getByRole("button", { name: "New conversation" }).click();
  expect(onNew).toHaveBeenCalledOnce();
});

test("people can sign out if they have signed in", async () => {
  await page.viewport(1280, 800);
  const onSignOut = vi.fn();
  const list = (leave?: () => void) => (
    <ConversationList
      conversations={CONVERSATIONS}
      currentId="c"
      onNew={vi.fn()}
      onSignOut={leave}
    />
  );
  const { rerender } = await render(list());
  const button = page.getByRole("button", { name: "Sign out" });
  await expect.element(button).not.toBeInTheDocument();
  await rerender(list(onSignOut));
  await button.click();
  expect(onSignOut).toHaveBeenCalledOnce();
});

test("on a phone the list is in a drawer, which closes when something was chosen", async () => {
  await page.viewport(375, 700);
  await frame();
  const list = page.getByRole("navigation");
  const open = page.getByRole("button", { name: "Conversations" });
  await expect.element(list).not.toBeInTheDocument();
  await open.click();
  await page.getByRole("link", { name: "Sun" }).click();
  await expect.element(list).not.toBeInTheDocument();
  await open.click();
  await expect.element(list).toBeVisible();
  await userEvent.keyboard("{Escape}");
  await expect.element(list).not.toBeInTheDocument();
  await expect.element(open).toHaveFocus();
});

test("the first tab stop leads past everything to the box", async () => {
  await page.viewport(1280, 800);
  await frame();
  await userEvent.keyboard("{Tab}{Enter}");
  await expect.element(page.getByRole("textbox")).toHaveFocus();
});

test("nothing is wider than the smallest phone", async () => {
  await page.viewport(320, 640);
  await frame({ state: { kind: "reconnecting", retryAt: performance.now() + 9000, reason: "" } });
  expect(document.documentElement.scrollWidth).toBe(320);
});

test("the status says how the connection is", async () => {
  const { change } = await frame();
  await expect.element(status).toHaveTextContent("Live");
  await change({ kind: "connecting" });
  await expect.element(status).toHaveTextContent("Connecting…");
  await change({ kind: "offline" });
  await expect.element(status).toHaveTextContent("Offline – the reply goes on on the server");
  await change({ kind: "reconnecting", retryAt: 0, reason: "Too many messages." });
  await expect.element(status).toHaveTextContent("Too many messages. Reconnecting");
  await change({ kind: "unauthenticated", why: "missing", reason: "", isTrying: false });
  await expect.element(status).toHaveTextContent("Not signed in");
  await change({ kind: "failed", reason: "Forbidden" });
  await expect.element(status).toHaveTextContent("Not connected: Forbidden");
});

test("a lost connection counts down to the next attempt, which can be had now", async () => {
  const onReconnectNow = vi.fn();
  const state: ConnectionState = {
    kind: "reconnecting",
    retryAt: performance.now() + 2500,
    reason: "",
  };
  await frame({ state, onReconnectNow });
  await expect.element(status).toHaveTextContent("Reconnecting in 3 s");
  await expect.element(status).toHaveTextContent("Reconnecting in 2 s");
  expect(status.element().querySelector("[aria-hidden]")?.textContent).toMatch(/ in \d s/);
  await page.getByRole("button", { name: "now" }).click();
  expect(onReconnectNow).toHaveBeenCalledOnce();
});

test("what is announced twice is said twice", async () => {
  await frame();
  announce("Reply finished");
  await expect.element(status).toHaveTextContent("Reply finished");
  const first = status.element().lastElementChild;
  announce("Reply finished");
  await vi.waitFor(() => expect(status.element().lastElementChild).not.toBe(first));
  await expect.element(status).toHaveTextContent("Reply finished");
});
