import { Lexer, type MarkedToken, type Token, Tokenizer, type Tokens } from "marked";

/** A paragraph, a list, a code block … of a text. */
export interface Block {
  /** Where it begins in the text; the same for as long as the text only grows. */
  readonly start: number;
  readonly token: MarkedToken;
}

/** A text in blocks, and where to go on when the text has grown. */
export interface Parsed {
  readonly text: string;
  readonly blocks: readonly Block[];
  /** How much of the text makes the same blocks whatever is appended. */
  readonly settled: number;
}

const NOTHING: Parsed = { text: "", blocks: [], settled: 0 };

const AFTER_BLANK_LINE = /(?<=\n[ \t]*\n)/y;

/**
 * The text's blocks. Given what came out for its beginning, it looks only at what can have changed,
 * and keeps the objects of the blocks that did not; the result is the same.
 */
export function parse(source: string, before = NOTHING): Parsed {
  const text = source.replace(/\r\n?/g, "\n");
  const from = text.startsWith(before.text) ? before.settled : 0;
  const lexer = new LocalLexer({ gfm: true, tokenizer: new LocalTokenizer() });
  const tokens = lexer.lex(text.slice(from)) as MarkedToken[];
  // A link's definition reaches everywhere: a text that has one is parsed as a whole.
  const isDefining = Object.keys(lexer.tokens.links).length > 0;
  if (isDefining && from > 0) return parse(text, { ...before, settled: 0 });

  const old = new Map(before.blocks.map((block) => [block.start, block]));
  const blocks = before.blocks.filter(({ start }) => start < from);
  let settled = from;
  let start = from;
  for (const token of tokens) {
    if (token.type !== "space" && token.type !== "def") {
      AFTER_BLANK_LINE.lastIndex = start;
      // Markdown is decided line by line: once there is a blank line and a complete line behind it,
      // nothing that follows can change what came before.
      const isSettled = AFTER_BLANK_LINE.test(text) && text.includes("\n", start);
      if (isSettled && !isDefining) settled = start;
      blocks.push(shared(old.get(start), { start, token }));
    }
    start += token.raw.length;
  }
  return { text, blocks, settled };
}

/** The value, with the old objects in place of all that are equal. */
function shared<Value>(before: unknown, value: Value): Value {
  if (before === value || !isObject(before) || !isObject(value)) return value;
  const fields: Record<string, unknown> = value;
  const keys = Object.keys(fields);
  let isEqual = keys.length === Object.keys(before).length;
  for (const key of keys) {
    fields[key] = shared(before[key], fields[key]);
    isEqual &&= before[key] === fields[key];
  }
  return isEqual ? (before as Value) : value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** How deep quotes and lists, and again emphasis and links, stand in each other: below it is plain text. */
export const DEEPEST = 12;

/** How often in a paragraph emphasis may have no end: its whole rest is searched for it each time. */
const MOST_UNENDED = 100;

/** How many cells a table may have; a larger one is plain text. */
export const MOST_CELLS = 2000;

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

  override table(source: string) {
    const raw = paragraphOf(source);
    if (raw.split("|", MOST_CELLS).length < MOST_CELLS) return super.table(source);
    const plain = { type: "paragraph", raw, text: raw, tokens: [{ type: "text", raw, text: raw }] };
    return plain as unknown as Tokens.Table; // of any type: it becomes the next block
  }

  // The title of a definition could otherwise reach over blank lines, into blocks that are settled.
  override def(source: string) {
    return /^ {0,3}\[/.test(source) ? super.def(paragraphOf(source)) : undefined;
  }

  override emStrong(source: string, masked: string, before?: string) {
    return this.#ended(/^[*_]/.test(source), () => super.emStrong(source, masked, before));
  }

  override del(source: string, masked: string, before?: string) {
    return this.#ended(source.startsWith("~"), () => super.del(source, masked, before));
  }

  #ended<Result>(isBeginning: boolean, tokenize: () => Result): Result | undefined {
    const lexer = this.lexer as LocalLexer;
    if (!isBeginning || lexer.unended === MOST_UNENDED) return undefined;
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

function paragraphOf(source: string): string {
  return source.split(/(?<=\n[ \t]*\n)/, 1)[0] ?? "";
}
