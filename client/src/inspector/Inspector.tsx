import "./inspector.css";

import { type KeyboardEvent, useLayoutEffect, useRef, useSyncExternalStore } from "react";

import { Chart } from "./Chart";
import {
  firstTextTime,
  type OperationRecord,
  recorder as pageRecorder,
  perSecond,
  type Recorder,
  type SocketRecord,
  type StreamRecord,
} from "./recorder";
import { currentSocket, type RecordedSocket } from "./socket";

interface Props {
  /** Streams a reply again from its beginning. */
  onResumeFromStart(messageId: string): void;
  onClose(): void;
  recorder?: Recorder;
  socket?(): Pick<RecordedSocket, "close" | "stall" | "release"> | undefined;
}

/** The panel that shows what the page's socket carries, and can break it. */
export default function Inspector({
  onResumeFromStart,
  onClose,
  recorder = pageRecorder,
  socket = currentSocket,
}: Props) {
  const { sockets, operations, streams, reconnects } = useSyncExternalStore(
    recorder.subscribe,
    recorder.snapshot,
  );
  const panel = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const opened = panel.current;
    const focusedBefore = document.activeElement;
    return () => {
      if (opened?.contains(document.activeElement) && focusedBefore instanceof HTMLElement)
        focusedBefore.focus();
    };
  }, []);

  const current = sockets.at(-1);
  const isOpen = current !== undefined && current.openedAt !== null && current.endedAt === null;

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  };

  return (
    <aside
      ref={panel}
      id="inspector"
      className="inspector"
      aria-label="Stream inspector"
      onKeyDown={onKeyDown}
    >
      <header>
        <h2>Stream inspector</h2>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </header>

      <section aria-labelledby="inspector-sockets">
        <h3 id="inspector-sockets">Sockets</h3>
        <p className="inspector-actions">
          <button
            type="button"
            disabled={!isOpen}
            onClick={() => socket()?.close(4000, "Cut by the inspector")}
          >
            Cut the socket
          </button>
          <button
            type="button"
            disabled={!isOpen}
            aria-pressed={isOpen && current.isStalled}
            onClick={() => (current?.isStalled ? socket()?.release() : socket()?.stall())}
          >
            Stall the socket
          </button>
        </p>
        <Facts
          facts={{
            Reconnects: String(reconnects),
            "Round trip": duration(current?.roundTrip),
            Pings: String(current?.pings ?? 0),
          }}
        />
        <table>
          <thead>
            <tr>
              <th scope="col">Socket</th>
              <th scope="col">Opened at</th>
              <th scope="col">Lasted</th>
              <th scope="col">State</th>
            </tr>
          </thead>
          <tbody>
            {sockets.toReversed().map((one) => (
              <SocketRow key={one.number} socket={one} />
            ))}
          </tbody>
        </table>
      </section>

      <section aria-labelledby="inspector-streams">
        <h3 id="inspector-streams">Streams</h3>
        {streams.length === 0 && <p>No reply has streamed yet.</p>}
        {streams.toReversed().map((stream) => (
          <Stream
            key={stream.messageId}
            stream={stream}
            onResumeFromStart={() => onResumeFromStart(stream.messageId)}
          />
        ))}
      </section>

      <section aria-labelledby="inspector-operations">
        <h3 id="inspector-operations">Operations</h3>
        <table>
          <thead>
            <tr>
              <th scope="col">Operation</th>
              <th scope="col">Socket</th>
              <th scope="col">At</th>
              <th scope="col">Lasted</th>
              <th scope="col">Results</th>
              <th scope="col">End</th>
            </tr>
          </thead>
          <tbody>
            {operations.toReversed().map((operation) => (
              <OperationRow key={`${operation.socket} ${operation.id}`} operation={operation} />
            ))}
          </tbody>
        </table>
      </section>
    </aside>
  );
}

function SocketRow({ socket }: { socket: SocketRecord }) {
  return (
    <tr>
      <td>{socket.number}</td>
      <td>{seconds(socket.openedAt)}</td>
      <td>{lasted(socket.openedAt, socket.endedAt)}</td>
      <td>{stateOf(socket)}</td>
    </tr>
  );
}

function Stream({
  stream,
  onResumeFromStart,
}: {
  stream: StreamRecord;
  onResumeFromStart(): void;
}) {
  return (
    <article aria-label={`Reply ${stream.messageId}`}>
      <header>
        <code title={stream.messageId}>{stream.messageId.slice(0, 8)}</code>
        <span className="inspector-status">{stream.status}</span>
        <button type="button" onClick={onResumeFromStart}>
          Resume from 0
        </button>
      </header>
      <Chart chunks={stream.chunks} />
      <Facts
        facts={{
          Offset: stream.length.toLocaleString("en"),
          "Last chunk": String(stream.chunks.at(-1)?.length ?? 0),
          "First token": duration(firstTextTime(stream)),
          "Tokens/s": perSecond(stream.words, stream)?.toFixed(1) ?? UNKNOWN,
          "Characters/s": perSecond(stream.characters, stream)?.toFixed(0) ?? UNKNOWN,
          Lag: duration(stream.lag),
          "Longest silence": duration(stream.longestSilence),
          Operations: String(stream.operations),
        }}
      />
    </article>
  );
}

function OperationRow({ operation }: { operation: OperationRecord }) {
  const { kind, ids, socket, startedAt, endedAt, results, end } = operation;
  return (
    <tr>
      <th scope="row">
        <span>{kind}</span>
        {Object.entries(ids).map(([name, id]) => (
          <code key={name} title={`${name}: ${id}`}>
            {id.slice(0, 8)}
          </code>
        ))}
      </th>
      <td>{socket}</td>
      <td>{seconds(startedAt)}</td>
      <td>{lasted(startedAt, endedAt)}</td>
      <td>{results}</td>
      <td>{end ?? "runs"}</td>
    </tr>
  );
}

function Facts({ facts }: { facts: Record<string, string> }) {
  return (
    <dl>
      {Object.entries(facts).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

const UNKNOWN = "–";

function stateOf({ openedAt, end, isStalled }: SocketRecord): string {
  if (end !== null) return end;
  if (openedAt === null) return "connecting";
  return isStalled ? "stalled" : "open";
}

function duration(time: number | null | undefined): string {
  if (time == null) return UNKNOWN;
  return time < 1000 ? `${time.toFixed(0)} ms` : seconds(time);
}

function seconds(time: number | null): string {
  return time === null ? UNKNOWN : `${(time / 1000).toFixed(1)} s`;
}

function lasted(begin: number | null, end: number | null): string {
  return begin === null || end === null ? UNKNOWN : duration(end - begin);
}
