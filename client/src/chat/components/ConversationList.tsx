import "./ConversationList.css";

import { Icon } from "./Icon";

interface Props {
  /** Most recently used first. */
  conversations: readonly { id: string; title: string }[];
  currentId: string;
  onNew: () => void;
}

export function ConversationList({ conversations, currentId, onNew }: Props) {
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
            >
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
