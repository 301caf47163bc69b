import "./theme.css";
import "./Frame.css";

import { type ReactNode, useEffect, useRef, useState, useSyncExternalStore } from "react";

import { Icon } from "./Icon";

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
  const isNarrow = useIsNarrow();
  const [isOpen, setIsOpen] = useState(false);
  return (
    <div className="frame">
      <button type="button" className="skip visually-hidden" onClick={skipToComposer}>
        Skip to writing
      </button>
      {!isNarrow && <aside>{sidebar}</aside>}
      {isNarrow && isOpen && <Drawer onClose={() => setIsOpen(false)}>{sidebar}</Drawer>}
      <div className="page">
        <header>
          {isNarrow && (
            <button
              type="button"
              className="icon-only"
              aria-label="Conversations"
              aria-expanded={isOpen}
              onClick={() => setIsOpen(true)}
            >
              <Icon name="list" />
            </button>
          )}
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

function Drawer({ onClose, children }: { onClose: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null);

  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    element.showModal();
    function onClick({ target }: Event) {
      const isBackdrop = target === element;
      if (isBackdrop || (target as Element).closest("nav :is(a, button)")) element?.close();
    }
    element.addEventListener("click", onClick);
    return () => element.removeEventListener("click", onClick);
  }, []);

  return (
    <dialog ref={dialog} className="drawer" aria-label="Conversations" onClose={onClose}>
      <button
        type="button"
        className="icon-only"
        aria-label="Close"
        onClick={() => dialog.current?.close()}
      >
        <Icon name="remove" />
      </button>
      {children}
    </dialog>
  );
}

const narrow = matchMedia("(max-width: 52rem)");

function useIsNarrow(): boolean {
  return useSyncExternalStore(
    (onChange) => {
      narrow.addEventListener("change", onChange);
      return () => narrow.removeEventListener("change", onChange);
    },
    () => narrow.matches,
  );
}
