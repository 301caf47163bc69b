import { mkdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Page } from "@playwright/test";
import type { Chat } from "./chat";
import { expect, test } from "./test";

const FOLDER = resolve(import.meta.dirname, "../../docs/screenshots");
const LARGEST_BYTES = 150 * 1024;

const SIZES = { wide: { width: 1200, height: 760 }, narrow: { width: 390, height: 760 } };

// As in showcase.py.
const TITLE = "Why does my chat lose the answer when I reload the page?";
const CODE = "Show me the rule in TypeScript, please.";
const TABLE = "Which store should I choose?";
const LIMITS = "And what if the model fails?";

test.use({
  settings: { completion: "showcase:complete", store: "memory" },
  contextOptions: { reducedMotion: "reduce" },
});

async function shoot(page: Page, name: string): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  const path = join(FOLDER, `${name}.png`);
  await page.screenshot({ path });
  expect(statSync(path).size, `${name}.png is small enough`).toBeLessThanOrEqual(LARGEST_BYTES);
}

async function ask(chat: Chat, question: string, status: "DONE" | "ERROR" = "DONE"): Promise<void> {
  await chat.send(question);
  await expect(chat.messages("USER").last()).toContainText(question);
  await chat.expectEnded(chat.lastReply, status);
}

for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    test.describe(`${size}, ${colorScheme}`, () => {
      test.use({ viewport, colorScheme });

      test("the main states", async ({ openWindow, network, server }) => {
        for (const question of [TABLE, "What happens when I close the lid?"]) {
          await server.conversation(crypto.randomUUID()).send(question);
        }
        const chat = await openWindow(crypto.randomUUID());
        await shoot(chat.page, `empty-${size}-${colorScheme}`);

        await ask(chat, TITLE);
        await chat.send(CODE);
        await expect(chat.lastReply).toContainText("ends in the middle of");
        await chat.box.fill("And which store should I choose?");
        await shoot(chat.page, `streaming-${size}-${colorScheme}`);

        network.refuse();
        network.cut();
        await expect(chat.status).toContainText(/reconnecting in \d/i);
        await shoot(chat.page, `reconnecting-${size}-${colorScheme}`);
        network.resume();
        await chat.button(/now/i).click();
        await chat.expectLive();

        await chat.press("Stop");
        await chat.expectEnded(chat.lastReply, "STOPPED");
        await chat.box.fill("");
        await ask(chat, TABLE);
        await ask(chat, LIMITS, "ERROR");
        await shoot(chat.page, `failed-${size}-${colorScheme}`);
      });
    });
  }
}

test.describe("tools", () => {
  test.use({ viewport: SIZES.wide, colorScheme: "dark" });

  test("the stream inspector", async ({ chat, network }) => {
    await ask(chat, TITLE);
    await chat.button("Stream inspector").click();
    await chat.send(CODE);
    await expect(chat.lastReply).toContainText("ends in the middle of");
    network.cut();
    await chat.expectLive();
    await shoot(chat.page, "inspector");
  });

  test("the playground", async ({ page }) => {
    await page.goto("/graphql");
    await expect(page.locator(".graphiql-query-editor")).toContainText("sendMessage", {
      timeout: 20_000,
    });
    await page.getByRole("button", { name: /^Execute/ }).click();
    await expect(page.locator(".graphiql-response")).toContainText("DONE", { timeout: 20_000 });
    await shoot(page, "playground");
  });
});
