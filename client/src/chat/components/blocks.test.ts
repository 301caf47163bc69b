import fc from "fast-check";
import { parser, type Tokens } from "marked";
import { expect, test } from "vitest";

import { type Parsed, parse } from "./blocks";
import { markdown } from "./markdown.arbitrary";

/** All that a reader could see of it. */
function look({ blocks }: Parsed) {
  return blocks.map(({ start, outline, token }) => [start, outline, parser([token])]);
}

// Milliseconds; the machine may be busy.
const PATIENCE = 60_000;

test(
  "a text parsed in any pieces gives the same blocks as the text parsed at once",
  () => {
    const pieces = fc.tuple(markdown, fc.array(fc.nat()));
    fc.assert(
      fc.property(pieces, ([text, cuts]) => {
        let parsed: Parsed | undefined;
        for (const end of cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b)) {
          parsed = parse(text.slice(0, end), parsed);
        }
        expect(look(parse(text, parsed))).toEqual(look(parse(text)));
      }),
      { numRuns: 1000 },
    );
  },
  PATIENCE,
);

test(
  "a text parsed letter by letter is right at every letter",
  () => {
    fc.assert(
      fc.property(markdown, (text) => {
        let parsed: Parsed | undefined;
        for (let end = 0; end <= text.length; end++) {
          parsed = parse(text.slice(0, end), parsed);
          expect(look(parsed)).toEqual(look(parse(text.slice(0, end))));
        }
      }),
      { numRuns: 500 },
    );
  },
  PATIENCE,
);

test("blocks that did not change stay the same objects", () => {
  const before = parse("# One\n\ntwo\n\n- three\n- four");
  const { blocks } = parse("# One\n\ntwo\n\n- three\n- four and five", before);
  expect(blocks[0]).toBe(before.blocks[0]);
  expect(blocks[1]).toBe(before.blocks[1]);
  expect(blocks[2]).not.toBe(before.blocks[2]);
  const [list, listBefore] = [blocks[2], before.blocks[2]].map((block) => block?.token);
  expect((list as Tokens.List).items[0]).toBe((listBefore as Tokens.List).items[0]);
});

test("a text that was healed is parsed anew", () => {
  const before = parse("one\n\ntwo\n\nthree\n\nfour");
  expect(look(parse("one\n\n# 2\n\nthree", before))).toEqual(look(parse("one\n\n# 2\n\nthree")));
});

test("a link definition at the end reaches the blocks before it", () => {
  const before = parse("See [the rule].\n\nMore.\n\nMore.\n");
  const { blocks } = parse(
    "See [the rule].\n\nMore.\n\nMore.\n\n[the rule]: https://a.b/\n",
    before,
  );
  expect(blocks[0]?.token).toHaveProperty("tokens.1.href", "https://a.b/");
  expect(blocks[1]).toBe(before.blocks[1]);
});

test("headings never leave out a level, whatever the text begins with", () => {
  const { blocks } = parse("### a\n\n## b\n\n#### c\n\n##### d\n\n## e\n");
  expect(blocks.map(({ outline }) => outline.length)).toEqual([1, 1, 2, 3, 1]);
});

test("quotes and lists in each other without end are no trouble", () => {
  for (const marker of [">", "- ", "> - ", "1. "]) {
    const began = performance.now();
    parse(marker.repeat(20_000));
    expect(performance.now() - began).toBeLessThan(2000);
  }
});
