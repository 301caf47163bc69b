import "./Transcript.css";

import { Component, createRef, type ReactNode, useState } from "react";

import { Icon } from "./Icon";

interface Props {
  /** Oldest first. */
  messageIds: readonly string[];
  /** Whether it is not known yet what there is. */
  isLoading: boolean;
  hasEarlier: boolean;
  onLoadEarlier: () => Promise<unknown>;
  /** Gives the list's item for a message. */
  renderRow: (id: string) => ReactNode;
}

// In each frame the browser looks at every row, or at the groups that they are in.
const GROUP = 50;

/**
 * The list of messages. It follows the end while the reader is there, and only then; what the reader
 * sees stays in its place when messages come in above it. A class, because only a class is asked
 * before the page changes.
 */
export class Transcript extends Component<Props> {
  override state = { isAtEnd: true };
  readonly #scroller = createRef<HTMLDivElement>();
  readonly #list = createRef<HTMLDivElement>();
  readonly #sizes = new ResizeObserver(() => this.#follow());
  readonly #firsts = new Set<string>();
  #isFollowing = true;
  #lastTop = 0;

  override componentDidMount() {
    for (const { current } of [this.#scroller, this.#list]) {
      if (current) this.#sizes.observe(current);
    }
  }

  override componentWillUnmount() {
    this.#sizes.disconnect();
  }

  toEnd = () => {
    const scroller = this.#scroller.current;
    if (scroller) scroller.scrollTop = scroller.scrollHeight;
    this.#follow();
  };

  #follow = () => {
    const scroller = this.#scroller.current;
    if (!scroller) return;
    const { scrollTop, scrollHeight, clientHeight } = scroller;
    const isAtEnd = scrollTop + clientHeight > scrollHeight - 2;
    // What grows takes the end away from the reader; moving up is leaving it.
    this.#isFollowing = isAtEnd || (this.#isFollowing && scrollTop >= this.#lastTop);
    if (this.#isFollowing) scroller.scrollTop = scrollHeight;
    this.#lastTop = scroller.scrollTop;
    if (this.#isFollowing !== this.state.isAtEnd) this.setState({ isAtEnd: this.#isFollowing });
  };

  get #rows(): HTMLElement[] {
    return [...(this.#list.current?.querySelectorAll<HTMLElement>(".group > *") ?? [])];
  }

  override getSnapshotBeforeUpdate() {
    const rows = this.#rows;
    const focused = rows.findIndex((row) => row.contains(document.activeElement));
    return { first: rows[0], top: topOf(rows[0]), focused };
  }

  override componentDidUpdate(
    _props: Props,
    _state: unknown,
    before: { first: HTMLElement | undefined; top: number; focused: number },
  ) {
    const rows = this.#rows;
    // Safari never does that by itself, and nobody does at the very top.
    if (this.#scroller.current && before.first?.isConnected && before.first !== rows[0]) {
      this.#scroller.current.scrollTop += topOf(before.first) - before.top;
    }
    // The focus in a message whose place another takes, as after Retry, goes to that one.
    const row = rows[before.focused];
    if (row && document.activeElement === document.body) {
      row.tabIndex = -1;
      row.focus({ preventScroll: true });
    }
  }

  /** Groups stay what they are when messages come in before or behind them. */
  #groups(): string[][] {
    const groups: string[][] = [];
    for (const id of this.props.messageIds) {
      if (this.#firsts.has(id) || (groups.at(-1)?.length ?? GROUP) === GROUP) {
        this.#firsts.add(id);
        groups.push([]);
      }
      groups.at(-1)?.push(id);
    }
    return groups;
  }

  override render() {
    const { messageIds, isLoading, hasEarlier, onLoadEarlier, renderRow } = this.props;
    const { isAtEnd } = this.state;
    return (
      <div className="transcript" data-following={isAtEnd}>
        <div className="scroller" ref={this.#scroller} tabIndex={-1} onScroll={this.#follow}>
          {messageIds.length === 0 && !isLoading && (
            <div className="welcome">
              <h2>What would you like to know?</h2>
              <p>The answer goes on when you close this page, and is here when you come back.</p>
            </div>
          )}
          {hasEarlier && <Earlier onLoad={onLoadEarlier} />}
          {/* biome-ignore lint/a11y/useSemanticElements: groups stand between it and its items */}
          <div role="list" aria-label="Messages" ref={this.#list}>
            {this.#groups().map((ids) => (
              <div key={ids[0]} className="group">
                {ids.map(renderRow)}
              </div>
            ))}
          </div>
        </div>
        {!isAtEnd && (
          <button type="button" className="to-end" onClick={this.toEnd}>
            <Icon name="down" />
            Jump to the latest
          </button>
        )}
      </div>
    );
  }
}

function topOf(row: HTMLElement | undefined): number {
  return row?.getBoundingClientRect().top ?? 0;
}

function Earlier({ onLoad }: { onLoad: () => Promise<unknown> }) {
  const [isLoading, setIsLoading] = useState(false);

  async function load() {
    setIsLoading(true);
    await onLoad();
    setIsLoading(false);
  }

  return (
    <button type="button" className="earlier" onClick={load} disabled={isLoading}>
      {isLoading ? "Loading…" : "Show earlier messages"}
    </button>
  );
}
