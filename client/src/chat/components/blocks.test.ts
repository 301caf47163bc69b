import fc from "fast-check";
import { parser, type Token, type Tokens } from "marked";
import { expect, test } from "vitest";

import { DEEPEST, MOST_CELLS, type Parsed, parse } from "./blocks";
import { markdown } from "./markdown.arbitrary";

/** All that a reader could see of it. */
function look({ blocks }: Parsed) {
  return blocks.map(({ start, token }) => [start, parser([token])]);
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

function table(columns: number, rows: number): string {
  const row = (cell: string) => `${`|${cell}`.repeat(columns)}|\n`;
  return row("a") + row("-") + row("*b*").repeat(rows);
}

test("a table of more cells than anybody reads is plain text, found in no time", () => {
  expect(parse(table(5, 300)).blocks[0]?.token.type).toBe("table");
  for (const text of [table(1000, 100), table(2, MOST_CELLS), table(100_000, 0)]) {
    const began = performance.now();
    const { blocks } = parse(`${text}\nAnd then.\n`);
    expect(performance.now() - began).toBeLessThan(1000);
    expect(blocks.map(({ token }) => token.type)).toEqual(["paragraph", "paragraph"]);
  }
});

/** Texts with something in something in something …, or what looks like the beginning of it. */
const NESTED: [opening: string, closing: string, end?: string][] = [
  ["*a ", " b*"],
  ["**a ", " b**"],
  ["**", "**"],
  ["_a ", " b_"],
  ["~~a ", " b~~"],
  ["~a ~~b ", " c~~ d~"],
  ["*a **b ", " c** d*"],
  ["*a _b ", " c_ d*"],
  ["[", "]"],
  ["[a ", "](b)"],
  ["![a ", "](b)"],
  ["![a ", "][b]"],
  ["*a [b ", "](c) d*"],
  ["*a ", "", "b*"],
  ["_a ", "", "b_"],
  ["**a ", "", "b*"],
  ["***a ", "", "b**"],
  ["~~a ", "", "b~"],
  ["*a *b* ", "", "b*"],
  ["*a ", ""],
  ["*a ", "*"],
  ["*a _b ~~c ", "*_~~"],
  ["**a ", ""],
  ["", " a*"],
  ["~~a ", ""],
  ["[a](", ""],
  ["`a ``b ", ""],
  ["<a ", ""],
];

test.each(NESTED)("many %j before many %j are no trouble", (opening, closing, end = "") => {
  const text = `${opening.repeat(10_000)}x${closing.repeat(10_000)} ${end}\n\n[b]: /c`;
  const began = performance.now();
  const { blocks } = parse(text);
  expect(performance.now() - began).toBeLessThan(1000);
  expect(depthOf(blocks[0]?.token)).toBeLessThanOrEqual(DEEPEST + 2);
});

function depthOf(token: Token | undefined): number {
  const inner: Token[] = (token as Tokens.Generic).tokens ?? [];
  return 1 + Math.max(0, ...inner.map(depthOf));
}

test("emphasis that does not end leaves what comes after it alone", () => {
  const [block] = parse(`${"*a ".repeat(50)}_so_ **it** ~~is~~ b`).blocks;
  expect(parser(block ? [block.token] : [])).toMatch(
    /\*a <em>so<\/em> <strong>it<\/strong> <del>is<\/del> b/,
  );
});

test("what is nested too deeply is plain text", () => {
  const around = (text: string, times: number) => "*a ".repeat(times) + text + " b*".repeat(times);
  const [block] = parse(around("x", 20)).blocks;
  let token = block?.token as Tokens.Generic;
  while (token.tokens) token = token.tokens.at(token.tokens.length >> 1) as Tokens.Generic;
  expect(token.text).toBe(`a ${around("x", 20 - DEEPEST)} b`);
});

test("quotes and lists in each other without end are no trouble", () => {
  for (const marker of [">", "- ", "> - ", "1. "]) {
    const began = performance.now();
    parse(marker.repeat(20_000));
    expect(performance.now() - began).toBeLessThan(2000);
  }
});
