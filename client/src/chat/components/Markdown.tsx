import "./Markdown.css";

import type { MarkedToken, Token, Tokens } from "marked";
import { memo, type ReactNode, useRef } from "react";

import { type Block, type Parsed, parse } from "./blocks";
import { CodeBlock } from "./CodeBlock";
import { characters } from "./entities";
import { GrowingText } from "./GrowingText";
import { closed, steady } from "./growing";
import { inOrder } from "./inOrder";

interface Props {
  text: string;
  isStreaming: boolean;
}

/** Markdown as elements: no HTML of its own, no images, and only what changed renders again. */
export const Markdown = memo(function Markdown({ text, isStreaming }: Props) {
  // Only a cache: whatever was parsed before, the result is the same.
  const before = useRef<Parsed>(undefined);
  const parsed = parse(isStreaming ? steady(text) : text, before.current);
  before.current = parsed;
  return (
    <div className="markdown" data-streaming={isStreaming || undefined}>
      {parsed.blocks.map((block, index) => (
        <TopBlock
          key={block.start}
          block={block}
          isGrowing={isStreaming && index === parsed.blocks.length - 1}
        />
      ))}
    </div>
  );
});

const TopBlock = memo(function TopBlock({
  block,
  isGrowing,
}: {
  block: Block;
  isGrowing: boolean;
}) {
  const { outline } = block;
  const token = isGrowing ? closed(block.token) : block.token;
  if (token.type !== "heading") return blockOf(token);
  // Below the page's h1 and the message's h2, whatever the text begins with: no level is left out.
  const Heading = `h${Math.min(outline.length + 2, 6)}` as "h3" | "h4" | "h5" | "h6";
  return <Heading className={`depth-${token.depth}`}>{inline(token.tokens)}</Heading>;
});

function blockOf(token: MarkedToken): ReactNode {
  switch (token.type) {
    case "paragraph":
      return <p>{inline(token.tokens)}</p>;
    case "text":
      return token.tokens ? inline(token.tokens) : <GrowingText text={token.text} />;
    case "heading":
      // In a quote or a list a heading has no place in the page's outline.
      return <p className={`depth-${token.depth}`}>{inline(token.tokens)}</p>;
    case "code":
      return <CodeBlock code={token.text.replace(/\n$/, "")} language={token.lang ?? ""} />;
    case "blockquote":
      return <blockquote>{nested(token.tokens)}</blockquote>;
    case "list":
      return <List list={token} />;
    case "table":
      return <Table table={token} />;
    case "hr":
      return <hr />;
    case "html":
      return (
        <p>
          <GrowingText text={token.text.trimEnd()} />
        </p>
      );
    case "checkbox":
      return <Checkbox isChecked={token.checked} />;
    default:
      return null;
  }
}

function nested(tokens: Token[]): ReactNode {
  return inOrder(tokens, (token) => <NestedBlock token={token as MarkedToken} />);
}

const NestedBlock = memo(function NestedBlock({ token }: { token: MarkedToken }) {
  return blockOf(token);
});

function List({ list }: { list: Tokens.List }) {
  const items = inOrder(list.items, (item) => <Item item={item} />);
  return list.ordered ? <ol start={list.start || 0}>{items}</ol> : <ul>{items}</ul>;
}

const Item = memo(function Item({ item }: { item: Tokens.ListItem }) {
  return <li className={item.task ? "task" : undefined}>{nested(item.tokens)}</li>;
});

function Checkbox({ isChecked }: { isChecked: boolean }) {
  return (
    <input type="checkbox" checked={isChecked} disabled aria-label={isChecked ? "Done" : "To do"} />
  );
}

function Table({ table }: { table: Tokens.Table }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table scrolls, also by the keyboard
    <div className="wide" tabIndex={0}>
      <table>
        <thead>
          <Row cells={table.header} />
        </thead>
        <tbody>
          {inOrder(table.rows, (cells) => (
            <Row cells={cells} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

const Row = memo(function Row({ cells }: { cells: Tokens.TableCell[] }) {
  return (
    <tr>
      {inOrder(cells, (cell) => (
        <Cell cell={cell} />
      ))}
    </tr>
  );
});

function Cell({ cell: { header, align, tokens } }: { cell: Tokens.TableCell }) {
  const Tag = header ? "th" : "td";
  return <Tag className={align ?? undefined}>{inline(tokens)}</Tag>;
}

function inline(tokens: Token[]): ReactNode {
  return inOrder(tokens, (token) => inlineOf(token as MarkedToken));
}

function inlineOf(token: MarkedToken): ReactNode {
  switch (token.type) {
    case "strong":
      return <strong>{inline(token.tokens)}</strong>;
    case "em":
      return <em>{inline(token.tokens)}</em>;
    case "del":
      return <del>{inline(token.tokens)}</del>;
    case "codespan":
      return <code>{<GrowingText text={token.text} />}</code>;
    case "br":
      return <br />;
    case "link":
      return <Link href={token.href}>{inline(token.tokens)}</Link>;
    case "image":
      // Fetching it would tell another host who reads this.
      return <Link href={token.href}>{characters(token.text) || token.href}</Link>;
    case "html":
      return <GrowingText text={token.text} />;
    case "checkbox":
      return <Checkbox isChecked={token.checked} />;
    case "text":
    case "escape":
      return <GrowingText text={characters(token.text)} />;
    default:
      return null;
  }
}

function Link({ href, children }: { href: string; children: ReactNode }) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(href)) return children;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}
