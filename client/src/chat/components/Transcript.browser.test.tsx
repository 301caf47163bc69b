import "./theme.css";

import { type ComponentPropsWithRef, createRef, Profiler } from "react";
import { expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { render } from "vitest-browser-react";

import { Composer } from "./Composer";
import { Transcript } from "./Transcript";

type Props = ComponentPropsWithRef<typeof Transcript>;

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
    onLoadEarlier: async () => {},
    renderRow: (id) => (
      <div key={id} id={id} style={{ height: 50 }}>
        {id}
      </div>
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
  await frames();
}

/** Two frames: the observers of the first have done their part in the second. */
async function frames() {
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
  const ref = createRef<Transcript>();
  const { rerender } = await render(transcript({ ref }));
  await atEnd();
  scroller().scrollTop = 0;
  await expect.element(toEnd).toBeVisible();
  ref.current?.toEnd();
  await rerender(transcript({ ref, messageIds: ids(41) }));
  await atEnd();
});

test("earlier messages come when they are asked for", async () => {
  const onLoadEarlier = vi.fn(async () => {});
  await render(transcript({ hasEarlier: true, onLoadEarlier }));
  const earlier = page.getByRole("button", { name: "Show earlier messages" });
  await earlier.click();
  await expect.element(earlier).toBeEnabled();
  await earlier.click();
  expect(onLoadEarlier).toHaveBeenCalledTimes(2);
});

test.each([0, 30])(
  "%i pixels below the top, nothing jumps when messages come in above",
  async (top) => {
    const { rerender } = await render(transcript({ hasEarlier: true }));
    await atEnd();
    scroller().scrollTop = top;
    await expect.element(toEnd).toBeVisible();
    for (const from of [-37, -137]) {
      const before = row("m0").getBoundingClientRect();
      await rerender(transcript({ messageIds: ids(40 - from, from), hasEarlier: true }));
      await frames();
      expect(Math.abs(row("m0").getBoundingClientRect().top - before.top)).toBeLessThan(1);
    }
  },
);

test("rows stay the elements that they are when others come before and behind them", async () => {
  const { rerender } = await render(transcript({ messageIds: ids(120) }));
  const before = ids(120).map(row);
  await rerender(transcript({ messageIds: ids(260, -70) }));
  expect(ids(120).map(row)).toEqual(before);
  expect(document.querySelectorAll(".group").length).toBeLessThan(8);
});

test("the focus in a message that another takes the place of goes to that", async () => {
  const renderRow = (id: string) => (
    <div key={id} id={id}>
      <button type="button">Retry {id}</button>
    </div>
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
