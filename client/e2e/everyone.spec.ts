import AxeBuilder from "@axe-core/playwright";
import type { Locator } from "@playwright/test";
import type { Chat } from "./chat";
import { expect, test } from "./test";

async function expectNoFindings({ page }: Chat): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(
    violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join("\n")}`),
  ).toEqual([]);
}

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`axe finds nothing in the ${colorScheme} theme`, () => {
    // Without motion nothing is half faded in when axe looks.
    test.use({ colorScheme, contextOptions: { reducedMotion: "reduce" } });

    test("when the conversation is empty", async ({ chat }) => {
      await expectNoFindings(chat);
    });

    test("while a reply streams, and with a queued follow-up, and while it is interrupted", async ({
      chat,
    }) => {
      await chat.send("markdown 900 4000\nwords until green");
      await chat.expectGrowth(chat.lastReply);
      await expectNoFindings(chat);
      await chat.send("say the follow-up");
      await expectNoFindings(chat);
      await chat.press("Interrupt");
      await chat.expectUnavailable("Interrupt");
      await expectNoFindings(chat);
    });

    test("when replies are done, stopped and failed", async ({ chat }) => {
      await chat.send("markdown 900 4000");
      await chat.expectEnded(chat.lastReply);
      await chat.send("words until green");
      await expect(chat.replies).toHaveCount(2);
      await chat.expectGrowth(chat.lastReply);
      await chat.press("Stop");
      await chat.expectEnded(chat.lastReply, "STOPPED");
      await chat.send("say so far\nfail The model is being updated.");
      await expect(chat.replies).toHaveCount(3);
      await chat.expectEnded(chat.lastReply, "ERROR");
      await expectNoFindings(chat);
    });

    test("when a send was refused", async ({ chat }) => {
      await chat.send("x".repeat(32_769));
      await expect(chat.alert).toBeVisible();
      await expectNoFindings(chat);
    });

    test("while it reconnects, and while the machine is offline", async ({
      chat,
      network,
      context,
    }) => {
      network.refuse();
      network.cut();
      await expect(chat.status).toContainText(/reconnecting/i);
      await expectNoFindings(chat);
      await context.setOffline(true);
      await expect(chat.status).toContainText(/offline/i);
      await expectNoFindings(chat);
    });

    test("on a phone", async ({ chat }) => {
      await chat.page.setViewportSize({ width: 360, height: 640 });
      await chat.send("markdown 900 4000");
      await chat.expectEnded(chat.lastReply);
      await expectNoFindings(chat);
    });
  });
}

test.describe("with the keyboard alone", () => {
  async function tabTo({ page }: Chat, target: Locator, key = "Tab"): Promise<void> {
    const hasFocus = target.and(page.locator(":focus"));
    for (let presses = 0; presses < 40; presses++) {
      if ((await hasFocus.count()) > 0) return;
      await page.keyboard.press(key);
    }
    throw new Error(`${key} does not get to ${target}.`);
  }

  test("one can send, interrupt, resume, stop, copy, regenerate, clear and begin anew", async ({
    chat,
    conversation,
  }) => {
    const { keyboard } = chat.page;
    await tabTo(chat, chat.box);
    await keyboard.type("words until green");
    await tabTo(chat, chat.button("Send"));
    await keyboard.press("Enter");
    await chat.expectGrowth(chat.lastReply);
    await tabTo(chat, chat.button("Interrupt"));
    await keyboard.press("Space");
    await chat.expectUnavailable("Interrupt");
    await tabTo(chat, chat.button("Resume"));
    await keyboard.press("Enter");
    await chat.expectGrowth(chat.lastReply);
    await tabTo(chat, chat.button("Stop"));
    await keyboard.press("Space");
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await tabTo(chat, chat.button("Copy"), "Shift+Tab");
    await keyboard.press("Enter");
    await expect
      .poll(() => chat.page.evaluate(() => navigator.clipboard.readText()))
      .toContain("w0 w1");
    conversation.openGate("green");
    await tabTo(chat, chat.button("Regenerate"));
    await keyboard.press("Enter");
    await chat.expectEnded(chat.lastReply);
    await tabTo(chat, chat.button("Clear"));
    await keyboard.press("Enter");
    await expect(chat.items).toHaveCount(0);
    await tabTo(chat, chat.button("New conversation"), "Shift+Tab");
    await keyboard.press("Enter");
    await expect(chat.box).toBeFocused();
  });

  test("the focus is never lost to a button that went away", async ({ chat, conversation }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    for (const name of ["Interrupt", "Resume", "Stop"]) {
      await chat.button(name).focus();
      await chat.page.keyboard.press("Enter");
      await chat.expectUnavailable(name);
      await expect(chat.page.locator("body")).not.toBeFocused();
    }
    await chat.expectEnded(chat.lastReply, "STOPPED");
    await chat.expectSameAs(conversation);
  });

  test("one can see where the focus is", async ({ chat }) => {
    await chat.button("New conversation").focus();
    await chat.page.keyboard.press("Tab");
    const outline = await chat.page.locator(":focus").evaluate((element) => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
      return {
        outline: outlineStyle !== "none" && outlineWidth !== "0px",
        boxShadow: boxShadow !== "none",
      };
    });
    expect(outline.outline || outline.boxShadow).toBe(true);
  });
});

test.describe("a screen reader", () => {
  test("is told politely when a reply begins and ends, and not of each word", async ({
    chat,
    conversation,
  }) => {
    await chat.page.evaluate(() => {
      const spoken: string[] = [];
      Object.assign(window, { spoken });
      const note = () => {
        for (const region of document.querySelectorAll('[role="status"], [aria-live]')) {
          const text = region.textContent ?? "";
          if (!spoken.includes(text)) spoken.push(text);
        }
      };
      new MutationObserver(note).observe(document.body, {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply, 40);
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    const spoken = () =>
      chat.page.evaluate(() => (window as unknown as { spoken: string[] }).spoken);
    await expect.poll(async () => (await spoken()).join("\n")).toMatch(/finish|done|complete|end/i);
    expect((await spoken()).join("\n")).not.toMatch(/\bw\d+\b/);
    expect((await spoken()).length).toBeLessThan(12);
  });

  test("does not have the transcript read out as it grows", async ({ chat }) => {
    const isLive = await chat.list.evaluate((list) => {
      const region = list.closest("[aria-live], [role=log], [role=status], [role=alert]");
      return region !== null && region.getAttribute("aria-live") !== "off";
    });
    expect(isLive).toBe(false);
  });

  test("gets errors as alerts", async ({ chat }) => {
    await chat.send("fail The model is being updated.");
    await chat.expectEnded(chat.lastReply, "ERROR");
    await expect(chat.alert.filter({ hasText: "The model is being updated." })).toHaveCount(1);
  });
});

test.describe("a phone", () => {
  for (const width of [320, 390]) {
    test(`of ${width} pixels needs no sideways scrolling, whatever the reply holds`, async ({
      chat,
    }) => {
      await chat.page.setViewportSize({ width, height: 700 });
      await chat.send(
        `markdown 900 4000\nsay ${"long".repeat(100)}\nsay\nsay \`${"code".repeat(100)}\``,
      );
      await chat.expectEnded(chat.lastReply);
      const overflow = () =>
        chat.page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
      expect(await overflow()).toBe(0);
      for (const name of ["Send", "Clear"]) await expect(chat.button(name)).toBeInViewport();
      await expect(chat.box).toBeInViewport();
    });
  }
});

test.describe("who prefers reduced motion", () => {
  test.use({ contextOptions: { reducedMotion: "reduce" } });

  test("sees nothing move", async ({ chat }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    const moving = await chat.page.evaluate(() =>
      document
        .getAnimations()
        .filter(
          ({ playState, effect }) =>
            playState === "running" && Number(effect?.getComputedTiming().duration) > 20,
        )
        .map((animation) => (animation as CSSAnimation).animationName),
    );
    expect(moving).toEqual([]);
  });
});

test.describe("the theme", () => {
  /** From 0, which is black, to 255. */
  const brightness = ({ page }: Chat) =>
    page.evaluate(() => {
      let element = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
      const color = () => (element ? getComputedStyle(element).backgroundColor : "");
      while (element?.parentElement && color() === "rgba(0, 0, 0, 0)")
        element = element.parentElement;
      const [red = 0, green = 0, blue = 0] = color().match(/\d+/g)?.map(Number) ?? [];
      return (red + green + blue) / 3;
    });

  test("is the system's, and follows it when it changes", async ({ chat }) => {
    await chat.page.emulateMedia({ colorScheme: "dark" });
    await expect.poll(() => brightness(chat)).toBeLessThan(80);
    await chat.page.emulateMedia({ colorScheme: "light" });
    await expect.poll(() => brightness(chat)).toBeGreaterThan(200);
  });
});
