import "./theme.css";
import "./Frame.css";

import type { ReactNode } from "react";

import { IconButton } from "./Icon";

interface Props {
  title: string;
  /** Beside the rest; on a phone it is in a drawer, which closes when something in it was chosen. */
  sidebar: ReactNode;
  status: ReactNode;
  /** Buttons for the whole conversation. */
  actions: ReactNode;
  children: ReactNode;
}

/** The page around a conversation. */
export function Frame({ title, sidebar, status, actions, children }: Props) {
  return (
    <div className="frame">
      <button type="button" className="skip visually-hidden" onClick={skipToComposer}>
        Skip to writing
      </button>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: a key that chooses something clicks it, too */}
      <aside
        id="sidebar"
        popover="auto"
        onClick={({ target, currentTarget }) => {
          if ((target as Element).closest("a, button")) currentTarget.hidePopover();
        }}
      >
        {sidebar}
      </aside>
      <div className="page">
        <header>
          <IconButton
            icon="list"
            name="Conversations"
            className="drawer-opener"
            popoverTarget="sidebar"
          />
          <h1>{title}</h1>
          {status}
          {actions}
        </header>
        <main>{children}</main>
      </div>
    </div>
  );
}

function skipToComposer() {
  document.querySelector<HTMLElement>(".composer textarea")?.focus();
}
