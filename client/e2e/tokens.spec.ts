import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { Chat } from "./chat";
import { expect, test } from "./test";
import { tokenOf } from "./tokens";

// Good for two seconds more than it says, as the server has it.
const SHORT = 3;
const EXPIRY_MS = 15_000;

/** A window of a page that people sign in to elsewhere: a script before ours says where tokens are from. */
async function openElsewhere(page: Page, conversationId: string, token: () => string) {
  let asked = 0;
  await page.exposeFunction("login", () => {
    asked++;
    return token();
  });
  await page.addInitScript(() => {
    const { login } = window as unknown as { login(): Promise<string> };
    Object.assign(window, { graphqlAppToken: () => login() });
  });
  const chat = new Chat(page);
  await page.goto(`/#${conversationId}`);
  return { chat, asked: () => asked };
}

/** What the tab has kept, and what it shows. */
function traces(page: Page): Promise<string> {
  return page.evaluate(() => {
    const texts = [...document.querySelectorAll("textarea")].map(({ value }) => value);
    const kept = JSON.stringify({ ...sessionStorage, ...localStorage });
    return [document.title, location.href, document.body.innerText, ...texts, kept].join("\n");
  });
}

function draft({ page }: Chat) {
  return page.locator(".composer textarea");
}

test("an open server asks nobody for a token", async ({ chat }) => {
  await expect(chat.signIn).toHaveCount(0);
  await expect(chat.button("Sign out")).toHaveCount(0);
  expect(chat.sent.find(({ type }) => type === "connection_init")).not.toHaveProperty("payload");
});

test.describe("where a token is needed", () => {
  test.use({ settings: { needsTokens: true } });

  /** A window in which nobody has signed in. */
  async function openStrange(page: Page, conversationId: string): Promise<Chat> {
    const chat = new Chat(page);
    await page.goto(`/#${conversationId}`);
    await expect(chat.signIn).toBeVisible();
    return chat;
  }

  /** A window in which somebody has. */
  async function openAs(page: Page, conversationId: string, token: string): Promise<Chat> {
    const chat = await openStrange(page, conversationId);
    await chat.pasteToken(token);
    await chat.expectLive();
    await expect(chat.signIn).toHaveCount(0);
    return chat;
  }

  test("who pastes one is in, also after a reload, and is who it says", async ({
    page,
    server,
    conversation,
  }) => {
    const chat = await openStrange(page, conversation.id);
    await expect(chat.signIn).toContainText("This server needs to know who you are.");
    await chat.pasteToken(`Bearer ${tokenOf("alice")}\n`);
    await chat.expectLive();
    await expect(chat.signIn).toHaveCount(0);
    await expect(chat.box).toBeFocused();
    await chat.send("say hello");
    await chat.expectEnded(chat.lastReply);
    await chat.reload();
    await expect(chat.signIn).toHaveCount(0);
    await chat.expectSameAs(conversation);
    expect(await server.conversation(conversation.id, "bob").messages()).toEqual([]);
    expect(await page.evaluate(() => ({ ...localStorage }))).toEqual({});
    expect(page.url()).not.toContain(tokenOf("alice").slice(0, 10));
  });

  test("a wrong one is said to be, and the next one is asked for", async ({
    page,
    conversation,
  }) => {
    const chat = await openStrange(page, conversation.id);
    await chat.pasteToken(tokenOf("alice", 3600, "another secret, which is as long as the other."));
    await expect(chat.alert).toContainText("The server did not take this token");
    await chat.pasteToken(tokenOf("alice", -60));
    await expect(chat.alert).toContainText(/expired/);
    await chat.pasteToken(tokenOf("alice"));
    await chat.expectLive();
    await expect(chat.signIn).toHaveCount(0);
  });

  test("one that ends in mid-stream is asked for over the chat, and all goes on exactly", async ({
    page,
    conversation,
  }) => {
    test.setTimeout(60_000);
    await conversation.send("markdown 4000 100000");
    const chat = await openAs(page, conversation.id, tokenOf("alice", SHORT));
    await chat.expectEnded(chat.replies.first());
    const mistakes = await chat.watchGrowth();
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await draft(chat).fill("half a thought");
    const scroller = page.locator(".transcript .scroller");
    await scroller.evaluate((element) => {
      element.scrollTop = 40;
    });

    await expect(chat.signIn).toContainText("Your token has expired", { timeout: EXPIRY_MS });
    const shown = await chat.words(chat.lastReply);
    await page.keyboard.press("Escape");
    await expect(chat.signIn).toBeVisible();
    await chat.pasteToken(tokenOf("alice"));
    await chat.expectLive();
    await expect(chat.signIn).toHaveCount(0);
    await expect(draft(chat)).toHaveValue("half a thought");
    await expect(draft(chat)).toBeFocused();
    expect(await scroller.evaluate(({ scrollTop }) => scrollTop)).toBe(40);
    await chat.expectGrowth(chat.lastReply);
    expect(await chat.words(chat.lastReply)).toBeGreaterThan(shown);
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
    expect(await chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
    expect(await mistakes()).toEqual([]);
  });

  test("what was sent before one ended, and did not arrive, goes out once there is another", async ({
    page,
    network,
    conversation,
  }) => {
    test.setTimeout(60_000);
    const token = tokenOf("alice", SHORT);
    const chat = await openAs(page, conversation.id, token);
    network.refuse();
    network.cut();
    await expect(chat.status).toContainText(/reconnecting/i);
    await chat.send("say hello");
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    await expect.poll(() => Date.now() / 1000, { timeout: EXPIRY_MS }).toBeGreaterThan(exp + 3);
    network.resume();
    await expect(chat.signIn).toBeVisible({ timeout: EXPIRY_MS });
    await chat.pasteToken(tokenOf("alice"));
    await chat.expectEnded(chat.lastReply);
    expect(conversation.calls()).toEqual(["say hello"]);
    await chat.expectSameAs(conversation);
  });

  test("a page's own source is asked for a fresh one each time, and nobody notices", async ({
    page,
    conversation,
  }) => {
    test.setTimeout(60_000);
    const source = () => tokenOf("alice", SHORT);
    const { chat, asked } = await openElsewhere(page, conversation.id, source);
    let signIns = 0;
    await page.exposeFunction("noteSignIn", () => signIns++);
    await page.evaluate(() => {
      new MutationObserver(() => {
        if (document.querySelector("dialog"))
          (window as unknown as { noteSignIn(): void }).noteSignIn();
      }).observe(document.body, { subtree: true, childList: true });
    });
    await chat.expectLive();
    await expect(chat.button("Sign out")).toHaveCount(0);
    const mistakes = await chat.watchGrowth();
    await chat.send("words until green");
    await expect.poll(asked, { timeout: 2 * EXPIRY_MS }).toBeGreaterThanOrEqual(3);
    await chat.expectLive();
    await chat.expectGrowth(chat.lastReply);
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
    expect(await chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
    expect(await mistakes()).toEqual([]);
    expect(signIns).toBe(0);
  });

  test("a page's own source of wrong ones is asked three times, and then by people", async ({
    page,
    conversation,
  }) => {
    let token = "wrong";
    const { chat, asked } = await openElsewhere(page, conversation.id, () => token);
    await expect(chat.signIn).toContainText("You could not be signed in.");
    await expect(chat.signIn.getByRole("textbox")).toHaveCount(0);
    expect(asked()).toBe(3);
    token = tokenOf("alice");
    await chat.signIn.getByRole("button", { name: "Try again" }).click();
    await chat.expectLive();
    await expect(chat.signIn).toHaveCount(0);
  });

  test("a page whose source comes to name somebody else shows nothing of who was before", async ({
    page,
    conversation,
  }) => {
    let owner = "alice";
    const source = () => tokenOf(owner);
    const { chat } = await openElsewhere(page, conversation.id, source);
    await chat.expectLive();
    await chat.send("say secret-words");
    await chat.expectEnded(chat.lastReply);
    await draft(chat).fill("secret-draft");
    owner = "bob";
    await page.reload();
    await chat.expectLive();
    await expect(draft(chat)).toHaveValue("");
    expect(await traces(page)).not.toContain("secret");
  });

  test("who signs out leaves nothing to who comes next, in any tab", async ({
    page,
    context,
    server,
    conversation,
  }) => {
    test.setTimeout(60_000);
    const chat = await openAs(page, conversation.id, tokenOf("alice"));
    await chat.send("say secret-words");
    await chat.expectEnded(chat.lastReply);
    await expect(page.getByRole("navigation")).toContainText("secret-words");
    await draft(chat).fill("secret-draft");
    const other = await openAs(await context.newPage(), conversation.id, tokenOf("alice"));
    await expect(other.lastReply).toContainText("secret-words");
    await draft(other).fill("secret-draft");
    await page.bringToFront();
    await chat.press("Sign out");

    for (const window of [chat, other]) {
      await window.page.bringToFront();
      await expect(window.signIn).toContainText("This server needs to know who you are.");
      expect(await traces(window.page)).not.toMatch(/secret|alice|test-|"token"/);
      await window.pasteToken(tokenOf("bob"));
      await window.expectLive();
      await expect(window.items).toHaveCount(0);
      await expect(draft(window)).toHaveValue("");
      expect(await traces(window.page)).not.toMatch(/secret|alice|test-/);
    }
    await chat.open(conversation.id);
    await expect(page.getByText("What would you like to know?")).toBeVisible();
    expect(await traces(page)).not.toContain("secret");
    expect(await server.conversation(conversation.id, "bob").messages()).toEqual([]);
  });

  test("somebody else who signs in over an expired chat sees nothing of it, and sends nothing of it", async ({
    page,
    network,
    server,
    conversation,
  }) => {
    test.setTimeout(60_000);
    const chat = await openAs(page, conversation.id, tokenOf("alice", SHORT));
    await chat.send("say secret-words");
    await chat.expectEnded(chat.lastReply);
    network.stall("toServer");
    await chat.send("say secret-unsent");
    await draft(chat).fill("secret-draft");
    network.resume();
    network.cut();
    await expect(chat.signIn).toContainText(/sign in/i, { timeout: EXPIRY_MS });
    await chat.pasteToken(tokenOf("bob"));
    await chat.expectLive();
    await expect(chat.signIn).toHaveCount(0);
    await expect(draft(chat)).toHaveValue("");
    await expect(chat.items).toHaveCount(0);
    expect(await traces(page)).not.toMatch(/secret|alice|test-/);
    for (const id of [conversation.id, "default"])
      expect(await server.conversation(id, "bob").messages()).toEqual([]);
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test.describe(`in the ${colorScheme} theme`, () => {
      test.use({
        colorScheme,
        contextOptions: { reducedMotion: "reduce" },
        viewport: { width: 320, height: 560 },
      });

      test("axe finds nothing where people sign in, on a phone, and nothing is too wide", async ({
        page,
        conversation,
      }) => {
        const chat = await openStrange(page, conversation.id);
        const findings = async () =>
          (await new AxeBuilder({ page }).analyze()).violations.map(({ id }) => id);
        expect(await findings()).toEqual([]);
        await chat.pasteToken("wrong");
        await expect(chat.alert).toBeVisible();
        expect(await findings()).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
      });
    });
  }
});
