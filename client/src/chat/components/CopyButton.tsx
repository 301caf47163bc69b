import { useEffect, useState } from "react";

import { useAnnounce } from "./Announcer";
import { Icon } from "./Icon";

export function CopyButton({ text, name = "Copy" }: { text: string; name?: string }) {
  const [outcome, setOutcome] = useState("");
  const announce = useAnnounce();

  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(""), 2000);
    return () => clearTimeout(timer);
  }, [outcome]);

  async function onClick() {
    const said = await copy(text).then(
      () => "Copied",
      () => "Could not copy",
    );
    setOutcome(said);
    announce(said);
  }

  return (
    <button
      type="button"
      className="icon-only"
      aria-label={name}
      title={outcome || name}
      onClick={onClick}
    >
      {outcome === "Copied" ? <Icon name="check" /> : <Icon name="copy" />}
    </button>
  );
}

async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without TLS, on another host than this one, browsers have no clipboard but this.
  const box = document.createElement("textarea");
  box.value = text;
  document.body.append(box);
  box.select();
  const isCopied = document.execCommand("copy");
  box.remove();
  if (!isCopied) throw new Error("The browser does not let us copy");
}
