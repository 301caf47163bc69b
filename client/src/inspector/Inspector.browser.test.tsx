import { useState } from "react";
import { beforeEach, expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { render } from "vitest-browser-react";

import Inspector from "./Inspector";
import { Recorder, type SocketRecord } from "./recorder";

const REPLY = "0b5f6a54-reply";

let now: number;
let recorder: Recorder;
let record: SocketRecord;

beforeEach(() => {
  now = 0;
  recorder = new Recorder(() => now);
  record = recorder.connecting();
  recorder.opened(record);
});

/** A reply of which the first word took 400 ms, and five more 100 ms each. */
function streamReply() {
  const send = recorder.operation("Send", { message: { id: "question" } });
  now += 400;
  for (let offset = 0; offset < 30; offset += 5) {
    receive(send, offset);
    now += 100;
  }
  return send;
}

function receive(operation: ReturnType<Recorder["operation"]>, offset: number): void {
  const chunk = {
    messageId: REPLY,
    offset,
    text: "word ",
    status: "STREAMING",
    error: null,
  } as const;
  operation.next({ data: { chunk } });
}

function show() {
  const socket = { close: vi.fn(), stall: vi.fn(), release: vi.fn() };
  const onResumeFromStart = vi.fn();
  const onClose = vi.fn();
  const props = { recorder, socket: () => socket, onResumeFromStart, onClose };
  return { socket, onResumeFromStart, onClose, screen: render(<Inspector {...props} />) };
}

/** What stands beside a name in a region. */
async function fact(region: ReturnType<typeof page.getByRole>, name: string) {
  return region.getByText(name, { exact: true }).element().nextElementSibling?.textContent;
}

const reply = () => page.getByRole("article", { name: `Reply ${REPLY}` });

test("it shows how a reply streamed", async () => {
  streamReply();
  recorder.written(REPLY);
  await show().screen;
  expect(await fact(reply(), "Offset")).toBe("30");
  expect(await fact(reply(), "First token")).toBe("400 ms");
  expect(await fact(reply(), "Tokens/s")).toBe("10.0");
  expect(await fact(reply(), "Lag")).toBe("600 ms");
  await expect.element(reply().getByText("STREAMING")).toBeVisible();
  await expect.element(reply().getByRole("img", { name: /last 6 chunks/ })).toBeVisible();
});

test("it lists operations with what they ask for and how they ended", async () => {
  streamReply().error({});
  await show().screen;
  const row = page.getByRole("row", { name: /Send/ });
  await expect.element(row).toHaveTextContent(/question.*cut/);
});

test("it follows what goes on while it is open", async () => {
  await show().screen;
  await expect.element(page.getByText("No reply has streamed yet.")).toBeVisible();
  const send = streamReply();
  await expect.element(reply()).toBeVisible();
  receive(send, 30);
  await expect.poll(() => fact(reply(), "Offset")).toBe("35");
});

test("it says how often the socket was lost, and with which code", async () => {
  recorder.ended(record, "1012 Service Restart");
  recorder.opened(recorder.connecting());
  await show().screen;
  expect(await fact(page.getByRole("complementary"), "Reconnects")).toBe("1");
  await expect.element(page.getByRole("row", { name: /1012 Service Restart/ })).toBeVisible();
});

test("the socket is cut and stalled by buttons", async () => {
  const { socket, screen } = show();
  await screen;
  await page.getByRole("button", { name: "Cut the socket" }).click();
  expect(socket.close).toHaveBeenCalledOnce();

  const stall = page.getByRole("button", { name: "Stall the socket" });
  await expect.element(stall).toHaveAttribute("aria-pressed", "false");
  await stall.click();
  expect(socket.stall).toHaveBeenCalledOnce();
  record.isStalled = true;
  await expect.element(stall).toHaveAttribute("aria-pressed", "true");
  await stall.click();
  expect(socket.release).toHaveBeenCalledOnce();
});

test("without an open socket there is nothing to cut", async () => {
  recorder.ended(record, "1006");
  await show().screen;
  await expect.element(page.getByRole("button", { name: "Cut the socket" })).toBeDisabled();
  await expect.element(page.getByRole("button", { name: "Stall the socket" })).toBeDisabled();
});

test("a reply is streamed again from its beginning by its button", async () => {
  streamReply();
  const { onResumeFromStart, screen } = show();
  await screen;
  await reply().getByRole("button", { name: "Resume from 0" }).click();
  expect(onResumeFromStart).toHaveBeenCalledExactlyOnceWith(REPLY);
});

function Page() {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" aria-controls="inspector" onClick={() => setOpen(true)}>
        Stream inspector
      </button>
      {isOpen && (
        <Inspector
          recorder={recorder}
          onClose={() => setOpen(false)}
          onResumeFromStart={() => {}}
        />
      )}
    </>
  );
}

test("it is used by keyboard alone: Escape closes it, and the focus is where it was", async () => {
  await render(<Page />);
  await userEvent.tab();
  await userEvent.keyboard("{Enter}");
  await expect.element(page.getByRole("complementary", { name: "Stream inspector" })).toBeVisible();
  await userEvent.tab();
  await expect.element(page.getByRole("button", { name: "Close" })).toHaveFocus();
  await userEvent.tab();
  await expect.element(page.getByRole("button", { name: "Cut the socket" })).toHaveFocus();
  await userEvent.keyboard("{Escape}");
  await expect.element(page.getByRole("complementary")).not.toBeInTheDocument();
  await expect.element(page.getByRole("button", { name: "Stream inspector" })).toHaveFocus();
});
