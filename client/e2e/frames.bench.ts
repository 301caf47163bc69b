import type { Chat } from "./chat";
import { expect, test } from "./test";

const LENGTH = 40_000;
const TOKENS_PER_SECOND = 400;
const THREAD = 1_000;
const LEAST_FRAMES = 55;
const MOST_LONG_TASKS_MS = 100;
const AFTERWARDS_MS = 2_000;

const ARTICLE = `markdown ${LENGTH} ${TOKENS_PER_SECOND}`;
const REPLIES = {
  "40 KB of Markdown at 400 tokens/s": ARTICLE,
  // The longer fence takes the article's own for code.
  "40 KB of code in one block at 400 tokens/s": `say \`\`\`\`python\n${ARTICLE}`,
};

// One after the other: they would take each other's frames.
test.describe.configure({ mode: "default" });

interface Figures {
  seconds: number;
  framesPerSecond: number;
  slowestSecond: number;
  longTasksMs: number;
  longestTaskMs: number;
}

/**
 * Counts the frames until the last reply ends, and long tasks until its code has got its colours, too. All of
 * it in the page: looking on from outside takes frames.
 */
function measure({ page }: Chat): Promise<Figures> {
  return page.evaluate(
    (afterwardsMs) =>
      new Promise((resolve) => {
        const reply = [...document.querySelectorAll<HTMLElement>("[data-message-id]")].at(-1);
        const frames: number[] = [];
        const tasks: number[] = [];
        new PerformanceObserver((list) => {
          for (const { duration } of list.getEntries()) tasks.push(duration);
        }).observe({ type: "longtask" });

        const count = (now: number) => {
          frames.push(now);
          if (reply?.dataset.status === "STREAMING") requestAnimationFrame(count);
          else setTimeout(report, afterwardsMs);
        };
        requestAnimationFrame(count);

        function report() {
          const [begin = 0] = frames;
          const seconds = ((frames.at(-1) ?? 0) - begin) / 1_000;
          const perSecond = new Array<number>(Math.floor(seconds)).fill(0);
          for (const frame of frames) {
            const second = Math.floor((frame - begin) / 1_000);
            if (second < perSecond.length) perSecond[second] = (perSecond[second] ?? 0) + 1;
          }
          resolve({
            seconds,
            framesPerSecond: (frames.length - 1) / seconds,
            slowestSecond: Math.min(...perSecond),
            longTasksMs: tasks.reduce((sum, task) => sum + task, 0),
            longestTaskMs: Math.max(0, ...tasks),
          });
        }
      }),
    AFTERWARDS_MS,
  );
}

for (const [what, order] of Object.entries(REPLIES)) {
  test(`${what}, in a thread of ${THREAD} messages`, async ({ openWindow, conversation }) => {
    const exchanges = Array.from({ length: THREAD / 2 - 1 }, (_, number) =>
      conversation.send(`say Answer **${number}** with some \`code\`, as short ones are.`),
    );
    await Promise.all(exchanges);
    await conversation.send("markdown 3000 100000");
    const chat = await openWindow();
    const earlier = chat.button("Show earlier messages");
    await expect(async () => {
      if (await earlier.isVisible()) await earlier.click({ timeout: 500 });
      await expect(chat.items).toHaveCount(THREAD, { timeout: 100 });
    }).toPass({ intervals: [0], timeout: 60_000 });

    await chat.send(order);
    await expect(chat.items).toHaveCount(THREAD + 2);
    const { seconds, framesPerSecond, slowestSecond, longTasksMs, longestTaskMs } =
      await measure(chat);
    await chat.expectEnded(chat.lastReply);
    expect(await chat.lastReply.locator("code .hljs-keyword").count()).toBeGreaterThan(0);
    console.log(
      [
        `${what}, ${await chat.items.count()} messages in the page, ${seconds.toFixed(1)} s`,
        `  frames per second   ${framesPerSecond.toFixed(1)} (the slowest second ${slowestSecond}; at least ${LEAST_FRAMES})`,
        `  long tasks, sum     ${longTasksMs.toFixed(0)} ms (less than ${MOST_LONG_TASKS_MS} ms)`,
        `  longest task        ${longestTaskMs.toFixed(0)} ms`,
      ].join("\n"),
    );
    expect(await chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
    expect(framesPerSecond).toBeGreaterThanOrEqual(LEAST_FRAMES);
    expect(longTasksMs).toBeLessThan(MOST_LONG_TASKS_MS);
  });
}
