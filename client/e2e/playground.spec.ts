import type { Page } from "@playwright/test";
import { Chat } from "./chat";
import { expect, test } from "./test";
import { tokenOf } from "./tokens";

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

async function execute(page: Page): Promise<void> {
  await page.getByRole("button", { name: /^Execute/ }).click();
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
  await execute(page);
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
  await execute(page);
  await expect.poll(() => response(page), { timeout: 20_000 }).toContain("MessagesReset");
  const chat = await openWindow("default");
  await chat.send("seen from the playground");
  await chat.expectEnded(chat.lastReply);
  await expect.poll(() => response(page)).toContain("MessageChanged");
});

test.describe("where a token is needed, the playground", () => {
  test.use({
    settings: { completion: "echo", wordDelay: 0.02, needsTokens: true },
    mayLog: /status of 401/,
  });
  test.setTimeout(60_000);

  /** Writes a token where people do, in place of what is there. */
  async function writeToken(page: Page, token: string): Promise<void> {
    await page.getByRole("button", { name: "Headers", exact: true }).click();
    await page.locator(".graphiql-editor:not(.hidden) .monaco-editor").last().click();
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.press("Delete");
    await page.keyboard.insertText(JSON.stringify({ Authorization: `Bearer ${token}` }));
  }

  async function open(page: Page): Promise<void> {
    await page.goto("/graphql");
    await expect(page.locator(".graphiql-query-editor")).toContainText("sendMessage", {
      timeout: 20_000,
    });
  }

  test("says where one goes, and takes it for subscriptions, queries and the documentation", async ({
    page,
    server,
  }) => {
    await open(page);
    await execute(page);
    await expect.poll(() => response(page)).toContain("UNAUTHENTICATED");
    expect(await response(page)).toContain("into Headers, below");

    await writeToken(page, "wrong");
    await execute(page);
    await expect.poll(() => response(page)).toContain("The token is not valid.");
    await writeToken(page, tokenOf("alice"));
    await execute(page);
    await expect.poll(() => response(page), { timeout: 20_000 }).toContain('"status": "DONE"');
    const [question] = await server.conversation("default").messages();
    expect(question?.content).toBe("Hello!");

    const introspected = page.waitForResponse(
      (answer) => answer.request().postData()?.includes("__schema") ?? false,
    );
    await page.getByRole("button", { name: /^Re-fetch GraphQL schema/ }).click();
    expect((await introspected).status()).toBe(200);
    await page.getByRole("tab", { name: "History" }).click();
    await writeToken(page, tokenOf("bob"));
    await execute(page);
    await expect.poll(() => response(page)).toContain('"messages": []');
    expect(await page.evaluate(() => ({ ...localStorage }))).toEqual({});
    const kept = await page.evaluate(() => JSON.stringify({ ...sessionStorage }));
    expect(kept).not.toMatch(/Bearer/);
  });

  test("goes on with a fresh one when that of a stream has ended", async ({ page }) => {
    await open(page);
    await page.getByRole("tab", { name: "Events" }).click();
    await writeToken(page, tokenOf("alice", 3));
    await execute(page);
    await expect.poll(() => response(page)).toContain("MessagesReset");
    await expect.poll(() => response(page), { timeout: 15_000 }).toContain("has expired");
    expect(await response(page)).toContain("into Headers, below");
    await writeToken(page, tokenOf("alice"));
    await execute(page);
    await expect.poll(() => response(page)).toContain("MessagesReset");
  });

  test("comes with the token of who has signed in to the chat in the same tab", async ({
    page,
    conversation,
  }) => {
    const chat = new Chat(page);
    await page.goto(`/#${conversation.id}`);
    await chat.pasteToken(tokenOf("alice"));
    await chat.expectLive();
    await open(page);
    await execute(page);
    await expect.poll(() => response(page), { timeout: 20_000 }).toContain('"status": "DONE"');
  });
});
