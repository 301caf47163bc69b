import type { Page } from "@playwright/test";
import { expect, test } from "./test";

/** Read from the editor's model, since the pane holds only the lines that are in view. */
function response(page: Page): Promise<string> {
  return page.evaluate(() => {
    interface Model {
      uri: { path: string };
      getValue(): string;
    }
    const { __MONACO: monaco } = globalThis as unknown as {
      __MONACO?: { editor: { getModels(): Model[] } };
    };
    const models = monaco?.editor.getModels() ?? [];
    return models.find(({ uri }) => uri.path.endsWith("response.json"))?.getValue() ?? "";
  });
}

test.use({ settings: { completion: "echo", wordDelay: 0.02 } });

test("the playground streams a reply over the real socket, to its end", async ({
  page,
  server,
}) => {
  test.setTimeout(60_000);
  const sockets: string[] = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto("/graphql");
  await expect(page.locator(".graphiql-query-editor")).toContainText("sendMessage", {
    timeout: 20_000,
  });
  await page.getByRole("button", { name: /^Execute/ }).click();
  await expect.poll(() => response(page), { timeout: 20_000 }).toContain('"status": "DONE"');
  expect(await response(page)).toContain("Hello!");
  expect(sockets).toHaveLength(1);
  const [question, reply] = await server.conversation("default").messages();
  expect(question?.content).toBe("Hello!");
  expect(reply?.status).toBe("DONE");
});

test("the playground has a tab each for send, resume, stop, clear and events", async ({ page }) => {
  test.setTimeout(60_000);
  await page.goto("/graphql");
  for (const name of ["Send", "Resume", "Stop", "Clear", "Events"]) {
    await expect(page.getByRole("tab", { name })).toBeVisible({ timeout: 20_000 });
  }
});

test("the playground shows a conversation's events as the chat sends", async ({
  page,
  openWindow,
}) => {
  test.setTimeout(60_000);
  await page.goto("/graphql");
  await page.getByRole("tab", { name: "Events" }).click({ timeout: 20_000 });
  await expect(page.locator(".graphiql-query-editor")).toContainText("conversationEvents");
  await page.getByRole("button", { name: /^Execute/ }).click();
  await expect.poll(() => response(page), { timeout: 20_000 }).toContain("MessagesReset");
  const chat = await openWindow("default");
  await chat.send("seen from the playground");
  await chat.expectEnded(chat.lastReply);
  await expect.poll(() => response(page)).toContain("MessageChanged");
});
