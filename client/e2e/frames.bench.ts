import type { Chat } from "./chat";
import { expect, test } from "./test";

const LENGTH = 40_000;
const TOKENS_PER_SECOND = 400;
const THREAD = 1_000;

interface Figures {
  seconds: number;
  framesPerSecond: number;
  slowestSecond: number;
  longTasksMs: number;
  longestTaskMs: number;
}

/** Counts frames and long tasks in the page until told to stop. */
async function measure({ page }: Chat): Promise<() => Promise<Figures>> {
  await page.evaluate(() => {
    const frames: number[] = [];
    const tasks: number[] = [];
    const count = (now: number) => {
      frames.push(now);
      requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    }).observe({ type: "longtask" });
    Object.assign(window, { frames, tasks });
  });
  return () =>
    page.evaluate(() => {
      const { frames, tasks } = window as unknown as { frames: number[]; tasks: number[] };
      const begin = frames[0] ?? 0;
      const seconds = ((frames.at(-1) ?? 0) - begin) / 1_000;
      const perSecond = new Array<number>(Math.floor(seconds)).fill(0);
      for (const frame of frames) {
        const second = Math.floor((frame - begin) / 1_000);
        if (second < perSecond.length) perSecond[second] = (perSecond[second] ?? 0) + 1;
      }
      return {
        seconds,
        framesPerSecond: (frames.length - 1) / seconds,
        slowestSecond: Math.min(...perSecond),
        longTasksMs: tasks.reduce((sum, task) => sum + task, 0),
        longestTaskMs: Math.max(0, ...tasks),
      };
    });
}

test(`${LENGTH / 1_000} KB of Markdown at ${TOKENS_PER_SECOND} tokens/s, in a thread of ${THREAD} messages`, async ({
  openWindow,
  conversation,
}) => {
  const exchanges = Array.from({ length: THREAD / 2 - 1 }, (_, number) =>
    conversation.send(`say Answer **${number}** with some \`code\`, as short ones are.`),
  );
  await Promise.all(exchanges);
  await conversation.send("markdown 3000 100000");
  const chat = await openWindow();
  await expect(chat.lastReply).toContainText("never late");
  const question = `markdown ${LENGTH} ${TOKENS_PER_SECOND}`;
  await chat.send(question);
  await expect(chat.messages("USER").last()).toContainText(question);
  const figures = await measure(chat);
  await chat.expectEnded(chat.lastReply, "DONE", 60_000);
  const { seconds, framesPerSecond, slowestSecond, longTasksMs, longestTaskMs } = await figures();
  console.log(
    [
      `${question}, in a thread of ${THREAD} messages, ${seconds.toFixed(1)} s`,
      `  frames per second   ${framesPerSecond.toFixed(1)} (the slowest second ${slowestSecond}; the aim is 55)`,
      `  long tasks, sum     ${longTasksMs.toFixed(0)} ms (the aim is under 100 ms)`,
      `  longest task        ${longestTaskMs.toFixed(0)} ms`,
    ].join("\n"),
  );
  expect(await chat.copy(chat.lastReply)).toBe((await conversation.lastReply()).content);
});
