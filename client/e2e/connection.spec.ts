import type { Chat } from "./chat";
import { expect, test } from "./test";

/** How long a dead socket may go unnoticed. */
const WATCHDOG_MS = 8_000;

function pings(chat: Chat): number {
  return chat.sent.filter(({ type }) => type === "ping").length;
}

test.describe("the status", () => {
  test("says that the connection is live", async ({ chat }) => {
    await expect(chat.status).toHaveCount(1);
    await expect(chat.status).toContainText(/live/i);
  });

  test("counts down while it reconnects, and 'now' does so at once", async ({ chat, network }) => {
    network.refuse();
    network.cut();
    await expect(chat.status).toContainText(/reconnecting in \d+ s/i);
    // The waits double, and so one comes that is long enough to tell "now" from it.
    await expect(chat.status).toContainText(/reconnecting in [4-9] s/i, { timeout: 20_000 });
    network.resume();
    const { opened } = network;
    await chat.button(/now/i).click();
    await expect.poll(() => network.opened, { timeout: 1_000 }).toBeGreaterThan(opened);
    await chat.expectLive(2_000);
  });

  test("says when the machine is offline that the reply goes on on the server, and then that it is live again", async ({
    chat,
    network,
    conversation,
    context,
  }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    await context.setOffline(true);
    network.cut();
    await expect(chat.status).toContainText(/offline/i);
    await expect(chat.status).toContainText(/the reply goes on on the server/i);
    conversation.openGate("green");
    await expect.poll(async () => (await conversation.lastReply()).status).toBe("DONE");
    await context.setOffline(false);
    await chat.expectLive(3_000);
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
  });

  test("is live again after a server that was away", async ({ chat, network }) => {
    network.refuse();
    network.cut();
    await expect(chat.status).toContainText(/reconnecting/i);
    network.resume();
    await chat.expectLive();
    await chat.send("say hello");
    await chat.expectEnded(chat.lastReply);
  });
});

test.describe("a half-open socket", () => {
  test("is found within 8 s while a reply streams, and the reply goes on", async ({
    chat,
    network,
    conversation,
  }) => {
    const mistakes = await chat.watchGrowth();
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    const { opened } = network;
    network.stall();
    await expect.poll(() => network.opened, { timeout: WATCHDOG_MS }).toBeGreaterThan(opened);
    await chat.expectLive();
    await chat.expectGrowth(chat.lastReply);
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
    await chat.expectSameAs(conversation);
    expect(await mistakes()).toEqual([]);
  });

  test("is found within 8 s while nothing streams", async ({ chat, network }) => {
    const { opened } = network;
    network.stall();
    await expect.poll(() => network.opened, { timeout: WATCHDOG_MS }).toBeGreaterThan(opened);
    await chat.expectLive();
  });

  test("is found when only what comes from the server is lost", async ({
    chat,
    network,
    conversation,
  }) => {
    await chat.send("words until green");
    await chat.expectGrowth(chat.lastReply);
    const { opened } = network;
    network.stall("toBrowser");
    await expect.poll(() => network.opened, { timeout: WATCHDOG_MS }).toBeGreaterThan(opened);
    await chat.expectLive();
    conversation.openGate("green");
    await chat.expectEnded(chat.lastReply);
  });

  for (const [occasion, happen] of Object.entries({
    "the network comes back": () => window.dispatchEvent(new Event("online")),
    "the page becomes visible": () => document.dispatchEvent(new Event("visibilitychange")),
  })) {
    test(`is looked for at once when ${occasion}`, async ({ chat }) => {
      // Right after a ping the next one is seconds away, unless something happens.
      const before = pings(chat);
      await expect
        .poll(() => pings(chat), { timeout: WATCHDOG_MS, intervals: [20] })
        .toBeGreaterThan(before);
      const regular = pings(chat);
      await chat.page.evaluate(happen);
      await expect.poll(() => pings(chat), { timeout: 1_000 }).toBeGreaterThan(regular);
    });

    test(`is replaced sooner when ${occasion}`, async ({ chat, network }) => {
      const { opened } = network;
      network.stall();
      await chat.page.evaluate(happen);
      await expect.poll(() => network.opened, { timeout: WATCHDOG_MS / 2 }).toBeGreaterThan(opened);
      await chat.expectLive();
    });
  }

  test("is given up when it is new and never answered", async ({ chat, network }) => {
    network.hang();
    const { opened } = network;
    await expect.poll(() => network.opened, { timeout: 25_000 }).toBeGreaterThan(opened + 1);
    network.resume();
    await chat.expectLive();
  });
});

test("a slow network is no dead one", async ({ chat, network, conversation }) => {
  network.delay(700);
  const { opened } = network;
  await chat.send("words until green");
  await expect.poll(() => chat.words(chat.lastReply), { timeout: 15_000 }).toBeGreaterThan(300);
  expect(network.opened).toBe(opened);
  await expect(chat.status).toContainText(/live/i);
  conversation.openGate("green");
  await chat.expectEnded(chat.lastReply);
});

test("waits grow while the server is away, and two windows do not come back in step", async ({
  chat,
  openWindow,
  network,
}) => {
  const other = await openWindow();
  const attempts = new Map<Chat, number[]>([chat, other].map((window) => [window, []]));
  for (const [window, times] of attempts) {
    window.page.on("websocket", () => times.push(performance.now()));
    // Any wait may be next to nothing; of these, each is longer than the one before it.
    await window.page.evaluate(() => {
      const random = Math.random;
      Math.random = () => (1 + random()) / 2;
    });
  }
  network.refuse();
  network.cut();
  for (const times of attempts.values()) {
    await expect.poll(() => times.length, { timeout: 25_000 }).toBeGreaterThanOrEqual(5);
  }
  const [waits = [], others = []] = [...attempts.values()].map((times) =>
    times.slice(1).map((time, number) => time - (times[number] ?? 0)),
  );
  expect(waits[3]).toBeGreaterThan(waits[0] ?? 0);
  expect(others[3]).toBeGreaterThan(others[0] ?? 0);
  expect(waits.map(Math.round)).not.toEqual(others.map(Math.round));
  network.resume();
  await chat.page.evaluate(() => window.dispatchEvent(new Event("online")));
  await chat.expectLive();
});

test.describe("a send whose socket drops before the first chunk", () => {
  for (const [place, stall] of Object.entries({
    "after it reached the server": "toBrowser",
    "before it reached the server": "toServer",
  } as const)) {
    test(`${place}, makes one message, one reply and one call of the completion`, async ({
      chat,
      network,
      conversation,
    }) => {
      network.stall(stall);
      await chat.send("words 20 40");
      if (stall === "toBrowser") await expect.poll(() => conversation.messages()).toHaveLength(2);
      network.cut();
      await chat.expectEnded(chat.lastReply);
      expect(await chat.words(chat.lastReply)).toBe(20);
      expect(await conversation.messages()).toHaveLength(2);
      expect(conversation.calls()).toEqual(["words 20 40"]);
      await chat.expectSameAs(conversation);
    });
  }

  test("and is followed by a reload, is not lost", async ({ chat, network, conversation }) => {
    network.stall("toServer");
    await chat.send("words 20 40");
    await chat.reload();
    await chat.expectEnded(chat.lastReply);
    expect(conversation.calls()).toEqual(["words 20 40"]);
    await chat.expectSameAs(conversation);
  });
});

test("a send while the server is away is kept, and goes out when it is back", async ({
  chat,
  network,
  conversation,
}) => {
  network.refuse();
  network.cut();
  await expect(chat.status).toContainText(/reconnecting/i);
  await chat.send("say hello");
  await expect(chat.messages("USER")).toContainText("say hello");
  network.resume();
  await chat.expectEnded(chat.lastReply);
  expect(conversation.calls()).toEqual(["say hello"]);
  await chat.expectSameAs(conversation);
});

test("a stop while the server is away happens when it is back", async ({
  chat,
  network,
  conversation,
}) => {
  await chat.send("words until green");
  await chat.expectGrowth(chat.lastReply);
  network.refuse();
  network.cut();
  await chat.press("Stop");
  network.resume();
  await chat.expectEnded(chat.lastReply, "STOPPED");
  await chat.expectSameAs(conversation);
});
