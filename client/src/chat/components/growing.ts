import type { MarkedToken, Token, Tokens } from "marked";

import { DEEPEST } from "./blocks";

/**
 * A growing text without an end that would look like something else in a moment: `-` below a line
 * makes that a heading until an item follows, and a table's first row is prose until the second.
 */
export function steady(text: string): string {
  const start = text.lastIndexOf("\n", text.lastIndexOf("\n", text.lastIndexOf("\n") - 1) - 1) + 1;
  const lastLines = text.slice(start).replace(MARKERS_ONLY, "").replace(FIRST_ROW, "");
  return text.slice(0, start) + lastLines;
}

const MARKERS_ONLY = /(?<=(?:^|\n)[ \t]*)[-+*_=~`#]{1,3}[ \t]*$/;
const FIRST_ROW = /(?<=^|\n)(?<!(?:^|\n)\|[^\n]*\n)\|[^\n]*(?:\n[ \t|:-]*)?$/;

/** A block that may still grow, with what is open at its end closed: `**bol` is bold already. */
export function closed(token: MarkedToken): MarkedToken {
  switch (token.type) {
    case "list":
      return { ...token, items: withLast(token.items, (item) => inside(item, closedLast)) };
    case "blockquote":
      return inside(token, closedLast);
    case "paragraph":
    case "heading":
    case "text":
      return token.tokens
        ? inside({ ...token, tokens: token.tokens }, (tokens) => closedInline(tokens))
        : token;
    default:
      return token;
  }
}

function inside<Parent extends { tokens: Token[] }>(
  parent: Parent,
  change: (tokens: Token[]) => Token[],
): Parent {
  return { ...parent, tokens: change(parent.tokens) };
}

function closedLast(tokens: Token[]): Token[] {
  return withLast(tokens, (token) => closed(token as MarkedToken));
}

function withLast<Item>(items: Item[], change: (item: Item) => Item): Item[] {
  return items.map((item, index) => (index === items.length - 1 ? change(item) : item));
}

const OPENING = /(?<![\p{L}\p{N}*`])(?:(\*\*|`)(?![\s*`])|\[([^\][]+)\]\([^\s()]*$)/u;

function closedInline(tokens: Token[], depth = 0): Token[] {
  if (depth === DEEPEST) return tokens;
  for (const [index, token] of tokens.entries()) {
    const content = token.type === "text" ? (token as Tokens.Text).text : "";
    const opening = OPENING.exec(content);
    if (!opening) continue;
    const [{ length }, marker, label] = opening;
    const before = [...tokens.slice(0, index), ...text(content.slice(0, opening.index))];
    const rest = [...text(content.slice(opening.index + length)), ...tokens.slice(index + 1)];
    if (marker === "**")
      return [...before, { type: "strong", tokens: closedInline(rest, depth + 1) } as Token];
    const source = rest.map(({ raw }) => raw).join("");
    if (marker) return [...before, { type: "codespan", raw: source, text: source }];
    // The address of a link is of no interest until it is one.
    return source.includes(" ") ? tokens : [...before, ...text(label ?? "")];
  }
  return tokens;
}

function text(content: string): Tokens.Text[] {
  return content ? [{ type: "text", raw: content, text: content }] : [];
}
