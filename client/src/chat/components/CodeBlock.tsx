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
  const isUsable = highlighted !== null && code.startsWith(highlighted.code);
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
  return inOrder(nodes, elementOf);
}

function elementOf(node: Highlighted[number]): ReactNode {
  if (node.type === "text") return node.value;
  if (node.type !== "element") return null;
  const classes = node.properties.className as string[];
  return <span className={classes.join(" ")}>{elements(node.children as Highlighted)}</span>;
}

// Milliseconds; a long code is highlighted once it rests.
const PAUSE = 150;
const REST = 600;
const LONG = 6000;

/** Highlighted code, which may be a little older than the code while that grows; null at first. */
function useHighlighted(element: RefObject<HTMLElement | null>, code: string, language: string) {
  const [highlighted, setHighlighted] = useState<{ code: string; nodes: Highlighted } | null>(null);
  const isSeen = useIsSeen(element);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const latest = useRef(code);

  useEffect(() => {
    latest.current = code;
    if (!isSeen || !language || !code) return;
    if (code.length > LONG) clearTimeout(timer.current);
    else if (timer.current !== undefined) return;

    async function highlightLatest() {
      const { highlight } = await import("./highlight");
      if (isSelected(element.current)) {
        timer.current = setTimeout(highlightLatest, REST);
        return;
      }
      timer.current = undefined;
      const nodes = highlight(latest.current, language);
      // A transition is rendered in slices, between the frames.
      startTransition(() => setHighlighted(nodes && { code: latest.current, nodes }));
    }
    const isFirst = highlighted === null;
    timer.current = setTimeout(highlightLatest, isFirst ? 0 : code.length > LONG ? REST : PAUSE);
  }, [element, isSeen, code, language, highlighted]);

  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );

  return highlighted;
}

/** Whether somebody selects text there: other elements in its place would undo it. */
function isSelected(element: Element | null): boolean {
  const selection = getSelection();
  return Boolean(
    element && selection && !selection.isCollapsed && selection.containsNode(element, true),
  );
}

function useIsSeen(element: RefObject<HTMLElement | null>): boolean {
  const [isSeen, setIsSeen] = useState(false);
  useEffect(() => {
    if (isSeen || !element.current) return;
    const observer = new IntersectionObserver(
      ([entry]) => entry?.isIntersecting && setIsSeen(true),
      { rootMargin: "500px" },
    );
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element, isSeen]);
  return isSeen;
}
