import "./inspector.css";

import { type KeyboardEvent, useEffect, useReducer } from "react";

import { Chart } from "./Chart";
import { recorder as pageRecorder, type Recorder, type StreamRecord } from "./recorder";
import { currentSocket, type RecordedSocket } from "./socket";

// To draw it in every frame would take from the frames of the chat, and nobody reads so fast.
const UPDATE = 200;

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
  const [, draw] = useReducer((times) => times + 1, 0);
  useEffect(() => {
    const drawing = setInterval(draw, UPDATE);
    return () => clearInterval(drawing);
  }, []);
  const { sockets, operations, streams, reconnects } = recorder;
  const current = sockets.at(-1);
  const isOpen = current !== undefined && current.openedAt !== null && current.endedAt === null;
  const isStalled = isOpen && current.isStalled;

  function close() {
    onClose();
    document.querySelector<HTMLElement>("[aria-controls=inspector]")?.focus();
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // elsewhere it stops the reply
    close();
  }

  return (
    <aside id="inspector" className="inspector" aria-label="Stream inspector" onKeyDown={onKeyDown}>
      <header>
        <h2>Stream inspector</h2>
        <button type="button" onClick={close}>
          Close
        </button>
      </header>

      <h3>Sockets</h3>
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
          aria-pressed={isStalled}
          onClick={() => (isStalled ? socket()?.release() : socket()?.stall())}
        >
          Stall the socket
        </button>
      </p>
      <Facts facts={{ Reconnects: String(Math.max(0, reconnects)) }} />
      <Table
        columns={["Opened at", "Lasted", "State"]}
        rows={sockets.map(({ openedAt, endedAt, end, isStalled }) => [
          duration(openedAt),
          lasted(openedAt, endedAt),
          end ?? (openedAt === null ? "connecting" : isStalled ? "stalled" : "open"),
        ])}
      />

      <h3>Streams</h3>
      {streams.length === 0 && <p>No reply has streamed yet.</p>}
      {streams.toReversed().map((stream) => (
        <Stream key={stream.messageId} stream={stream} onResumeFromStart={onResumeFromStart} />
      ))}

      <h3>Operations</h3>
      <Table
        columns={["Operation", "Of", "At", "Lasted", "Results", "End"]}
        rows={operations.map(({ name, id, startedAt, endedAt, results, end }) => [
          name,
          id.slice(0, 8),
          duration(startedAt),
          lasted(startedAt, endedAt),
          String(results),
          end ?? "runs",
        ])}
      />
    </aside>
  );
}

function Stream({
  stream,
  onResumeFromStart,
}: Pick<Props, "onResumeFromStart"> & { stream: StreamRecord }) {
  const { messageId, askedAt, firstTextAt, lastTextAt, length, tokens, lag, chunks } = stream;
  const seconds = ((lastTextAt ?? 0) - (firstTextAt ?? 0)) / 1000;
  return (
    <article aria-label={`Reply ${messageId}`}>
      <header>
        <code title={messageId}>{messageId.slice(0, 8)}</code>
        <span className="inspector-status">{stream.end ?? "STREAMING"}</span>
        <button type="button" onClick={() => onResumeFromStart(messageId)}>
          Resume from 0
        </button>
      </header>
      <Chart chunks={chunks} />
      <Facts
        facts={{
          Offset: length.toLocaleString("en"),
          "Last chunk": String(chunks.at(-1)?.length ?? 0),
          "First token": lasted(askedAt, firstTextAt),
          "Tokens/s": seconds > 0 ? (tokens / seconds).toFixed(1) : UNKNOWN,
          Lag: duration(lag),
        }}
      />
    </article>
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

/** The newest row first. */
function Table({ columns, rows }: { columns: string[]; rows: string[][] }) {
  return (
    <table>
      <thead>
        <tr>
          {columns.map((name) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.toReversed().map((cells, number) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: rows have no state.
          <tr key={number}>
            {cells.map((cell, column) => (
              <td key={columns[column]}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const UNKNOWN = "–";

function duration(time: number | null): string {
  if (time === null) return UNKNOWN;
  return time < 1000 ? `${time.toFixed(0)} ms` : `${(time / 1000).toFixed(1)} s`;
}

function lasted(begin: number | null, end: number | null): string {
  return begin === null || end === null ? UNKNOWN : duration(end - begin);
}
