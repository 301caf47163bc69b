import { expect, test } from "./test";

test.describe("a server killed under an open page, with a store that lasts", () => {
  test.use({ settings: { store: "sqlite", environment: { GRAPHQL_APP_LEASE_SECONDS: "2" } } });

  test("is back with the reply as ERROR, its text kept, and takes a new message", async ({
    chat,
    openWindow,
    server,
    conversation,
  }) => {
    test.setTimeout(60_000);
    const other = await openWindow();
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply, 20);
    await server.kill();
    const shown = await chat.words(chat.lastReply);
    await expect(chat.status).toContainText(/reconnecting/i);
    await server.start();
    for (const window of [chat, other]) {
      await window.expectLive(15_000);
      await window.expectEnded(window.lastReply, "ERROR", 15_000);
      const { error, content } = await conversation.lastReply();
      expect(error?.code).toBe("PRODUCER_LOST");
      await expect(window.lastReply).toContainText(error?.message ?? "no error");
      expect(await window.words(window.lastReply)).toBeGreaterThanOrEqual(shown);
      expect(await window.copy(window.lastReply)).toBe(content);
      await window.expectSameAs(conversation);
    }
    await chat.send("say hello again");
    for (const window of [chat, other]) {
      await window.expectEnded(window.lastReply);
      await expect(window.lastReply).toContainText("hello again");
      await window.expectSameAs(conversation);
    }
  });

  test("and opened anew only then, shows the truth too", async ({
    openWindow,
    server,
    conversation,
    network,
  }) => {
    test.setTimeout(60_000);
    await conversation.begin("words until green");
    await expect
      .poll(async () => (await conversation.lastReply()).content.length)
      .toBeGreaterThan(50);
    await server.kill();
    await server.start();
    network.resume();
    const chat = await openWindow();
    await chat.expectEnded(chat.lastReply, "ERROR", 15_000);
    await chat.expectSameAs(conversation);
    await chat.press("Retry");
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
  });

  test("finds one message and one reply for a send that was under way", async ({
    chat,
    server,
    conversation,
  }) => {
    test.setTimeout(60_000);
    await server.kill();
    await chat.send("say hello");
    await expect(chat.messages("USER")).toContainText("say hello");
    await server.start();
    await chat.expectLive(15_000);
    await chat.expectEnded(chat.lastReply);
    expect(conversation.calls()).toEqual(["say hello"]);
    await chat.expectSameAs(conversation);
  });
});

test.describe("a server that shuts down in order", () => {
  test.use({
    settings: {
      store: "sqlite",
      environment: { GRAPHQL_APP_NOTICE_SECONDS: "0", GRAPHQL_APP_DRAIN_SECONDS: "0" },
    },
  });

  test("ends the reply as ERROR with its sentence, once it is back", async ({
    chat,
    server,
    conversation,
  }) => {
    test.setTimeout(60_000);
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await server.terminate();
    await expect(chat.status).toContainText(/reconnecting/i);
    await server.start();
    await chat.expectEnded(chat.lastReply, "ERROR", 15_000);
    expect((await conversation.lastReply()).error?.code).toBe("SERVER_SHUTDOWN");
    await chat.expectSameAs(conversation);
  });
});

test.describe("a server killed under an open page, with a store that does not last", () => {
  test.use({ settings: { store: "memory" } });

  test("leaves nothing that claims to stream, and takes a new message", async ({
    chat,
    server,
    conversation,
  }) => {
    test.setTimeout(60_000);
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await server.kill();
    await server.start();
    await chat.expectLive(15_000);
    await chat.expectSameAs(conversation);
    await chat.send("say hello");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
  });
});
