import fc from "fast-check";

const PIECES = [
  ..."abc \t#>-*+_=~`|:[]()<!&\\\"'1.)\n\n\n\n\r",
  ...["\n\n", "  \n", "    ", "- ", "* ", "1. ", "- [ ] ", "- [x] ", "> ", "## ", "---", "==="],
  ...[
    "```",
    "```js\n",
    "~~~",
    "**",
    "| a | b |\n",
    "|---|---|\n",
    "[a]",
    "[a]: /x\n",
    '[b]: /y "t',
  ],
  ...["<div>", "</div>", "<!--", "-->", "<pre>", "</pre>", "<b>", "&amp;", "https://a.b/c "],
  ...["\u00a0", "é", "👩‍👩‍👧"],
];

/** Texts in which every second thing is a part of some Markdown. */
export const markdown = fc
  .array(fc.constantFrom(...PIECES), { maxLength: 60 })
  .map((pieces) => pieces.join(""));
