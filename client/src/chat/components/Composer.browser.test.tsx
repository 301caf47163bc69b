import { beforeEach, expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { render } from "vitest-browser-react";

import { Composer } from "./Composer";

type Props = Parameters<typeof Composer>[0];

const box = page.getByRole("textbox", { name: "Message" });
const button = (name: string) => page.getByRole("button", { name, exact: true });
const text = () => (box.element() as HTMLTextAreaElement).value;

async function composer(changes: Partial<Props> = {}) {
  const props: Props = {
    conversationId: "default",
    isReplying: false,
    isInterrupted: false,
    lastEnd: null,
    onSend: vi.fn(async () => {}),
    onStop: vi.fn(),
    onInterrupt: vi.fn(),
    onResume: vi.fn(),
    ...changes,
  };
  const { rerender, unmount } = await render(<Composer {...props} />);
  return {
    props,
    unmount,
    change: (next: Partial<Props>) => rerender(<Composer {...props} {...next} />),
  };
}

/** With a reply that streams and a follow-up that waits for its end. */
async function queued(changes: Partial<Props> = {}) {
  const view = await composer({ isReplying: true, ...changes });
  await userEvent.type(box, "and then?{Enter}");
  await expect.element(page.getByText("Queued")).toBeVisible();
  return view;
}

beforeEach(() => {
  sessionStorage.clear();
});

test("Enter sends, and the box is empty at once", async () => {
  const { props } = await composer({ onSend: vi.fn(() => new Promise<void>(() => {})) });
  await userEvent.type(box, "Hello{Enter}");
  expect(props.onSend).toHaveBeenCalledExactlyOnceWith("Hello");
  expect(text()).toBe("");
});

test("the box has the focus from the start", async () => {
  await composer();
  await expect.element(box).toHaveFocus();
});

test("Shift+Enter breaks the line", async () => {
  const { props } = await composer();
  await userEvent.type(box, "a{Shift>}{Enter}{/Shift}b");
  expect(text()).toBe("a\nb");
  expect(props.onSend).not.toHaveBeenCalled();
});

test.each([{ isComposing: true }, { keyCode: 229 }])(
  "Enter with %o belongs to the input method",
  async (event) => {
    const { props } = await composer();
    await box.fill("にほん");
    const enter = { key: "Enter", bubbles: true, cancelable: true, ...event };
    box.element().dispatchEvent(new KeyboardEvent("keydown", enter));
    expect(props.onSend).not.toHaveBeenCalled();
    expect(text()).toBe("にほん");
  },
);

test("blanks are not sent", async () => {
  const { props } = await composer();
  await userEvent.type(box, "   {Enter}");
  expect(props.onSend).not.toHaveBeenCalled();
  await expect.element(button("Send")).toBeDisabled();
});

test("what is sent is what was written, with its spaces", async () => {
  const { props } = await composer();
  await box.fill("  a\n b ");
  await button("Send").click();
  expect(props.onSend).toHaveBeenCalledWith("  a\n b ");
});

test("a refused text is back in the box with the reason, before what was written since", async () => {
  let refuse = (_: Error) => {};
  const onSend = () => new Promise<void>((_, reject) => (refuse = reject));
  await composer({ onSend });
  await userEvent.type(box, "first{Enter}second");
  refuse(new Error("Too many replies"));
  await expect.element(page.getByRole("alert")).toHaveTextContent("Too many replies");
  expect(text()).toBe("first\n\nsecond");
  await expect.element(box).toHaveFocus();
});

test("the box grows with its text", async () => {
  await composer();
  const height = box.element().clientHeight;
  await box.fill("1\n2\n3\n4");
  expect(box.element().clientHeight).toBeGreaterThan(3 * 20);
  expect(box.element().clientHeight).toBeGreaterThan(height);
});

test("each conversation's draft outlives the page", async () => {
  const { unmount } = await composer({ conversationId: "a" });
  await box.fill("unfinished");
  await unmount();
  const other = await composer({ conversationId: "b" });
  expect(text()).toBe("");
  await other.unmount();
  await composer({ conversationId: "a" });
  expect(text()).toBe("unfinished");
});

test("a sent text is no draft", async () => {
  const { unmount } = await composer();
  await userEvent.type(box, "Hello{Enter}");
  await unmount();
  await composer();
  expect(text()).toBe("");
});

test("a follow-up waits for the reply, and is sent when that is done", async () => {
  const { props, change } = await queued();
  expect(props.onSend).not.toHaveBeenCalled();
  await change({ isReplying: false, lastEnd: "DONE" });
  await vi.waitFor(() => expect(props.onSend).toHaveBeenCalledExactlyOnceWith("and then?"));
  await expect.element(page.getByText("Queued")).not.toBeInTheDocument();
});

test("several follow-ups are sent together", async () => {
  const { props, change } = await queued();
  await userEvent.type(box, "and after that?{Enter}");
  await change({ isReplying: false, lastEnd: "DONE" });
  const both = "and then?\n\nand after that?";
  await vi.waitFor(() => expect(props.onSend).toHaveBeenCalledExactlyOnceWith(both));
});

test.each(["STOPPED", "ERROR", null] as const)(
  "after a reply that ended as %s the follow-up is back in the box",
  async (lastEnd) => {
    const { props, change } = await queued();
    await userEvent.type(box, "more");
    await change({ isReplying: false, lastEnd });
    await expect.element(box).toHaveValue("and then?\n\nmore");
    expect(props.onSend).not.toHaveBeenCalled();
  },
);

test("a follow-up is not sent when the send before it is refused", async () => {
  let refuse = (_: Error) => {};
  const onSend = vi.fn(() => new Promise<void>((_, reject) => (refuse = reject)));
  const { change } = await composer({ onSend, lastEnd: "DONE" });
  await userEvent.type(box, "first{Enter}");
  await change({ isReplying: true, lastEnd: null });
  await userEvent.type(box, "second{Enter}");
  await change({ isReplying: false, lastEnd: null });
  refuse(new Error("Too many replies"));
  await expect.element(page.getByRole("alert")).toBeVisible();
  await expect.element(box).toHaveValue("first\n\nsecond");
  expect(onSend).toHaveBeenCalledOnce();
});

test("a queued follow-up can be taken back into the box", async () => {
  await queued();
  await box.fill("more");
  await button("Edit").click();
  expect(text()).toBe("and then?\n\nmore");
  await expect.element(box).toHaveFocus();
  await expect.element(page.getByText("Queued")).not.toBeInTheDocument();
});

test("a queued follow-up outlives the page as a draft", async () => {
  const { unmount } = await queued();
  await unmount();
  await composer();
  expect(text()).toBe("and then?");
});

test("while interrupted a message is sent at once", async () => {
  const { props } = await composer({ isReplying: true, isInterrupted: true });
  await userEvent.type(box, "Hello{Enter}");
  expect(props.onSend).toHaveBeenCalledWith("Hello");
});

test("Interrupt, Resume and Stop are there when they make sense", async () => {
  const { props, change } = await composer();
  for (const name of ["Interrupt", "Resume", "Stop"]) {
    await expect.element(button(name)).not.toBeInTheDocument();
  }
  await change({ isReplying: true });
  await button("Interrupt").click();
  expect(props.onInterrupt).toHaveBeenCalledOnce();
  await change({ isReplying: true, isInterrupted: true });
  await expect.element(button("Interrupt")).not.toBeInTheDocument();
  await expect.element(button("Resume")).toHaveFocus();
  await button("Resume").click();
  expect(props.onResume).toHaveBeenCalledOnce();
  await button("Stop").click();
  expect(props.onStop).toHaveBeenCalledOnce();
});

test("the focus of a button that goes is the box's", async () => {
  const { change } = await composer({ isReplying: true });
  await button("Stop").click();
  await change({ isReplying: false, lastEnd: "STOPPED" });
  await expect.element(box).toHaveFocus();
});

test("Esc stops, but only what streams here", async () => {
  const { props, change } = await composer({ isReplying: true });
  await userEvent.keyboard("{Escape}");
  expect(props.onStop).toHaveBeenCalledOnce();
  await change({ isReplying: true, isInterrupted: true });
  await userEvent.keyboard("{Escape}");
  await change({ isReplying: false });
  await userEvent.keyboard("{Escape}");
  expect(props.onStop).toHaveBeenCalledOnce();
});

test("Esc stops nothing under a dialog", async () => {
  const { props } = await composer({ isReplying: true });
  const dialog = document.body.appendChild(document.createElement("dialog"));
  dialog.showModal();
  await userEvent.keyboard("{Escape}");
  dialog.remove();
  expect(props.onStop).not.toHaveBeenCalled();
});
