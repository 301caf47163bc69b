import "./theme.css";

import { expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { render } from "vitest-browser-react";

import type { Unauthenticated } from "../model";
import { SignIn } from "./SignIn";

type Props = Parameters<typeof SignIn>[0];

const dialog = page.getByRole("dialog");
const box = page.getByRole("textbox", { name: "Token" });
const button = (name: string) => page.getByRole("button", { name, exact: true });
const state = (changes: Partial<Unauthenticated> = {}): Unauthenticated => ({
  kind: "unauthenticated",
  why: "missing",
  reason: "",
  isTrying: false,
  ...changes,
});

async function signIn(changes: Partial<Props> = {}) {
  const props: Props = {
    state: state(),
    isElsewhere: false,
    onSignIn: vi.fn(),
    onTryAgain: vi.fn(),
    ...changes,
  };
  const view = (next: Partial<Props> | null) => (
    <>
      <textarea aria-label="Message" />
      {next && <SignIn {...props} {...next} />}
    </>
  );
  const { rerender } = await render(view(null));
  page.getByRole("textbox", { name: "Message" }).element().focus();
  await rerender(view({}));
  return {
    props,
    change: (next: Partial<Props>) => rerender(view(next)),
    end: () => rerender(view(null)),
  };
}

test("the box has the focus, and what is under it cannot be reached until it is over", async () => {
  const { end } = await signIn();
  await expect.element(box).toHaveFocus();
  await userEvent.keyboard("{Tab}{Tab}{Tab}");
  await expect.element(page.getByLabelText("Message")).not.toHaveFocus();
  await end();
  await expect.element(page.getByRole("textbox", { name: "Message" })).toHaveFocus();
});

test("Esc does not close it, however often", async () => {
  await signIn();
  await userEvent.keyboard("{Escape}{Escape}{Escape}");
  await expect.element(dialog).toBeVisible();
  await expect.element(box).toBeVisible();
});

test.each([
  ["missing", "Sign in", "This server needs to know who you are."],
  ["refused", "Sign in", "Paste another token."],
  ["expired", "Sign in again", "Your token has expired."],
] as const)("it is named and described for a token that is %s", async (why, name, words) => {
  await signIn({ state: state({ why }) });
  await expect.element(dialog).toHaveAccessibleName(name);
  await expect.element(dialog).toHaveAccessibleDescription(expect.stringContaining(words));
});

test("a token is taken by Enter, once, and there is none without one", async () => {
  const { props, change } = await signIn();
  await expect.element(button("Sign in")).toBeDisabled();
  await userEvent.keyboard("{Enter}");
  await userEvent.type(box, "a.b.c{Enter}");
  expect(props.onSignIn).toHaveBeenCalledExactlyOnceWith("a.b.c");
  await change({ state: state({ isTrying: true }) });
  await expect.element(button("Signing in…")).toBeDisabled();
  await userEvent.keyboard("{Enter}");
  expect(props.onSignIn).toHaveBeenCalledOnce();
});

test("a token that is refused is said to be, with the reason, and the next one takes its place", async () => {
  const { props, change } = await signIn();
  const alert = page.getByRole("alert");
  await userEvent.type(box, "a.b.c{Enter}");
  await change({ state: state({ isTrying: true }) });
  await expect.element(alert).not.toBeInTheDocument();
  await change({ state: state({ why: "refused", reason: "The token is not valid." }) });
  await expect
    .element(alert)
    .toHaveTextContent("The server did not take this token: The token is not valid.");
  await expect.element(box).toHaveAttribute("aria-invalid", "true");
  await userEvent.keyboard("d.e.f{Enter}");
  expect(props.onSignIn).toHaveBeenLastCalledWith("d.e.f");
});

test("a token cannot be read over somebody's shoulder, and is nothing for a browser to keep", async () => {
  await signIn();
  const input = box.element() as HTMLInputElement;
  expect(getComputedStyle(input).getPropertyValue("-webkit-text-security")).toBe("disc");
  expect(input.autocomplete).toBe("off");
  expect(input.spellcheck).toBe(false);
  expect(input.type).toBe("text");
});

test("who has signed in can leave instead", async () => {
  const onSignOut = vi.fn();
  const { change } = await signIn({ state: state({ why: "expired" }) });
  await expect.element(button("Sign out")).not.toBeInTheDocument();
  await change({ onSignOut });
  await button("Sign out").click();
  expect(onSignOut).toHaveBeenCalledOnce();
});

test("where people sign in elsewhere, there is nothing to paste, but to try again", async () => {
  const { props, change } = await signIn({ isElsewhere: true });
  await expect.element(box).not.toBeInTheDocument();
  await expect
    .element(dialog)
    .toHaveAccessibleDescription(expect.stringContaining("where you came from"));
  await button("Try again").click();
  expect(props.onTryAgain).toHaveBeenCalledOnce();
  await change({ state: state({ isTrying: true }) });
  await expect.element(button("Signing in…")).toBeDisabled();
});

test("nothing is wider than the smallest phone", async () => {
  await page.viewport(320, 480);
  const reason = "x".repeat(120);
  await signIn({ state: state({ why: "refused", reason }), onSignOut: vi.fn() });
  const { left, right, top, bottom } = dialog.element().getBoundingClientRect();
  expect(left).toBeGreaterThanOrEqual(0);
  expect(right).toBeLessThanOrEqual(320);
  expect(top).toBeGreaterThanOrEqual(0);
  expect(bottom).toBeLessThanOrEqual(480);
  expect(dialog.element().scrollWidth).toBeLessThanOrEqual(320);
});
