import "./theme.css";

import { type ComponentProps, createRef, Profiler } from "react";
import { expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { render } from "vitest-browser-react";

import { Composer } from "./Composer";
import { Transcript, type TranscriptHandle } from "./Transcript";

type Props = ComponentProps<typeof Transcript>;

const ids = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `m${from + i}`);
const toEnd = page.getByRole("button", { name: "Jump to the latest" });
const scroller = () => document.querySelector(".scroller") as HTMLElement;
const row = (id: string) => document.getElementById(id) as HTMLElement;

function distanceToEnd(): number {
  const { scrollHeight, scrollTop, clientHeight } = scroller();
  return Math.round(scrollHeight - scrollTop - clientHeight);
}

function transcript(changes: Partial<Props> = {}) {
  const props: Props = {
    messageIds: ids(40),
    isLoading: false,
    hasEarlier: false,
    onLoadEarlier: async () => true,
    renderRow: (id) => (
      <li key={id} id={id} style={{ height: 50 }}>
        {id}
      </li>
    ),
    ...changes,
  };
  return (
    <div style={{ height: 400, display: "grid", gridTemplateRows: "minmax(0, 1fr)" }}>
      <Transcript {...props} />
    </div>
  );
}

async function grow(by: number) {
  const last = row("m39");
  last.style.height = `${last.offsetHeight + by}px`;
  // Two frames: the observers of the first have done their part in the second.
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}

async function atEnd() {
  await vi.waitFor(() => expect(distanceToEnd()).toBeLessThanOrEqual(1));
}

test("the list is called Messages, and is no live region", async () => {
  await render(transcript());
  const list = page.getByRole("list", { name: "Messages" });
  await expect.element(list).toBeVisible();
  expect(list.element().closest("[aria-live], [role=log], [role=status]")).toBeNull();
});

test("it begins at the end and follows what grows", async () => {
  await render(transcript());
  await atEnd();
  await grow(300);
  expect(distanceToEnd()).toBeLessThanOrEqual(1);
  await expect.element(toEnd).not.toBeInTheDocument();
});

test("a reader who has moved up, even a little, stays there", async () => {
  await render(transcript());
  await atEnd();
  scroller().scrollTop -= 30;
  const { scrollTop } = scroller();
  await grow(300);
  await grow(300);
  expect(scroller().scrollTop).toBe(scrollTop);
  await expect.element(toEnd).toBeVisible();
});

test("the way back down leads to the end, and following goes on", async () => {
  await render(transcript());
  await atEnd();
  scroller().scrollTop = 0;
  await toEnd.click();
  await atEnd();
  await expect.element(toEnd).not.toBeInTheDocument();
  await grow(300);
  expect(distanceToEnd()).toBeLessThanOrEqual(1);
});

test("a reader who scrolls to the end is followed with again", async () => {
  await render(transcript());
  await atEnd();
  scroller().scrollTop = 0;
  await expect.element(toEnd).toBeVisible();
  scroller().scrollTop = scroller().scrollHeight;
  await expect.element(toEnd).not.toBeInTheDocument();
  await grow(300);
  expect(distanceToEnd()).toBeLessThanOrEqual(1);
});

test("sending brings one's own message into view", async () => {
  const ref = createRef<TranscriptHandle>();
  const { rerender } = await render(transcript({ ref }));
  await atEnd();
  scroller().scrollTop = 0;
  await expect.element(toEnd).toBeVisible();
  ref.current?.toEnd();
  await rerender(transcript({ ref, messageIds: ids(41) }));
  await atEnd();
});

test("earlier messages are loaded on the way up, and nothing jumps", async () => {
  const onLoadEarlier = vi.fn(() => new Promise<boolean>(() => {}));
  const { rerender } = await render(transcript({ hasEarlier: true, onLoadEarlier }));
  await atEnd();
  expect(onLoadEarlier).not.toHaveBeenCalled();
  scroller().scrollTop = 0;
  await vi.waitFor(() => expect(onLoadEarlier).toHaveBeenCalledOnce());
  const { top } = row("m0").getBoundingClientRect();
  await rerender(transcript({ messageIds: ids(80, -40), hasEarlier: true, onLoadEarlier }));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  expect(Math.abs(row("m0").getBoundingClientRect().top - top)).toBeLessThan(1);
});

test("earlier messages can be asked for", async () => {
  const onLoadEarlier = vi.fn(async () => true);
  await render(transcript({ messageIds: ids(2), hasEarlier: true, onLoadEarlier }));
  await page.getByRole("button", { name: "Show earlier messages" }).click();
  expect(onLoadEarlier).toHaveBeenCalled();
});

test("earlier messages that could not be loaded are loaded when asked for, not by themselves", async () => {
  const onLoadEarlier = vi.fn(() => new Promise<boolean>((fail) => setTimeout(fail, 10, false)));
  await render(transcript({ messageIds: ids(2), hasEarlier: true, onLoadEarlier }));
  await vi.waitFor(() => expect(onLoadEarlier).toHaveBeenCalledOnce());
  const earlier = page.getByRole("button", { name: "Show earlier messages" });
  await expect.element(earlier).toBeEnabled();
  await new Promise((done) => setTimeout(done, 100));
  expect(onLoadEarlier).toHaveBeenCalledOnce();
  await earlier.click();
  expect(onLoadEarlier).toHaveBeenCalledTimes(2);
});

test("the focus in a message that another takes the place of goes to that", async () => {
  const renderRow = (id: string) => (
    <li key={id} id={id}>
      <button type="button">Retry {id}</button>
    </li>
  );
  const { rerender } = await render(transcript({ messageIds: ["m0", "m1"], renderRow }));
  row("m1").querySelector("button")?.focus();
  await rerender(transcript({ messageIds: ["m0", "m2"], renderRow }));
  await expect.element(row("m2")).toHaveFocus();
  await rerender(transcript({ messageIds: ["m-1", "m0", "m2"], renderRow }));
  await expect.element(row("m2")).toHaveFocus();
});

test("an empty conversation invites to write, once it is known to be empty", async () => {
  const { rerender } = await render(transcript({ messageIds: [], isLoading: true }));
  await expect.element(page.getByRole("heading")).not.toBeInTheDocument();
  await rerender(transcript({ messageIds: [] }));
  await expect.element(page.getByRole("heading")).toBeVisible();
});

test("writing renders no message", async () => {
  const onRender = vi.fn();
  await render(
    <>
      <Profiler id="transcript" onRender={onRender}>
        {transcript()}
      </Profiler>
      <Composer
        conversationId="default"
        isReplying={false}
        isInterrupted={false}
        lastEnd={null}
        onSend={async () => {}}
        onStop={() => {}}
        onInterrupt={() => {}}
        onResume={() => {}}
      />
    </>,
  );
  await atEnd();
  onRender.mockClear();
  await userEvent.type(page.getByRole("textbox"), "some words");
  expect(onRender).not.toHaveBeenCalled();
});
