import AxeBuilder from "@axe-core/playwright";
import type { Locator } from "@playwright/test";
import type { Chat } from "./chat";
import { expect, test } from "./test";

async function openInspector(chat: Chat): Promise<Locator> {
  await chat.button("Stream inspector").click();
  return chat.page.getByRole("complementary", { name: "Stream inspector" });
}

function fact(region: Locator, name: string): Locator {
  return region.locator(`dt:text-is("${name}") + dd`);
}

test("the stream inspector opens and closes by its button, by its keys and by Esc", async ({
  chat,
}) => {
  const toggle = chat.button("Stream inspector");
  const panel = chat.page.getByRole("complementary", { name: "Stream inspector" });
  await expect(toggle).toHaveAttribute("aria-expanded", "false");
  await toggle.click();
  await expect(panel).toBeVisible();
  await expect(toggle).toHaveAttribute("aria-expanded", "true");
  await chat.page.keyboard.press("Alt+Shift+I");
  await expect(panel).toHaveCount(0);
  await chat.page.keyboard.press("Alt+Shift+I");
  await panel.getByRole("button", { name: "Close" }).focus();
  await chat.page.keyboard.press("Escape");
  await expect(panel).toHaveCount(0);
});

test("it shows the sockets, the operations and how each reply streams", async ({
  chat,
  conversation,
}) => {
  const panel = await openInspector(chat);
  await chat.send("words until green");
  await chat.expectGrowth(chat.lastReply, 20);
  const reply = panel.getByRole("article");
  await expect(fact(reply, "Offset")).toHaveText(/^[1-9][\d,]*$/);
  await expect(fact(reply, "Last chunk")).toHaveText(/^[1-9]/);
  await expect(fact(reply, "First token")).toHaveText(/\d+ ms|\d s/);
  await expect(fact(reply, "Tokens/s")).toHaveText(/^(3|4)\d\.\d/);
  await expect(fact(reply, "Lag")).toHaveText(/\d+ ms/);
  await expect(reply).toContainText("STREAMING");
  await expect(panel.getByRole("row", { name: /Send/ })).toContainText("runs");
  await expect(panel.getByRole("row", { name: /Events/ })).toContainText("runs");
  conversation.openGate("green");
  await chat.expectEnded(chat.lastReply);
  await expect(reply).toContainText("DONE");
  const { content } = await conversation.lastReply();
  await expect(fact(reply, "Offset")).toHaveText(content.length.toLocaleString("en"));
});

test("it cuts the socket, and the reply goes on over another one", async ({
  chat,
  network,
  conversation,
}) => {
  const panel = await openInspector(chat);
  const mistakes = await chat.watchGrowth();
  await chat.send("words until green");
  await chat.expectGrowth(chat.lastReply);
  const { opened } = network;
  await panel.getByRole("button", { name: "Cut the socket" }).click();
  await expect.poll(() => network.opened).toBeGreaterThan(opened);
  await chat.expectLive();
  await expect(fact(panel, "Reconnects")).toHaveText("1");
  await chat.expectGrowth(chat.lastReply);
  conversation.openGate("green");
  await chat.expectEnded(chat.lastReply);
  await chat.expectSameAs(conversation);
  expect(await mistakes()).toEqual([]);
});

test("it stalls the socket, which is found and replaced", async ({
  chat,
  network,
  conversation,
}) => {
  const panel = await openInspector(chat);
  const mistakes = await chat.watchGrowth();
  await chat.send("words until green");
  await chat.expectGrowth(chat.lastReply);
  const { opened } = network;
  await panel.getByRole("button", { name: "Stall the socket" }).click();
  await expect.poll(() => network.opened, { timeout: 8_000 }).toBeGreaterThan(opened);
  await chat.expectLive();
  await chat.expectGrowth(chat.lastReply);
  conversation.openGate("green");
  await chat.expectEnded(chat.lastReply);
  await chat.expectSameAs(conversation);
  expect(await mistakes()).toEqual([]);
});

test("it resumes a reply from 0, and the text is the same", async ({ chat, conversation }) => {
  const panel = await openInspector(chat);
  await chat.send("words until green");
  await chat.expectGrowth(chat.lastReply, 20);
  const again = panel.getByRole("article").getByRole("button", { name: "Resume from 0" });
  await again.click();
  await expect(panel.getByRole("row", { name: /Resume/ })).toContainText("runs");
  await chat.expectGrowth(chat.lastReply, 20);
  conversation.openGate("green");
  await chat.expectEnded(chat.lastReply);
  await chat.expectSameAs(conversation);
  await again.click();
  await chat.expectEnded(chat.lastReply);
  await expect.poll(() => chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
});

test("it resumes a reply of another conversation from 0", async ({ chat, conversation }) => {
  const panel = await openInspector(chat);
  await chat.send("say hello");
  await chat.expectEnded(chat.lastReply);
  await chat.page.goto(`/#${conversation.id}-other`);
  await expect(chat.items).toHaveCount(0);
  await panel.getByRole("article").getByRole("button", { name: "Resume from 0" }).click();
  await expect(panel.getByRole("row", { name: /Resume/ })).toContainText("complete");
  await expect(chat.items).toHaveCount(0);
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in the ${colorScheme} theme`, () => {
    test.use({ colorScheme });

    test("axe finds nothing in the open inspector", async ({ chat }) => {
      const panel = await openInspector(chat);
      await chat.send("words until green");
      await expect(panel.getByRole("article")).toContainText("STREAMING");
      const { violations } = await new AxeBuilder({ page: chat.page }).analyze();
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`)).toEqual(
        [],
      );
    });
  });
}
