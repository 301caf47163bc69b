import "./ConversationList.css";

import type { MouseEvent } from "react";

import { Icon } from "./Icon";

interface Props {
  /** Most recently used first. */
  conversations: readonly { id: string; title: string; updatedAt: string }[];
  currentId: string;
  onSelect: (id: string) => void;
  onNew: () => void;
}

export function ConversationList({ conversations, currentId, onSelect, onNew }: Props) {
  function onClick(event: MouseEvent, id: string) {
    // A new tab, a new window, a download: the browser knows what to do with a link.
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    onSelect(id);
  }

  return (
    <nav className="conversations" aria-label="Conversations">
      <button type="button" onClick={onNew}>
        <Icon name="new" />
        New conversation
      </button>
      <ul>
        {conversations.map(({ id, title }) => (
          <li key={id}>
            <a
              href={`#${encodeURIComponent(id)}`}
              aria-current={id === currentId ? "page" : undefined}
              onClick={(event) => onClick(event, id)}
            >
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
