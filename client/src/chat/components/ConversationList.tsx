import "./ConversationList.css";

import { Icon } from "./Icon";

interface Props {
  /** Most recently used first. */
  conversations: readonly { id: string; title: string }[];
  currentId: string;
  onNew: () => void;
  /** Absent where nobody is signed in. */
  onSignOut?: (() => void) | undefined;
}

export function ConversationList({ conversations, currentId, onNew, onSignOut }: Props) {
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
      {onSignOut && (
        <button type="button" className="sign-out" onClick={onSignOut}>
          <Icon name="leave" />
          Sign out
        </button>
      )}
    </nav>
  );
}
