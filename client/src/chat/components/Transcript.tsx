import "./Transcript.css";

import {
  Component,
  type ReactNode,
  type Ref,
  type RefObject,
  useCallback,
  useEffect,
  useImperativeHandle,
  useMemo,
  useRef,
  useState,
} from "react";

import { Icon } from "./Icon";

interface Props {
  /** Oldest first. */
  messageIds: readonly string[];
  /** Whether it is not known yet what there is. */
  isLoading: boolean;
  hasEarlier: boolean;
  /** Resolves to false when that failed. */
  onLoadEarlier: () => Promise<boolean>;
  /** Gives the `<li>` of a message. */
  renderRow: (id: string, isLast: boolean) => ReactNode;
  ref?: Ref<TranscriptHandle>;
}

export interface TranscriptHandle {
  toEnd(): void;
}

/** The list of messages. It follows the end while the reader is there, and only then. */
export function Transcript(props: Props) {
  const { messageIds, isLoading, hasEarlier, onLoadEarlier, renderRow, ref } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const end = useRef<HTMLDivElement>(null);
  const { isAtEnd, toEnd } = useFollowing(scroller, list, end);
  useImperativeHandle(ref, () => ({ toEnd }), [toEnd]);
  const rows = useMemo(
    () => messageIds.map((id, index) => renderRow(id, index === messageIds.length - 1)),
    [messageIds, renderRow],
  );

  return (
    <div className="transcript" data-following={isAtEnd}>
      <div className="scroller" ref={scroller} tabIndex={-1}>
        {messageIds.length === 0 && !isLoading && <Welcome />}
        {hasEarlier && <Earlier scroller={scroller} onLoad={onLoadEarlier} />}
        <KeepPlace list={list} firstId={messageIds[0]}>
          <KeepFocus list={list}>
            <ul aria-label="Messages" ref={list}>
              {rows}
            </ul>
          </KeepFocus>
        </KeepPlace>
        <div className="end" ref={end} />
      </div>
      {!isAtEnd && (
        <button type="button" className="to-end" onClick={toEnd}>
          <Icon name="down" />
          Jump to the latest
        </button>
      )}
    </div>
  );
}

function Welcome() {
  return (
    <div className="welcome">
      <h2>What would you like to know?</h2>
      <p>The answer goes on when you close this page, and is here when you come back.</p>
    </div>
  );
}

/** Both observers report after the layout of a frame, so nothing is laid out for their sake. */
function useFollowing(
  scroller: RefObject<HTMLElement | null>,
  list: RefObject<HTMLElement | null>,
  end: RefObject<HTMLElement | null>,
) {
  const [isAtEnd, setIsAtEnd] = useState(true);
  const isFollowing = useRef(true);

  const toEnd = useCallback(() => {
    isFollowing.current = true;
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight, behavior: "instant" });
  }, [scroller]);

  useEffect(() => {
    const element = scroller.current;
    if (!element || !list.current || !end.current) return;
    let lastTop = 0;

    const sizes = new ResizeObserver(() => {
      // What grows takes the end away from the reader; moving up is leaving it.
      const { scrollTop, scrollHeight, clientHeight } = element;
      if (scrollTop < lastTop && scrollTop + clientHeight < scrollHeight - 1) {
        isFollowing.current = false;
      }
      if (isFollowing.current) element.scrollTop = scrollHeight;
      lastTop = element.scrollTop;
    });
    sizes.observe(element);
    sizes.observe(list.current);

    const ends = new IntersectionObserver(
      (entries) => {
        isFollowing.current = entries.at(-1)?.isIntersecting ?? true;
        setIsAtEnd(isFollowing.current);
      },
      { root: element },
    );
    ends.observe(end.current);

    return () => {
      sizes.disconnect();
      ends.disconnect();
    };
  }, [scroller, list, end]);

  return { isAtEnd, toEnd };
}

/** Loads earlier messages before the reader gets there; after a failure only when asked to. */
function Earlier({
  scroller,
  onLoad,
}: {
  scroller: RefObject<HTMLElement | null>;
  onLoad: () => Promise<boolean>;
}) {
  const button = useRef<HTMLButtonElement>(null);
  const [isLoading, setIsLoading] = useState(false);
  const [hasFailed, setHasFailed] = useState(false);

  const load = useCallback(async () => {
    setIsLoading(true);
    setHasFailed(!(await onLoad()));
    setIsLoading(false);
  }, [onLoad]);

  useEffect(() => {
    if (isLoading || hasFailed || !button.current) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && load(), {
      root: scroller.current,
      rootMargin: "600px 0px 0px",
    });
    observer.observe(button.current);
    return () => observer.disconnect();
  }, [scroller, isLoading, hasFailed, load]);

  return (
    <button type="button" className="earlier" ref={button} onClick={load} disabled={isLoading}>
      {isLoading ? "Loading…" : "Show earlier messages"}
    </button>
  );
}

/**
 * Leaves what the reader sees where it is when messages come in above it. Browsers do that by
 * themselves, but not at the very top, and Safari not at all. A class, because only a class is asked
 * before the page changes.
 */
class KeepPlace extends Component<{
  list: RefObject<HTMLElement | null>;
  firstId: string | undefined;
  children: ReactNode;
}> {
  override getSnapshotBeforeUpdate(before: { firstId: string | undefined }) {
    if (before.firstId === this.props.firstId) return null;
    const first = this.props.list.current?.firstElementChild;
    return first ? { first, top: first.getBoundingClientRect().top } : null;
  }

  override componentDidUpdate(
    _props: unknown,
    _state: unknown,
    snapshot: { first: Element; top: number } | null,
  ) {
    const scroller = this.props.list.current?.parentElement;
    if (!snapshot?.first.isConnected || !scroller) return;
    scroller.scrollTop += snapshot.first.getBoundingClientRect().top - snapshot.top;
  }

  override render() {
    return this.props.children;
  }
}

/** The focus in a message whose place another takes, as after Retry, goes to that one. */
class KeepFocus extends Component<{
  list: RefObject<HTMLElement | null>;
  children: ReactNode;
}> {
  override getSnapshotBeforeUpdate() {
    const items = [...(this.props.list.current?.children ?? [])];
    return items.findIndex((item) => item.contains(document.activeElement));
  }

  override componentDidUpdate(_props: unknown, _state: unknown, index: number) {
    const item = this.props.list.current?.children[index];
    if (document.activeElement !== document.body || !(item instanceof HTMLElement)) return;
    item.tabIndex = -1;
    item.focus({ preventScroll: true });
  }

  override render() {
    return this.props.children;
  }
}
