import fc from "fast-check";
import { type MarkedToken, parser, type Tokens } from "marked";
import { expect, test } from "vitest";

import { DEEPEST, parse } from "./blocks";
import { closed, steady } from "./growing";
import { markdown } from "./markdown.arbitrary";

function html(text: string): string {
  return parse(steady(text))
    .blocks.map(({ token }, index, all) =>
      parser([index === all.length - 1 ? closed(token) : token]),
    )
    .join("")
    .trim();
}

test("what is shown of a growing text is its beginning, and never gets shorter", () => {
  fc.assert(
    fc.property(markdown, (text) => {
      let shown = "";
      for (let end = 0; end <= text.length; end++) {
        const next = steady(text.slice(0, end));
        expect(text.startsWith(next)).toBe(true);
        expect(next.startsWith(shown)).toBe(true);
        shown = next;
      }
    }),
    { numRuns: 1000 },
  );
}, 60_000);

test.each([
  ["Things:\n-", "<p>Things:</p>"],
  ["Things:\n- ", "<p>Things:</p>"],
  ["Text\n\n```", "<p>Text</p>"],
  ["| a | b |", ""],
  ["| a | b |\n|--", ""],
])("%j is not shown as what it will not be", (text, expected) => {
  expect(html(text)).toBe(expected);
});

test.each([
  ["so **bol", "<p>so <strong>bol</strong></p>"],
  ["**a `b", "<p><strong>a <code>b</code></strong></p>"],
  ["- one\n- **two", "<ul>\n<li>one</li>\n<li><strong>two</strong></li>\n</ul>"],
  ["> a `b c", "<blockquote>\n<p>a <code>b c</code></p>\n</blockquote>"],
  ["see [the rule](https://exam", "<p>see the rule</p>"],
])("%j is shown as what it is about to be", (text, expected) => {
  expect(html(text)).toBe(expected);
});

test.each(["2**3", "a ** b", "an array[i](", "it's `` odd", "x [1] (see", "f[a](b c"])(
  "%j is shown as it is",
  (text) => {
    expect(html(text)).toBe(parser(parse(text).blocks.map(({ token }) => token)).trim());
  },
);

test("beginnings of bold text in each other without end are no trouble", () => {
  const [block] = parse("**a ".repeat(10_000)).blocks;
  let token = closed(block?.token as MarkedToken) as Tokens.Generic | undefined;
  let depth = 0;
  for (; token; token = token.tokens?.at(-1)) depth++;
  expect(depth).toBeLessThanOrEqual(DEEPEST + 2);
});

test("code is left alone", () => {
  expect(html("```\na **b `c")).toBe("<pre><code>a **b `c\n</code></pre>");
});
