import { Lexer, type MarkedToken, type Token, Tokenizer } from "marked";

/** A paragraph, a list, a code block … of a text. */
export interface Block {
  /** Where it begins in the text; the same for as long as the text only grows. */
  readonly start: number;
  readonly token: MarkedToken;
  /** The depths of the headings that it stands under, itself included. */
  readonly outline: readonly number[];
}

/** A text in blocks, and what it takes to go on from there when the text has grown. */
export interface Parsed {
  readonly text: string;
  readonly blocks: readonly Block[];
  /** How many blocks, and how much text, no appended text can change. */
  readonly settled: { readonly count: number; readonly end: number; readonly links: Links };
  /** All link definitions; one that comes late changes the blocks before it. */
  readonly definitions: string;
}

type Links = Lexer["tokens"]["links"];

const NOTHING: Parsed = {
  text: "",
  blocks: [],
  settled: { count: 0, end: 0, links: {} },
  definitions: "{}",
};

const AFTER_BLANK_LINE = /(?<=\n[ \t]*\n)/y;

/**
 * The text's blocks. Given what came out for its beginning, it looks only at what can have changed,
 * and keeps the objects of the blocks that did not; the result is the same.
 */
export function parse(source: string, before: Parsed = NOTHING): Parsed {
  const text = source.replace(/\r\n?/g, "\n");
  const from = text.startsWith(before.text) ? before.settled : NOTHING.settled;

  const lexer = new LocalLexer({ gfm: true, tokenizer: new LocalTokenizer() });
  Object.assign(lexer.tokens.links, from.links);
  const tokens = lexer.lex(text.slice(from.end)) as MarkedToken[];
  const definitions = JSON.stringify(lexer.tokens.links);
  if (from.end > 0 && definitions !== before.definitions) {
    return keep(parse(text), before);
  }

  const blocks = before.blocks.slice(0, from.count);
  const links = { ...from.links };
  let settled = from;
  let start = from.end;
  for (const token of tokens) {
    if (token.type === "def") {
      links[token.tag] ??= { href: token.href, title: token.title };
    } else if (token.type !== "space") {
      AFTER_BLANK_LINE.lastIndex = start;
      // Markdown is decided line by line: once there is a blank line and a complete line behind it,
      // nothing that follows can change what came before.
      if (AFTER_BLANK_LINE.test(text) && text.includes("\n", start)) {
        settled = { count: blocks.length, end: start, links: { ...links } };
      }
      const above = blocks.at(-1)?.outline ?? [];
      blocks.push({
        start,
        token,
        outline:
          token.type === "heading"
            ? [...above.filter((depth) => depth < token.depth), token.depth]
            : above,
      });
    }
    start += token.raw.length;
  }
  return keep({ text, blocks, settled, definitions }, before);
}

/** The new blocks, with the old objects in place of all that are equal. */
function keep(parsed: Parsed, before: Parsed): Parsed {
  const old = new Map(before.blocks.map((block) => [block.start, block]));
  return { ...parsed, blocks: parsed.blocks.map((block) => shared(old.get(block.start), block)) };
}

function shared<Value>(before: unknown, value: Value): Value {
  if (before === value || !isObject(before) || !isObject(value)) return value;
  const fields: Fields = value;
  const keys = Object.keys(fields);
  let isEqual = keys.length === Object.keys(before).length;
  for (const key of keys) {
    fields[key] = shared(before[key], fields[key]);
    isEqual &&= before[key] === fields[key];
  }
  return isEqual ? (before as Value) : value;
}

type Fields = Record<string, unknown>;

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

/** How deep quotes and lists, and again emphasis and links, stand in each other: below it is plain text. */
export const DEEPEST = 12;

/** How often in a paragraph emphasis may have no end: its whole rest is searched for it each time. */
const UNENDED = 100;

class LocalLexer extends Lexer {
  #depth = 0;
  unended = 0;

  override inlineTokens(source: string, tokens?: Token[]): Token[] {
    if (this.#depth === DEEPEST) return [{ type: "text", raw: source, text: source }];
    if (this.#depth++ === 0) this.unended = 0;
    const found = super.inlineTokens(source, tokens);
    this.#depth--;
    return found;
  }
}

/** Keeps every block within its limits, so that a text can be parsed in pieces and in bounded time. */
class LocalTokenizer extends Tokenizer {
  #depth = 0;

  override blockquote(source: string) {
    return this.#nested(() => super.blockquote(source));
  }

  override list(source: string) {
    return this.#nested(() => super.list(source));
  }

  override emStrong(source: string, masked: string, before?: string) {
    return this.#ended(/^[*_]/.test(source), () => super.emStrong(source, masked, before));
  }

  override del(source: string, masked: string, before?: string) {
    return this.#ended(source.startsWith("~"), () => super.del(source, masked, before));
  }

  // The title of a definition could otherwise reach over blank lines, into blocks that are settled.
  override def(source: string) {
    if (!/^ {0,3}\[/.test(source)) return undefined;
    return super.def(source.split(/(?<=\n[ \t]*\n)/, 1)[0] ?? "");
  }

  #ended<Result>(isBeginning: boolean, tokenize: () => Result): Result | undefined {
    const lexer = this.lexer as LocalLexer;
    if (!isBeginning || lexer.unended === UNENDED) return undefined;
    const result = tokenize();
    if (!result) lexer.unended++;
    return result;
  }

  #nested<Result>(tokenize: () => Result): Result | undefined {
    if (this.#depth === DEEPEST) return undefined;
    this.#depth++;
    try {
      return tokenize();
    } finally {
      this.#depth--;
    }
  }
}
