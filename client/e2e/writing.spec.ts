import type { Chat } from "./chat";
import type { FaultProxy } from "./proxy";
import { expect, test } from "./test";

test.describe("the box", () => {
  test("sends with Enter and breaks the line with Shift+Enter", async ({ chat, conversation }) => {
    await chat.box.pressSequentially("say one");
    await chat.box.press("Shift+Enter");
    await chat.box.pressSequentially("say two");
    await expect(chat.box).toHaveValue("say one\nsay two");
    await chat.box.press("Enter");
    await chat.expectEnded(chat.lastReply);
    await expect(chat.box).toHaveValue("");
    expect((await conversation.messages())[0]?.content).toBe("say one\nsay two");
  });

  test("leaves Enter to an input method that composes", async ({ chat, conversation }) => {
    await chat.box.focus();
    const devtools = await chat.page.context().newCDPSession(chat.page);
    await devtools.send("Input.imeSetComposition", {
      text: "にほん",
      selectionStart: 3,
      selectionEnd: 3,
    });
    await chat.box.dispatchEvent("keydown", { key: "Enter", isComposing: true });
    await chat.box.dispatchEvent("keydown", { key: "Enter", keyCode: 229 });
    await expect(chat.box).toHaveValue("にほん");
    expect(await conversation.messages()).toEqual([]);
    await devtools.send("Input.insertText", { text: "日本" });
    await expect(chat.box).toHaveValue("日本");
    await chat.box.press("Enter");
    await expect(chat.messages("USER")).toContainText("日本");
  });

  test("keeps the draft through a reload, for each conversation its own", async ({
    chat,
    conversation,
  }) => {
    await chat.box.fill("half a thought");
    await chat.reload();
    await expect(chat.box).toHaveValue("half a thought");
    await chat.page.goto(`/#${conversation.id}-other`);
    await expect(chat.box).toHaveValue("");
    await chat.box.fill("another thought");
    await chat.page.goto(`/#${conversation.id}`);
    await expect(chat.box).toHaveValue("half a thought");
    await chat.send("say sent");
    await chat.expectEnded(chat.lastReply);
    await chat.reload();
    await expect(chat.box).toHaveValue("");
  });

  test("has the focus when the page opens, and keeps it after a send", async ({ chat }) => {
    await expect(chat.box).toBeFocused();
    await chat.page.keyboard.type("say hello");
    await chat.page.keyboard.press("Enter");
    await chat.expectEnded(chat.lastReply);
    await expect(chat.box).toBeFocused();
  });
});

test.describe("a follow-up written while a reply streams", () => {
  test("waits, and is sent by itself when the reply is done", async ({ chat, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.send("say the follow-up");
    await expect(chat.page.getByText(/queued/i)).toBeVisible();
    await expect(chat.messages("USER")).toHaveCount(1);
    expect(await conversation.messages()).toHaveLength(2);
    conversation.openGate("green");
    await expect(chat.messages("USER")).toHaveCount(2);
    await expect(chat.lastReply).toContainText("the follow-up");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
    expect(conversation.calls()).toEqual(["words until green", "say the follow-up"]);
    await expect(chat.page.getByText(/queued/i)).toHaveCount(0);
  });

  test("is not sent by itself after a stop, and is not lost", async ({ chat, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.send("say the follow-up");
    await expect(chat.page.getByText(/queued/i)).toBeVisible();
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.expectSameAs(conversation);
    expect(await conversation.messages()).toHaveLength(2);
    const text = chat.page.getByText("say the follow-up");
    await expect(chat.box.and(chat.page.getByRole("textbox")).or(text).first()).toBeVisible();
    await expect
      .poll(async () => (await chat.box.inputValue()) + (await text.allTextContents()).join())
      .toContain("say the follow-up");
  });

  test("is not sent by itself after an error, and is not lost", async ({ chat, conversation }) => {
    await chat.send("say so far\nhold green\nfail The model is being updated.");
    await expect(chat.lastReply).toContainText("so far");
    await chat.send("say the follow-up");
    await expect(chat.page.getByText(/queued/i)).toBeVisible();
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply, "ERROR");
    await chat.expectSameAs(conversation);
    expect(await conversation.messages()).toHaveLength(2);
    await expect
      .poll(async () => {
        const shown = await chat.page.getByText("say the follow-up").allTextContents();
        return (await chat.box.inputValue()) + shown.join();
      })
      .toContain("say the follow-up");
  });

  test("is not sent by itself when another window stops the reply", async ({
    chat,
    openWindow,
    conversation,
  }) => {
    const other = await openWindow();
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.send("say the follow-up");
    await expect(chat.page.getByText(/queued/i)).toBeVisible();
    await other.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.expectSameAs(conversation);
    expect(await conversation.messages()).toHaveLength(2);
  });

  test("survives a cut of the connection", async ({ chat, network, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.send("say the follow-up");
    network.cut();
    conversation.openGate("green");
    await expect(chat.messages("USER")).toHaveCount(2, { timeout: 10_000 });
    await expect(chat.lastReply).toContainText("the follow-up");
    await chat.expectEnded(chat.lastReply);
    expect(conversation.calls()).toEqual(["words until green", "say the follow-up"]);
  });
});

test.describe("Esc", () => {
  test("stops the reply", async ({ chat, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.box.press("Escape");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.expectSameAs(conversation);
  });

  test("does nothing when no reply streams, and keeps the draft", async ({ chat }) => {
    await chat.send("say hello");
    await chat.expectEnded(chat.lastReply);
    await chat.box.fill("a draft");
    await chat.box.press("Escape");
    await expect(chat.box).toHaveValue("a draft");
    await expect(chat.lastReply).toHaveAttribute("data-status", "DONE");
  });

  test("belongs to the input method while it composes", async ({ chat }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.box.dispatchEvent("keydown", { key: "Escape", isComposing: true });
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
  });
});

test.describe("Retry", () => {
  test("asks the same question again after an error, and shows no second copy of it", async ({
    chat,
    openWindow,
    conversation,
  }) => {
    const other = await openWindow();
    await chat.send("say so far\nfail The model is being updated.");
    await chat.expectEnded(chat.lastReply, "ERROR");
    await expect(chat.lastReply).toContainText("The model is being updated.");
    const failed = await conversation.lastReply();
    await chat.press("Retry");
    await expect.poll(async () => (await conversation.lastReply()).id).not.toBe(failed.id);
    for (const window of [chat, other]) {
      await window.expectEnded(window.lastReply, "ERROR");
      await window.expectSameAs(conversation);
      await expect(window.messages("USER")).toHaveCount(1);
      await expect(window.replies).toHaveCount(1);
    }
    expect(conversation.calls()).toHaveLength(2);
  });

  test("is not offered for a reply that is done", async ({ chat }) => {
    await chat.send("say hello");
    await chat.expectEnded(chat.lastReply);
    await expect(chat.button("Retry")).toHaveCount(0);
  });
});

test.describe("Regenerate", () => {
  test("streams another reply in the old one's place, in every window", async ({
    chat,
    openWindow,
    conversation,
  }) => {
    const other = await openWindow();
    await chat.send("say first\nwords until green");
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    const stopped = await conversation.lastReply();
    await chat.press("Regenerate");
    await expect(chat.lastReply).toHaveAttribute("data-status", "STREAMING");
    await expect(chat.lastReply).not.toHaveAttribute("data-message-id", stopped.id);
    await chat.expectGrowth(chat.lastReply);
    await other.expectGrowth(other.lastReply);
    conversation.openGate("green");
    for (const window of [chat, other]) {
      await window.expectEnded(window.lastReply);
      await window.expectSameAs(conversation);
      await expect(window.messages("USER")).toHaveCount(1);
      await expect(window.replies).toHaveCount(1);
      await expect(window.lastReply).toContainText("2 of 2");
    }
    expect(conversation.calls()).toHaveLength(2);
    await chat.press("Regenerate");
    for (const window of [chat, other]) await expect(window.lastReply).toContainText("3 of 3");
  });

  test("survives a cut and a reload", async ({ chat, network, conversation }) => {
    await chat.send("say first\nhold green\nwords until red");
    conversation.openGate("green");
    await chat.expectGrowth(chat.lastReply);
    await chat.press("Stop");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.press("Regenerate");
    network.cut();
    await chat.expectLive();
    await expect(chat.lastReply).toHaveAttribute("data-status", "STREAMING");
    await chat.expectGrowth(chat.lastReply);
    await chat.reload();
    await chat.expectGrowth(chat.lastReply);
    conversation.openGate("red");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
    expect(conversation.calls()).toHaveLength(2);
  });

  test("on an earlier question leaves the later ones where they are", async ({
    chat,
    conversation,
  }) => {
    await chat.send("say first");
    await chat.expectEnded(chat.lastReply);
    await chat.send("say second");
    await expect(chat.replies).toHaveCount(2);
    await chat.expectEnded(chat.lastReply);
    const [, first, , second] = await conversation.messages();
    await chat.replies.first().getByRole("button", { name: "Regenerate" }).click();
    await expect(chat.replies.first()).not.toHaveAttribute("data-message-id", first?.id ?? "");
    await chat.expectEnded(chat.replies.first());
    await chat.expectSameAs(conversation);
    await expect(chat.replies.last()).toHaveAttribute("data-message-id", second?.id ?? "");
    await expect(chat.replies.first()).toContainText("first");
    await expect(chat.messages("USER")).toHaveCount(2);
  });

  test("leaves every question's older replies within reach, after a reload too", async ({
    chat,
  }) => {
    for (const [number, question] of ["say one\nsay more", "say two\nsay more"].entries()) {
      await chat.send(question);
      await chat.expectEnded(chat.replies.nth(number));
    }
    const ids = [];
    for (const number of [0, 1]) {
      const reply = chat.replies.nth(number);
      const id = (await reply.getAttribute("data-message-id")) ?? "";
      ids.push(id);
      await reply.getByRole("button", { name: "Regenerate" }).click();
      await expect(reply).not.toHaveAttribute("data-message-id", id);
      await chat.expectEnded(reply);
      await expect(reply).toContainText("2 of 2");
    }
    await chat.reload();
    for (const [number, id] of ids.entries()) {
      const reply = chat.replies.nth(number);
      await expect(reply).toContainText("2 of 2");
      await reply.getByRole("button", { name: "Previous reply" }).click();
      await expect(reply).toHaveAttribute("data-message-id", id);
      await expect(reply).toContainText("1 of 2");
      await reply.getByRole("button", { name: "Next reply" }).click();
      await expect(reply).not.toHaveAttribute("data-message-id", id);
    }
  });

  for (const [fault, happen] of Object.entries({
    "a cut": (_chat: Chat, network: FaultProxy) => network.cut(),
    "a reload": (chat: Chat) => chat.reload(),
  })) {
    test(`that the server has not heard of before ${fault} happens by itself, once`, async ({
      chat,
      network,
      conversation,
    }) => {
      await chat.send("words 3 40");
      await chat.expectEnded(chat.lastReply);
      const first = await conversation.lastReply();
      network.stall("toServer");
      await chat.press("Regenerate");
      await expect(chat.lastReply).toHaveAttribute("data-status", "STREAMING");
      await happen(chat, network);
      await expect.poll(async () => (await conversation.lastReply()).id).not.toBe(first.id);
      await chat.expectEnded(chat.lastReply);
      await chat.expectSameAs(conversation);
      expect(conversation.calls()).toHaveLength(2);
    });
  }
});
