import { expect, test } from "./test";

/** Numbers from 0 up to 1 that are the same for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const CUTS = 25;

// Four tests of 25 make the hundred, so that two workers can share them.
for (const part of [1, 2, 3, 4]) {
  test(`a text of awkward Unicode is exact after ${CUTS} random cuts, part ${part}`, async ({
    chat,
    openWindow,
    network,
    conversation,
  }) => {
    test.setTimeout(120_000);
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000) + part;
    test.info().annotations.push({ type: "seed", description: String(seed) });
    const random = randomNumbers(seed);
    const other = await openWindow();

    await chat.send(`unicode ${1_000 + Math.floor(random() * 1_000)} 200\nwords until green`);
    await conversation.begin("words until green");
    for (let cut = 0; cut < CUTS; cut++) {
      await network.cutAfter(1 + Math.floor(random() ** 3 * 8_000));
      // What the page hears when a network comes back; without it the waits would take most of the time.
      if (random() < 0.7) {
        for (const { page } of [chat, other])
          await page.evaluate(() => window.dispatchEvent(new Event("online")));
      }
    }
    conversation.openGate("green");

    for (const window of [chat, other]) {
      await window.expectLive(35_000);
      for (const number of [0, 1])
        await window.expectEnded(window.replies.nth(number), "DONE", 20_000);
      await window.expectSameAs(conversation);
      for (const [number, message] of (await conversation.messages()).entries()) {
        expect(await window.copy(window.items.nth(number))).toBe(message.content);
      }
    }
    expect(conversation.calls()).toHaveLength(2);
  });
}

test("a reply neither doubles nor jumps back nor freezes while its connection is cut", async ({
  chat,
  network,
  conversation,
}) => {
  const mistakes = await chat.watchGrowth();
  await chat.send("words until green");
  for (let cut = 0; cut < 8; cut++) {
    await chat.expectGrowth(chat.lastReply, 3);
    network.cut();
  }
  await chat.expectGrowth(chat.lastReply);
  conversation.openGate("green");
  await chat.expectEnded(chat.lastReply);
  await chat.expectSameAs(conversation);
  expect(await mistakes()).toEqual([]);
});

test("what a person sends is kept and shown exactly, awkward or not", async ({
  chat,
  conversation,
}) => {
  const content =
    "👩‍👩‍👧‍👦 é ñ שלום\u200f tab\there\r\n\n  two  spaces\n\t𝓐\u2028end <b>&amp;</b> ```";
  await chat.send(content);
  await chat.expectEnded(chat.lastReply);
  const kept = (await conversation.messages())[0]?.content ?? "";
  // A textarea knows only one kind of line break.
  expect(kept).toBe(content.replaceAll("\r\n", "\n"));
  expect(await chat.copy(chat.messages("USER"))).toBe(kept);
});
