import { expect, test } from "./test";

test.describe("send", () => {
  test("shows the message at once, before the server has answered", async ({ chat, network }) => {
    network.stall();
    await chat.send("say hello");
    await expect(chat.messages("USER")).toContainText("say hello", { timeout: 500 });
    await expect(chat.box).toHaveValue("", { timeout: 500 });
  });

  test("shows the reply as it comes, and then that it is done", async ({ chat, conversation }) => {
    await chat.send("words until green");
    await expect(chat.lastReply).toHaveAttribute("data-status", "STREAMING");
    await chat.expectGrowth(chat.lastReply);
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
  });

  test("several messages at once get a reply each", async ({ chat, conversation }) => {
    await chat.send("words 60 40");
    await conversation.begin("words 61 40");
    await expect(chat.messages("ASSISTANT", "STREAMING")).toHaveCount(2);
    for (const [number, words] of [60, 61].entries()) {
      await chat.expectEnded(chat.replies.nth(number));
      expect(await chat.words(chat.replies.nth(number))).toBe(words);
    }
    await chat.expectSameAs(conversation);
  });

  test("a message that is too long is back in the box with the reason", async ({ chat }) => {
    const content = "too long ".repeat(3_641);
    await chat.send(content);
    await expect(chat.alert).toContainText(/32,?768/);
    await expect(chat.box).toHaveValue(content);
    await expect(chat.items).toHaveCount(0);
  });

  test("a message of nothing but blanks is not sent, and stays", async ({ chat, conversation }) => {
    await chat.box.fill("  \n\t ");
    await chat.box.press("Enter");
    await expect(chat.box).toHaveValue("  \n\t ");
    await expect(chat.items).toHaveCount(0);
    expect(await conversation.messages()).toEqual([]);
  });

  test("a message that only the server knows to be blank is back in the box with the reason", async ({
    chat,
  }) => {
    await chat.box.fill("\u0085\u001c");
    await chat.press("Send");
    await expect(chat.alert).toContainText(/blank|content/i);
    await expect(chat.box).toHaveValue("\u0085\u001c");
    await expect(chat.items).toHaveCount(0);
  });

  test.describe("to a server with room for one reply", () => {
    test.use({ settings: { environment: { GRAPHQL_APP_MAX_REPLIES: "1" } } });

    test("is back in the box with the reason while another one streams, and can be sent later", async ({
      chat,
      server,
      conversation,
    }) => {
      const elsewhere = server.conversation("elsewhere");
      await elsewhere.begin("words until green");
      await chat.send("say hello");
      await expect(chat.alert).toBeVisible();
      await expect(chat.alert).not.toHaveText("");
      await expect(chat.box).toHaveValue("say hello");
      await expect(chat.items).toHaveCount(0);
      elsewhere.openGate("green");
      await expect.poll(async () => (await elsewhere.lastReply()).status).toBe("DONE");
      await chat.press("Send");
      await chat.expectEnded(chat.lastReply);
      await expect(chat.lastReply).toContainText("hello");
      await expect(chat.messages("USER")).toHaveCount(1);
      await expect(chat.alert).toHaveCount(0);
      await chat.expectSameAs(conversation);
    });
  });
});

test.describe("interrupt", () => {
  test("freezes what this window shows, and Resume goes on from exactly there", async ({
    chat,
    conversation,
  }) => {
    const mistakes = await chat.watchGrowth();
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply, 10);
    await chat.press("Interrupt");
    await chat.expectUnavailable("Interrupt");
    const frozen = await chat.words(chat.lastReply);
    const shown = "w".concat(String(frozen - 1), " ");
    await expect
      .poll(async () => (await conversation.lastReply()).content)
      .toContain(`w${frozen + 40} `);
    expect(await chat.words(chat.lastReply)).toBe(frozen);
    expect((await conversation.lastReply()).status).toBe("STREAMING");

    chat.sent.length = 0;
    await chat.press("Resume");
    await expect.poll(() => chat.words(chat.lastReply)).toBeGreaterThan(frozen + 40);
    const resumed = chat.sent.find(({ payload }) => payload?.query?.includes("resumeMessage"));
    const { content, offset } = resumed?.payload?.variables?.message ?? {};
    const kept = (await conversation.lastReply()).content;
    const place = kept.indexOf(shown) + shown.length;
    expect(typeof content === "string" ? content.length : offset).toBe(place);

    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
    expect(await chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
    expect(await mistakes()).toEqual([]);
  });

  test("leaves other windows as they are", async ({ chat, openWindow }) => {
    const other = await openWindow();
    await chat.send("words until green");
    await other.expectGrowth(other.lastReply);
    await chat.press("Interrupt");
    const frozen = await chat.words(chat.lastReply);
    await other.expectGrowth(other.lastReply, 20);
    expect(await chat.words(chat.lastReply)).toBe(frozen);
    await other.press("Stop");
    await other.expectEnded(other.lastReply, "STOPPED");
  });

  test("then Resume brings the end of a reply that has ended meanwhile", async ({
    chat,
    conversation,
  }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Interrupt");
    const frozen = await chat.words(chat.lastReply);
    conversation.openGate("green");
    await expect.poll(async () => (await conversation.lastReply()).status).toBe("DONE");
    expect(await chat.words(chat.lastReply)).toBe(frozen);
    await chat.press("Resume");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
    await chat.expectUnavailable("Resume");
  });

  test("holds through a lost connection", async ({ chat, network, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Interrupt");
    const frozen = await chat.words(chat.lastReply);
    const opened = network.opened;
    network.cut();
    await expect.poll(() => network.opened).toBeGreaterThan(opened);
    await chat.expectLive();
    conversation.openGate("green");
    await expect.poll(async () => (await conversation.lastReply()).status).toBe("DONE");
    expect(await chat.words(chat.lastReply)).toBe(frozen);
    await chat.press("Resume");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
  });

  test("ends with a reload, which resumes by itself", async ({ chat }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Interrupt");
    await chat.reload();
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
  });

  test("does not keep from stopping", async ({ chat, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Interrupt");
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.expectSameAs(conversation);
    expect(await chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
  });
});

test.describe("stop", () => {
  test("ends the reply for everyone, at the same text", async ({
    chat,
    openWindow,
    conversation,
  }) => {
    const other = await openWindow();
    await chat.send("words until green");
    await other.expectGrowth(other.lastReply);
    await other.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await other.expectEnded(other.lastReply, "STOPPED");
    const kept = await conversation.lastReply();
    expect(kept.status).toBe("STOPPED");
    expect(await chat.copy(chat.lastReply)).toBe(kept.content);
    expect(await other.copy(other.lastReply)).toBe(kept.content);
    await chat.expectUnavailable("Stop");
    await other.expectUnavailable("Stop");
  });

  test("works before the first word", async ({ chat, conversation }) => {
    await chat.send("hold green");
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.expectSameAs(conversation);
  });

  test("works while the send is still on its way", async ({ chat, network, conversation }) => {
    network.delay(300);
    await chat.send("words until green");
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.expectSameAs(conversation);
  });

  test("works after a reload", async ({ chat }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.reload();
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
  });
});

test.describe("clear", () => {
  test("empties every window, also of what streams", async ({ chat, openWindow, conversation }) => {
    const other = await openWindow();
    await chat.send("say hello");
    await chat.expectEnded(chat.lastReply);
    await chat.send("words until green");
    await other.expectGrowth(other.lastReply);
    await other.press("Clear");
    await expect(other.items).toHaveCount(0);
    await expect(chat.items).toHaveCount(0);
    expect(await conversation.messages()).toEqual([]);
    await chat.expectUnavailable("Stop");
    await chat.send("say again");
    await chat.expectEnded(chat.lastReply);
    await expect(other.lastReply).toContainText("again");
    await expect(other.items).toHaveCount(2);
  });

  test("ends an interruption", async ({ chat, openWindow }) => {
    const other = await openWindow();
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Interrupt");
    await other.press("Clear");
    await expect(chat.items).toHaveCount(0);
    await chat.expectUnavailable("Resume");
    await chat.send("say again");
    await chat.expectEnded(chat.lastReply);
  });
});

test.describe("a reload or a new tab in mid-stream", () => {
  test("resumes every reply that streams, and shows each to its end", async ({
    chat,
    openWindow,
    conversation,
  }) => {
    await chat.send("words until green");
    await conversation.begin("words until green");
    await conversation.begin("words until green");
    await expect(chat.messages("ASSISTANT", "STREAMING")).toHaveCount(3);
    for (const number of [0, 1, 2]) await chat.expectGrowth(chat.replies.nth(number));

    await chat.reload();
    const fresh = await openWindow();
    for (const window of [chat, fresh]) {
      await expect(window.messages("ASSISTANT", "STREAMING")).toHaveCount(3);
      for (const number of [0, 1, 2]) await window.expectGrowth(window.replies.nth(number));
    }
    conversation.openGate("green");
    for (const window of [chat, fresh]) {
      for (const number of [0, 1, 2]) await window.expectEnded(window.replies.nth(number));
      await window.expectSameAs(conversation);
      for (const [number, message] of (await conversation.messages()).entries()) {
        expect(await window.copy(window.items.nth(number))).toBe(message.content);
      }
    }
  });

  test("right after Send loses nothing and sends nothing twice", async ({ chat, conversation }) => {
    await chat.send("words 30 40");
    await chat.reload();
    await chat.expectEnded(chat.lastReply);
    expect(await chat.words(chat.lastReply)).toBe(30);
    await expect(chat.messages("USER")).toHaveCount(1);
    expect(await conversation.messages()).toHaveLength(2);
  });
});

test.describe("a second window", () => {
  test("shows new messages, growth, the end and their order as they happen", async ({
    chat,
    openWindow,
    conversation,
  }) => {
    const other = await openWindow();
    const mistakes = await other.watchGrowth();
    await chat.send("words until green");
    await expect(other.messages("USER")).toContainText("words until green", { timeout: 1_000 });
    await other.expectGrowth(other.lastReply, 20);
    await conversation.send("say from elsewhere");
    for (const window of [chat, other]) {
      await expect(window.messages("USER").last()).toContainText("say from elsewhere", {
        timeout: 1_000,
      });
      await window.expectEnded(window.lastReply);
      await expect(window.lastReply).toContainText("from elsewhere");
    }
    conversation.openGate("green");
    for (const window of [chat, other]) {
      await window.expectEnded(window.replies.first());
      await window.expectSameAs(conversation);
    }
    expect(await mistakes()).toEqual([]);
  });

  test("shows why a reply failed", async ({ chat, openWindow }) => {
    const other = await openWindow();
    await chat.send("say so far\nfail The model is being updated.");
    for (const window of [chat, other]) {
      await window.expectEnded(window.lastReply, "ERROR");
      await expect(window.lastReply).toContainText("so far");
      await expect(window.lastReply).toContainText("The model is being updated.");
    }
  });
});
