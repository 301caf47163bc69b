import "./theme.css";

import { afterEach, describe, expect, test } from "vitest";

const TEXT = 4.5;
const SHAPE = 3;

const GROUNDS = ["paper", "panel", "raised", "bubble", "hover"];
const PAIRS: [ink: string, ground: string, atLeast: number][] = [
  ...GROUNDS.flatMap((ground) =>
    ["ink", "ink-soft", "accent"].map((ink): [string, string, number] => [ink, ground, TEXT]),
  ),
  ["danger", "danger-soft", TEXT],
  ["danger", "raised", TEXT],
  ["on-accent", "accent", TEXT],
  ["outline", "paper", SHAPE],
  ["outline", "raised", SHAPE],
  ["warning", "paper", SHAPE],
  ...["keyword", "string", "number", "name", "type", "comment"].map(
    (part): [string, string, number] => [`code-${part}`, "panel", TEXT],
  ),
];

/** Relative luminance, as WCAG 2 has it. */
function luminance(name: string): number {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const channels =
    getComputedStyle(probe)
      .color.match(/[\d.]+/g)
      ?.slice(0, 3)
      .map(Number) ?? [];
  probe.remove();
  const [red = 0, green = 0, blue = 0] = channels.map((channel) => {
    const value = channel / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [lighter = 0, darker = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (lighter + 0.05) / (darker + 0.05);
}

afterEach(() => document.documentElement.removeAttribute("style"));

describe.each(["light", "dark"])("in the %s", (scheme) => {
  test.each(PAIRS)("%s can be made out on %s", (ink, ground, atLeast) => {
    document.documentElement.style.colorScheme = scheme;
    expect(contrast(ink, ground)).toBeGreaterThanOrEqual(atLeast);
  });
});
