import { useLayoutEffect, useRef } from "react";

/**
 * A text that grows at its end. What is appended is appended to the text node as well: a selection
 * in it stays, which it would not if the node's text were replaced.
 */
export function GrowingText({ text }: { text: string }) {
  const span = useRef<HTMLSpanElement>(null);

  useLayoutEffect(() => {
    const node = span.current?.firstChild;
    if (node instanceof Text && text.startsWith(node.data)) {
      node.appendData(text.slice(node.length));
    } else if (span.current) {
      span.current.textContent = text;
    }
  }, [text]);

  return <span ref={span} />;
}
