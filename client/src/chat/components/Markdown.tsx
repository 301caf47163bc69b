import "./Markdown.css";

import type { MarkedToken, Token, Tokens } from "marked";
import { memo, type ReactNode, useRef } from "react";

import { type Parsed, parse } from "./blocks";
import { CodeBlock } from "./CodeBlock";
import { characters } from "./entities";
import { GrowingText } from "./GrowingText";
import { inOrder } from "./inOrder";

interface Props {
  text: string;
  isStreaming: boolean;
}

/** Markdown as elements: no HTML of its own, no images, and only what changed renders again. */
export const Markdown = memo(function Markdown({ text, isStreaming }: Props) {
  // Only a cache: whatever was parsed before, the result is the same.
  const before = useRef<Parsed>(undefined);
  const parsed = parse(isStreaming ? decided(text) : text, before.current);
  before.current = parsed;
  // Below the page's h1 and the message's h2, whatever the text begins with: no level is left out.
  let level = 2;
  return (
    <div className="markdown" data-streaming={isStreaming || undefined}>
      {parsed.blocks.map(({ start, token }) => {
        if (token.type === "heading") level = Math.min(token.depth + 2, level + 1, 6);
        return <Part key={start} token={token} level={level} />;
      })}
    </div>
  );
});

/** Without a last line of marks alone: `-` makes a heading of the line above it until an item follows. */
function decided(text: string): string {
  const start = text.lastIndexOf("\n") + 1;
  return /^[ \t]*[-+*_=~`#]{1,3}[ \t]*$/.test(text.slice(start)) ? text.slice(0, start) : text;
}

function parts(tokens: Token[]): ReactNode {
  return inOrder(tokens, (token) => <Part token={token as MarkedToken} />);
}

const Part = memo(function Part({ token, level }: { token: MarkedToken; level?: number }) {
  switch (token.type) {
    case "heading": {
      // In a quote or a list a heading has no place in the page's outline.
      const Heading = level ? (`h${level}` as "h3") : "p";
      return <Heading className={`depth-${token.depth}`}>{parts(token.tokens)}</Heading>;
    }
    case "paragraph":
      return <p>{parts(token.tokens)}</p>;
    case "code":
      return <CodeBlock code={token.text.replace(/\n$/, "")} language={token.lang ?? ""} />;
    case "blockquote":
      return <blockquote>{parts(token.tokens)}</blockquote>;
    case "list":
      return token.ordered ? (
        <ol start={token.start || 0}>{parts(token.items)}</ol>
      ) : (
        <ul>{parts(token.items)}</ul>
      );
    case "list_item":
      return <li className={token.task ? "task" : undefined}>{parts(token.tokens)}</li>;
    case "checkbox":
      return <input type="checkbox" checked={token.checked} disabled aria-label="Done" />;
    case "table":
      return <Table table={token} />;
    case "hr":
      return <hr />;
    case "br":
      return <br />;
    case "strong":
    case "em":
    case "del": {
      const Tag = token.type;
      return <Tag>{parts(token.tokens)}</Tag>;
    }
    case "codespan":
      return (
        <code>
          <GrowingText text={token.text} />
        </code>
      );
    case "link":
      return <Link href={targetOf(token)}>{parts(token.tokens)}</Link>;
    case "image":
      // Fetching it would tell another host who reads this.
      return <Link href={targetOf(token)}>{characters(token.text) || token.href}</Link>;
    case "html":
      return token.block ? (
        <p>
          <GrowingText text={token.text.trimEnd()} />
        </p>
      ) : (
        <GrowingText text={token.text} />
      );
    case "text":
      return token.tokens ? parts(token.tokens) : <GrowingText text={characters(token.text)} />;
    case "escape":
      return token.text;
    default:
      return null;
  }
});

function Table({ table: { header, rows } }: { table: Tokens.Table }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table scrolls, also by the keyboard
    <div className="wide" tabIndex={0}>
      <table>
        <thead>
          <Row cells={header} />
        </thead>
        <tbody>
          {inOrder(rows, (cells) => (
            <Row cells={cells} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

const Row = memo(function Row({ cells }: { cells: Tokens.TableCell[] }) {
  const cellOf = ({ header, align, tokens }: Tokens.TableCell) => {
    const Cell = header ? "th" : "td";
    return <Cell className={align ?? undefined}>{parts(tokens)}</Cell>;
  };
  return <tr>{inOrder(cells, cellOf)}</tr>;
});

// A bare address has no entities: `&copy=` is a part of it.
function targetOf({ raw, href }: { raw: string; href: string }): string {
  return /^!?\[/.test(raw) ? characters(href) : href;
}

function Link({ href, children }: { href: string; children: ReactNode }) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(href)) return children;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}
