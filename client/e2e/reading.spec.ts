import type { Locator } from "@playwright/test";
import { expect, test } from "./test";

const LINES = 'say one\nsay two\nsay three\nsay\nsay ```python\nsay print("hi")\nsay ```';

/** How far a list's end is below what can be seen. */
function below(list: Locator): Promise<number> {
  return list.evaluate((element) => {
    let scroller: Element = element;
    while (scroller.parentElement && scroller.scrollHeight <= scroller.clientHeight + 1) {
      scroller = scroller.parentElement;
    }
    return scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
  });
}

test.describe("Markdown", () => {
  test("is shown as headings, lists, tables, quotes, links and highlighted code", async ({
    chat,
  }) => {
    await chat.send("markdown 1 4000");
    const reply = chat.lastReply;
    await chat.expectEnded(reply);
    await expect(
      reply.getByRole("heading", { name: "1. A queue that forgets nothing" }),
    ).toBeVisible();
    await expect(
      reply.getByRole("listitem").filter({ hasText: "from the database" }).last(),
    ).toBeVisible();
    await expect(reply.getByRole("cell", { name: "SQLite" })).toBeVisible();
    await expect(reply.getByRole("blockquote")).toContainText("never late");
    await expect(reply.getByRole("strong")).toHaveText("all at once");
    const link = reply.getByRole("link", { name: "left" });
    await expect(link).toHaveAttribute("href", "https://example.com/1");
    await expect(link).toHaveAttribute("rel", /noopener/);
    await expect(link).toHaveAttribute("rel", /noreferrer/);
    await expect(reply.locator("pre code")).toContainText("while position < len(log):");
    await expect(reply.locator("pre code span").filter({ hasText: /^while$/ })).toHaveCount(1);
  });

  test("is rendered as it comes", async ({ chat, conversation }) => {
    await chat.send("say # Title\nsay\nsay Some **bold** text.\nhold green\nsay\nsay The end.");
    await expect(chat.lastReply.getByRole("heading", { name: "Title" })).toBeVisible();
    await expect(chat.lastReply.getByRole("strong")).toHaveText("bold");
    await expect(chat.lastReply).toHaveAttribute("data-status", "STREAMING");
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    await expect(chat.lastReply).toContainText("The end.");
  });

  test("brings no HTML, no script, no remote image and no foreign request", async ({ chat }) => {
    await chat.send(
      [
        'say <img src="http://images.example/a.png" onerror="document.title = 1"><b id="raw">raw</b>',
        "say",
        "say ![a picture](http://images.example/b.png) ![d](data:image/svg+xml,x)",
        "say",
        "say [good](https://example.com) [bad](javascript:alert(1)) [odd](data:text/html,x) [v](vbscript:x)",
        "say",
        "say <script>document.title = 2</script><style>body{display:none}</style><iframe src=/x></iframe>",
      ].join("\n"),
    );
    const reply = chat.lastReply;
    await chat.expectEnded(reply);
    await expect(reply.getByRole("link", { name: "good" })).toBeVisible();
    await expect(reply.locator("img, script, style, iframe, #raw")).toHaveCount(0);
    await expect(
      reply.locator('a[href^="javascript:"], a[href^="data:"], a[href^="vbscript:"]'),
    ).toHaveCount(0);
    await expect(reply).toContainText("raw");
    await expect(chat.page).not.toHaveTitle(/^[12]$/);
  });

  test("in what a person wrote brings no HTML either", async ({ chat }) => {
    await chat.send(
      'say hi <img src="http://images.example/a.png"> ![x](http://images.example/b.png)',
    );
    await chat.expectEnded(chat.lastReply);
    await expect(chat.list.locator("img")).toHaveCount(0);
    await expect(chat.messages("USER")).toContainText("<img");
  });
});

test.describe("the text of a reply that grows", () => {
  test("stays selected where the reader selected it", async ({ chat, conversation }) => {
    await chat.send("say The reader selects this.\nsay\nwords until green");
    await expect(chat.lastReply).toContainText("The reader selects this.");
    await chat.lastReply.getByText("The reader selects this.").selectText();
    await chat.expectGrowth(chat.lastReply, 40);
    expect(await chat.page.evaluate(() => String(getSelection()).trim())).toBe(
      "The reader selects this.",
    );
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    expect(await chat.page.evaluate(() => String(getSelection()).trim())).toBe(
      "The reader selects this.",
    );
  });

  test("stays selected in the paragraph that grows", async ({ chat, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply, 10);
    await chat.lastReply.evaluate((reply) => {
      const texts = document.createTreeWalker(reply, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const node = texts.currentNode as Text;
        const begin = node.data.indexOf("w2 w3 w4");
        if (begin >= 0) getSelection()?.setBaseAndExtent(node, begin, node, begin + 8);
      }
    });
    await chat.expectGrowth(chat.lastReply, 40);
    expect(await chat.page.evaluate(() => String(getSelection()))).toBe("w2 w3 w4");
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    expect(await chat.page.evaluate(() => String(getSelection()))).toBe("w2 w3 w4");
  });

  test("can be copied before its end", async ({ chat }) => {
    await chat.send("say The reader copies this.\nsay\nwords until green");
    await chat.expectGrowth(chat.lastReply, 10);
    await chat.lastReply.getByText("The reader copies this.").selectText();
    await chat.page.keyboard.press("Control+c");
    await expect
      .poll(() => chat.page.evaluate(() => navigator.clipboard.readText()))
      .toMatch(/^The reader copies this\.\s*$/);
    await expect(chat.lastReply).toHaveAttribute("data-status", "STREAMING");
  });
});

test.describe("copying", () => {
  test("a message gives its text as it was written", async ({ chat, conversation }) => {
    await chat.send(LINES);
    await chat.expectEnded(chat.lastReply);
    expect(await chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
    expect(await chat.copy(chat.messages("USER"))).toBe(LINES);
  });

  test("a block of code gives the code alone", async ({ chat }) => {
    await chat.send(LINES);
    await chat.expectEnded(chat.lastReply);
    await chat.lastReply.getByRole("button", { name: "Code to clipboard" }).click();
    await expect
      .poll(() => chat.page.evaluate(() => navigator.clipboard.readText()))
      .toMatch(/^print\("hi"\)\n?$/);
  });
});

test.describe("the end of the thread", () => {
  const wayDown = "Jump to the latest";

  test("is followed while the reader is there", async ({ chat, conversation }) => {
    await chat.send("markdown 6000 800\nwords until green");
    await expect
      .poll(() => chat.lastReply.evaluate((reply) => reply.clientHeight))
      .toBeGreaterThan(1_000);
    await expect.poll(() => below(chat.list)).toBeLessThan(60);
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply, "DONE", 15_000);
    await expect.poll(() => below(chat.list)).toBeLessThan(60);
    await expect(chat.button(wayDown)).toHaveCount(0);
  });

  test("lets the reader stay where they scrolled to, with a way back down", async ({
    chat,
    conversation,
  }) => {
    await chat.send("markdown 6000 2000\nwords until green");
    await expect
      .poll(() => chat.lastReply.evaluate((reply) => reply.clientHeight))
      .toBeGreaterThan(1_500);
    await chat.lastReply.hover();
    await chat.page.mouse.wheel(0, -800);
    await expect(chat.button(wayDown)).toBeVisible();
    const heading = chat.lastReply.getByRole("heading").first();
    const place = async () => (await heading.boundingBox())?.y;
    await expect.poll(() => below(chat.list)).toBeGreaterThan(400);
    const before = await place();
    await expect(chat.lastReply).toContainText("w40");
    expect(await place()).toBe(before);
    await chat.button(wayDown).click();
    await expect.poll(() => below(chat.list)).toBeLessThan(60);
    await expect(chat.button(wayDown)).toHaveCount(0);
    await chat.expectGrowth(chat.lastReply, 20);
    await expect.poll(() => below(chat.list)).toBeLessThan(60);
    conversation.openGate("green");
  });
});

test.describe("a thread of 1,100 messages", () => {
  test("opens at its end, and shows what came before to who scrolls up", async ({
    chat,
    openWindow,
    server,
  }) => {
    test.setTimeout(60_000);
    const long = server.conversation(`long-${crypto.randomUUID()}`);
    await long.send("say the first answer");
    const between = Array.from({ length: 548 }, (_, number) => long.send(`say answer ${number}`));
    await Promise.all(between);
    await long.send("say the last answer");
    const window = await openWindow(long.id);
    await expect(window.lastReply).toContainText("the last answer");
    await expect.poll(() => below(window.list)).toBeLessThan(60);
    await expect(async () => {
      await window.items.first().scrollIntoViewIfNeeded({ timeout: 500 });
      await window.page.mouse.wheel(0, -10_000);
      const earlier = window.button("Show earlier messages");
      if (await earlier.isVisible()) await earlier.click({ timeout: 500 });
      await expect(window.items.first()).toContainText("the first answer", { timeout: 250 });
    }).toPass({ timeout: 30_000 });
    await long.clear();
    await expect(window.items).toHaveCount(0);
    await expect(chat.items).toHaveCount(0);
  });
});
