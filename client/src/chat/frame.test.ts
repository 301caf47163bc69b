import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { oncePerFrame } from "./frame";

let frames: Map<number, () => void>;

beforeEach(() => {
  vi.useFakeTimers();
  frames = new Map();
  vi.stubGlobal("requestAnimationFrame", (draw: () => void) => {
    frames.set(frames.size + 1, draw);
    return frames.size;
  });
  vi.stubGlobal("cancelAnimationFrame", (frame: number) => frames.delete(frame));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("what is asked for many times is written once, with the next frame", () => {
  const write = vi.fn();
  const writeSoon = oncePerFrame(write);
  for (let times = 0; times < 100; times++) writeSoon();
  expect(write).not.toHaveBeenCalled();
  frames.get(1)?.();
  vi.runAllTimers();
  expect(write).toHaveBeenCalledOnce();

  writeSoon();
  expect(vi.getTimerCount()).toBe(1);
});

test("a page that is hidden, and draws no frames, is written all the same", () => {
  const write = vi.fn();
  oncePerFrame(write)();
  vi.advanceTimersByTime(1000);
  expect(write).toHaveBeenCalledOnce();
  expect(frames.size).toBe(0);
});
