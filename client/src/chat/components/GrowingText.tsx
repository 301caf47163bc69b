import { useLayoutEffect, useRef, useState } from "react";

/**
 * A text that grows at its end. What is appended is appended to the text node as well: a selection
 * in it stays, which it would not if the node's text were replaced.
 */
export function GrowingText({ text }: { text: string }) {
  const [first] = useState(text);
  const span = useRef<HTMLSpanElement>(null);
  const shown = useRef(text);

  useLayoutEffect(() => {
    const node = span.current?.firstChild;
    if (text === shown.current) return;
    if (node instanceof Text && text.startsWith(shown.current)) {
      node.appendData(text.slice(shown.current.length));
    } else if (span.current) {
      span.current.textContent = text;
    }
    shown.current = text;
  }, [text]);

  return <span ref={span}>{first}</span>;
}
