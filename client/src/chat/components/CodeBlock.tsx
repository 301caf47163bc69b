import "./CodeBlock.css";

import {
  memo,
  type ReactNode,
  type RefObject,
  startTransition,
  useEffect,
  useRef,
  useState,
} from "react";

import { CopyButton } from "./CopyButton";
import { GrowingText } from "./GrowingText";
import type { Highlighted } from "./highlight";
import { inOrder } from "./inOrder";

interface Props {
  code: string;
  /** What stands behind the fence. */
  language: string;
}

export const CodeBlock = memo(function CodeBlock({ code, language }: Props) {
  const name = language.split(/[\s,:{]/, 1)[0] ?? "";
  const element = useRef<HTMLElement>(null);
  const highlighted = useHighlighted(element, code, name.toLowerCase());
  // What has come since is shown plain.
  const isUsable = code.startsWith(highlighted.code);
  return (
    <div className="code-block">
      <div className="bar">
        <span>{name || "text"}</span>
        <CopyButton name="Code to clipboard" text={code} />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, also by the keyboard */}
      <pre tabIndex={0}>
        <code ref={element}>
          {isUsable && elements(highlighted.nodes)}
          <GrowingText key="rest" text={isUsable ? code.slice(highlighted.code.length) : code} />
        </code>
      </pre>
    </div>
  );
});

function elements(nodes: Highlighted): ReactNode {
  return inOrder(nodes, (node) => {
    if (node.type === "text") return node.value;
    if (node.type !== "element") return null;
    const classes = node.properties.className as string[];
    return <span className={classes.join(" ")}>{elements(node.children as Highlighted)}</span>;
  });
}

const PAUSE_MS = 150;
// Longer code takes too long to be highlighted again and again: it waits until nothing more comes.
const LONG = 6000;
const REST_MS = 600;

/** Highlighted code, which is a little older than the code while that grows; empty at first. */
function useHighlighted(element: RefObject<HTMLElement | null>, code: string, language: string) {
  const [highlighted, setHighlighted] = useState({ code: "", nodes: [] as Highlighted });
  const latest = useRef(code);
  const isOutdated = highlighted.code !== code;

  useEffect(() => {
    latest.current = code;
  }, [code]);

  useEffect(() => {
    if (!isOutdated || !language || !element.current) return;
    let timer: ReturnType<typeof setTimeout>;
    let before = "";

    async function look() {
      const { highlight } = await import("./highlight");
      const now = latest.current;
      if ((now.length > LONG && now !== before) || isSelected(element.current)) {
        before = now;
        timer = setTimeout(look, REST_MS);
        return;
      }
      const nodes = highlight(now, language);
      // A transition is rendered in slices, between the frames.
      if (nodes) startTransition(() => setHighlighted({ code: now, nodes }));
    }

    const visibility = new IntersectionObserver(
      ([entry]) => {
        clearTimeout(timer);
        if (entry?.isIntersecting) timer = setTimeout(look, highlighted.code ? PAUSE_MS : 0);
      },
      { rootMargin: "500px" },
    );
    visibility.observe(element.current);
    return () => {
      visibility.disconnect();
      clearTimeout(timer);
    };
  }, [element, isOutdated, language, highlighted]);

  return highlighted;
}

/** Whether somebody selects text there: other elements in its place would undo it. */
function isSelected(element: Element | null): boolean {
  const selection = getSelection();
  if (!element || !selection?.rangeCount) return false;
  // Unlike the selection, its range does not have the page laid out to answer.
  const range = selection.getRangeAt(0);
  return !range.collapsed && range.intersectsNode(element);
}
