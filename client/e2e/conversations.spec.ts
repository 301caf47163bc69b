import type { Locator } from "@playwright/test";
import type { Chat } from "./chat";
import { expect, test } from "./test";

function conversations({ page }: Chat): Locator {
  return page.getByRole("navigation", { name: "Conversations" }).getByRole("link");
}

test.use({ settings: { store: "memory" } });

test("the address says which conversation is shown, and without one it is the default", async ({
  chat,
  openWindow,
  server,
}) => {
  const byDefault = await openWindow("");
  await byDefault.send("say hello");
  await byDefault.expectEnded(byDefault.lastReply);
  await byDefault.expectSameAs(server.conversation("default"));
  await expect(chat.items).toHaveCount(0);
});

test("'New conversation' opens an empty one with an address of its own", async ({
  chat,
  openWindow,
  conversation,
}) => {
  await chat.send("say first");
  await chat.expectEnded(chat.lastReply);
  const before = chat.page.url();
  await chat.press("New conversation");
  await expect(chat.items).toHaveCount(0);
  expect(chat.page.url()).not.toBe(before);
  await expect(chat.box).toBeFocused();
  await chat.send("say second");
  await chat.expectEnded(chat.lastReply);
  await expect(chat.items).toHaveCount(2);
  const same = await openWindow(new URL(chat.page.url()).hash.slice(1));
  await expect(same.lastReply).toContainText("second");
  await chat.page.goBack();
  await expect(chat.lastReply).toContainText("first");
  await chat.expectSameAs(conversation);
});

test("the list shows each conversation by its words, most recently used first, and switches", async ({
  chat,
  server,
}) => {
  for (const name of ["apples", "pears", "plums"])
    await server.conversation(name).send(`say about ${name}`);
  await chat.send("say about cherries");
  await chat.expectEnded(chat.lastReply);
  const list = conversations(chat);
  await expect(list).toHaveCount(4);
  await expect(list.nth(0)).toContainText("cherries");
  await expect(list.nth(3)).toContainText("apples");
  await list.filter({ hasText: "pears" }).click();
  await expect(chat.lastReply).toContainText("about pears");
  await expect(chat.items).toHaveCount(2);
  await expect(chat.page).toHaveURL(/#pears$/);
  await expect(list.filter({ hasText: "pears" })).toHaveAttribute("aria-current", "page");
  await expect(list.filter({ hasText: "cherries" })).not.toHaveAttribute("aria-current", "page");
});

test("a conversation that begins in another window comes into the list at once", async ({
  chat,
  openWindow,
}) => {
  const other = await openWindow("another");
  await other.send("say about grapes");
  await expect(conversations(chat).filter({ hasText: "grapes" })).toBeVisible();
});

test("the list does not ask for the messages of the conversations", async ({ chat, server }) => {
  for (const name of ["apples", "pears"]) await server.conversation(name).send(`say about ${name}`);
  chat.sent.length = 0;
  await chat.send("say about cherries");
  await expect(conversations(chat).filter({ hasText: "pears" })).toBeVisible();
  const queries = chat.sent.map(({ payload }) => payload?.query ?? "");
  expect(queries.filter((query) => /\bmessages?\(/.test(query))).toEqual([]);
});

test("a reply goes on while another conversation is open", async ({
  chat,
  server,
  conversation,
}) => {
  await server.conversation("pears").send("say about pears");
  await chat.send("words until green");
  await chat.expectGrowth(chat.lastReply);
  await conversations(chat).filter({ hasText: "pears" }).click();
  await expect(chat.lastReply).toContainText("about pears");
  await chat.expectUnavailable("Stop");
  const before = (await conversation.lastReply()).content.length;
  await expect
    .poll(async () => (await conversation.lastReply()).content.length)
    .toBeGreaterThan(before + 100);
  await chat.page.goBack();
  await chat.expectGrowth(chat.lastReply, 20);
  await conversations(chat).filter({ hasText: "pears" }).click();
  conversation.openGate("green");
  await expect.poll(async () => (await conversation.lastReply()).status).toBe("DONE");
  await chat.page.goBack();
  await chat.expectEnded(chat.lastReply);
  await chat.expectSameAs(conversation);
});

test("Clear empties this conversation alone", async ({ chat, openWindow, server }) => {
  await server.conversation("pears").send("say about pears");
  await chat.send("say about figs");
  await chat.expectEnded(chat.lastReply);
  await chat.press("Clear");
  await expect(chat.items).toHaveCount(0);
  await expect(conversations(chat).filter({ hasText: "figs" })).toHaveCount(0);
  const pears = await openWindow("pears");
  await expect(pears.items).toHaveCount(2);
});

test("messages of one conversation never show in another", async ({
  chat,
  server,
  conversation,
}) => {
  const elsewhere = server.conversation("elsewhere");
  await chat.send("words until green");
  await elsewhere.begin("words until green");
  await chat.expectGrowth(chat.lastReply);
  for (const id of [elsewhere.id, conversation.id, elsewhere.id]) await chat.page.goto(`/#${id}`);
  await chat.expectSameAs(elsewhere);
  conversation.openGate("green");
  elsewhere.openGate("green");
  await chat.expectEnded(chat.lastReply);
  await chat.expectSameAs(elsewhere);
  await expect(chat.items).toHaveCount(2);
});

test("an address of awkward characters works", async ({ chat, server }) => {
  const id = "Äpfel & Birnen/100% 🍐";
  await chat.page.goto(`/#${encodeURIComponent(id)}`);
  await expect(chat.items).toHaveCount(0);
  await chat.send("say hello");
  await chat.expectEnded(chat.lastReply);
  await chat.expectSameAs(server.conversation(id));
});
