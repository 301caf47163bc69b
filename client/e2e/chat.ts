import { expect, type Locator, type Page } from "@playwright/test";
import type { Conversation, Message } from "./server";

export interface Frame {
  type: string;
  payload?: { query?: string; variables?: { message?: Record<string, unknown> } };
}

/** A window with the chat, used by its accessible names as a stranger would. */
export class Chat {
  /** What the page's sockets have sent. */
  readonly sent: Frame[] = [];

  readonly page: Page;
  readonly box: Locator;
  readonly list: Locator;
  readonly items: Locator;
  readonly status: Locator;
  readonly alert: Locator;

  constructor(page: Page) {
    this.page = page;
    this.box = page.getByRole("textbox", { name: "Message", exact: true });
    this.list = page.getByRole("list", { name: "Messages", exact: true });
    this.items = this.list.locator("[data-message-id]");
    this.status = page.getByRole("status");
    this.alert = page.getByRole("alert");
    page.on("websocket", (socket) =>
      socket.on("framesent", ({ payload }) => this.sent.push(JSON.parse(String(payload)))),
    );
  }

  async open(conversationId: string): Promise<void> {
    await this.page.goto(`/#${conversationId}`);
    await this.expectLive();
  }

  /** Where people sign in, over the page. */
  get signIn(): Locator {
    return this.page.getByRole("dialog", { name: /^sign in/i });
  }

  async pasteToken(token: string): Promise<void> {
    await this.signIn.getByRole("textbox", { name: "Token", exact: true }).fill(token);
    await this.signIn.getByRole("button", { name: "Sign in", exact: true }).click();
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.expectLive();
  }

  async expectLive(timeout = 10_000): Promise<void> {
    await expect(this.status).toContainText(/live/i, { timeout });
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  async press(name: string): Promise<void> {
    // A tab behind another one has two frames a second, and Playwright waits for frames.
    await this.page.bringToFront();
    await this.button(name).click();
  }

  /** A button that has nothing to do now is absent or disabled. */
  async expectUnavailable(name: string): Promise<void> {
    await expect(this.button(name).and(this.page.locator(":enabled"))).toHaveCount(0);
  }

  async send(content: string): Promise<void> {
    await this.page.bringToFront();
    await this.box.fill(content);
    await this.press("Send");
  }

  /** The messages of one role, or in one state, in the order of the list. */
  messages(role: Message["role"], status?: Message["status"]): Locator {
    const state = status ? `[data-status="${status}"]` : "";
    return this.list.locator(`[data-message-id][data-role="${role}"]${state}`);
  }

  get replies(): Locator {
    return this.messages("ASSISTANT");
  }

  get lastReply(): Locator {
    return this.replies.last();
  }

  async expectEnded(
    reply: Locator,
    status: Message["status"] = "DONE",
    timeout = 10_000,
  ): Promise<void> {
    await expect(reply).toHaveAttribute("data-status", status, { timeout });
  }

  /** How many of the words "w0 w1 w2 …" a reply shows; fails if one is missing, twice or out of order. */
  async words(reply: Locator): Promise<number> {
    const words = ((await reply.textContent()) ?? "").match(/\bw\d+\b/g) ?? [];
    expect(words).toEqual(words.map((_, number) => `w${number}`));
    return words.length;
  }

  async expectGrowth(reply: Locator, words = 5, timeout = 10_000): Promise<void> {
    const before = await this.words(reply);
    await expect.poll(() => this.words(reply), { timeout }).toBeGreaterThanOrEqual(before + words);
  }

  /** The text that "Copy" gives. */
  async copy(item: Locator): Promise<string> {
    await this.page.bringToFront();
    await this.page.evaluate(() => navigator.clipboard.writeText("nothing was copied"));
    await item.getByRole("button", { name: "Copy", exact: true }).click();
    const read = () => this.page.evaluate(() => navigator.clipboard.readText());
    await expect.poll(read).not.toBe("nothing was copied");
    return read();
  }

  /** Shows what the server has, in its order, and claims of no reply that it streams when it has ended. */
  async expectSameAs(conversation: Conversation, timeout = 10_000): Promise<void> {
    const shown = () =>
      this.items.evaluateAll((items) =>
        items.map(({ dataset }) => `${dataset.role} ${dataset.status} ${dataset.messageId}`),
      );
    const kept = async () =>
      (await conversation.messages()).map(({ role, status, id }) => `${role} ${status} ${id}`);
    await expect(async () => expect(await shown()).toEqual(await kept())).toPass({ timeout });
    if ((await this.messages("ASSISTANT", "STREAMING").count()) > 0) return;
    await expect(this.list.locator('[aria-busy="true"]')).toHaveCount(0);
    await this.expectUnavailable("Stop");
  }

  /** Notes from now on each time that a reply's words double, jump back, or miss one. */
  async watchGrowth(): Promise<() => Promise<string[]>> {
    await this.page.evaluate(() => {
      const mistakes: string[] = [];
      const known = new Map<string, number>();
      Object.assign(window, { mistakes });
      const look = () => {
        for (const reply of document.querySelectorAll<HTMLElement>(
          '[data-message-id][data-role="ASSISTANT"]',
        )) {
          const id = reply.dataset.messageId ?? "";
          const words = reply.textContent?.match(/\bw\d+\b/g) ?? [];
          const wrong = words.findIndex((word, number) => word !== `w${number}`);
          if (wrong >= 0) mistakes.push(`${id} shows ${words[wrong]} as word ${wrong}`);
          if (words.length < (known.get(id) ?? 0))
            mistakes.push(`${id} jumped back to ${words.length} words`);
          known.set(id, words.length);
        }
      };
      new MutationObserver(look).observe(document.body, {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
    return () => this.page.evaluate(() => (window as unknown as { mistakes: string[] }).mistakes);
  }
}
