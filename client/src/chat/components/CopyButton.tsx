import { useEffect, useState } from "react";

import { announce } from "./announce";
import { IconButton } from "./Icon";

export function CopyButton({ text, name = "Copy" }: { text: string; name?: string }) {
  const [isCopied, setIsCopied] = useState(false);

  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setIsCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [isCopied]);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setIsCopied(true);
      announce("Copied");
    } catch {
      announce("Could not copy");
    }
  }

  return <IconButton icon={isCopied ? "check" : "copy"} name={name} onClick={copy} />;
}
