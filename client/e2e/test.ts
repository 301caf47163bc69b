import { existsSync } from "node:fs";
import { type BrowserContext, test as base, expect } from "@playwright/test";
import { Chat } from "./chat";
import { FaultProxy } from "./proxy";
import { type Conversation, GraphqlApp, type Settings } from "./server";

export { expect };

interface Options {
  /** A server for this test alone; without, the tests of a worker share one, in memory. */
  settings: Settings | undefined;
  /** What the browser itself logs, and may. */
  mayLog: RegExp | undefined;
}

interface Fixtures {
  needsChromium: undefined;
  server: GraphqlApp;
  network: FaultProxy;
  /** The test's own conversation, as the server has it. */
  conversation: Conversation;
  /** A window on the test's conversation. */
  chat: Chat;
  /** Another window of the same browser, on the same conversation if not said. */
  openWindow(conversationId?: string): Promise<Chat>;
}

interface WorkerFixtures {
  sharedServer(): Promise<GraphqlApp>;
}

export const test = base.extend<Options & Fixtures, WorkerFixtures>({
  settings: [undefined, { option: true }],
  mayLog: [undefined, { option: true }],

  needsChromium: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the pattern.
    async ({}, use, { project }) => {
      const path = project.use.launchOptions?.executablePath ?? "";
      test.skip(
        !existsSync(path),
        `There is no Chromium at ${path}; install it, or set CHROMIUM to where it is.`,
      );
      await use(undefined);
    },
    { auto: true },
  ],

  sharedServer: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the pattern.
    async ({}, use) => {
      let starting: Promise<GraphqlApp> | undefined;
      await use(() => (starting ??= GraphqlApp.start()));
      await (await starting)?.close();
    },
    { scope: "worker" },
  ],

  server: async ({ settings, sharedServer }, use) => {
    if (!settings) {
      await use(await sharedServer());
      return;
    }
    const own = await GraphqlApp.start(settings);
    await use(own);
    await own.close();
  },

  network: async ({ server }, use) => {
    const network = await FaultProxy.to(server.port);
    await use(network);
    await network.close();
  },

  baseURL: async ({ network }, use) => use(network.url),

  context: async ({ context, network, server, mayLog }, use) => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: network.url });
    const hadFaults = () => network.hadFaults || server.hasEnded;
    const complaints = watch(context, new URL(network.url).host, hadFaults, mayLog);
    await use(context);
    expect(complaints).toEqual([]);
  },

  conversation: async ({ server }, use) => {
    const conversation = server.conversation(`test-${crypto.randomUUID()}`);
    await use(conversation);
    if (server.isRunning) await conversation.clear();
  },

  chat: async ({ openWindow }, use) => use(await openWindow()),

  openWindow: async ({ context, conversation }, use) => {
    await use(async (id = conversation.id) => {
      const chat = new Chat(await context.newPage());
      await chat.open(id);
      return chat;
    });
  },
});

/** Notes what no test may bring a page to do: ask another host, log an error, break its policy. */
function watch(
  context: BrowserContext,
  host: string,
  hadFaults: () => boolean,
  mayLog?: RegExp,
): string[] {
  const complaints: string[] = [];
  const check = (requested: string) => {
    const url = new URL(requested);
    if (url.host !== host && !["data:", "blob:", "about:"].includes(url.protocol)) {
      complaints.push(`asks another host: ${requested}`);
    }
  };
  context.on("request", (request) => check(request.url()));
  context.on("weberror", (error) => complaints.push(`throws: ${error.error().stack}`));
  context.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    if (mayLog?.test(message.text())) return;
    // The browser itself says that a connection failed, and no page can keep it from that.
    const isFault = /^WebSocket connection to '.*' failed|net::ERR_/.test(message.text());
    if (!isFault || !hadFaults())
      complaints.push(`logs: ${message.text()} (${message.location().url})`);
  });
  context.on("page", (page) => page.on("websocket", (socket) => check(socket.url())));
  return complaints;
}
