import type { Chunk } from "../chat/model";

// How many are kept of each; what has ended goes first.
const SOCKETS = 20;
const OPERATIONS = 100;
const STREAMS = 20;
const CHUNKS = 300;

// Times are performance.now()'s milliseconds; null means "not yet", or not known.

class Ended {
  endedAt: number | null = null;
  /** How: a close code and reason; "complete", "left", "cut", or an error's code; a status. */
  end: string | null = null;
}

export class SocketRecord extends Ended {
  openedAt: number | null = null;
  isStalled = false;
}

class OperationRecord extends Ended {
  results = 0;

  constructor(
    readonly name: string,
    /** The message or the conversation that it is about. */
    readonly id: string,
    readonly startedAt: number,
  ) {
    super();
  }
}

export interface ChunkRecord {
  at: number;
  length: number;
  /** The first one of its operation. */
  isFirst: boolean;
}

/** One reply, through all the operations that streamed it. */
export class StreamRecord extends Ended {
  firstTextAt: number | null = null;
  lastTextAt: number | null = null;
  /** How long the reply is by now, in UTF-16 code units. */
  length = 0;
  /** What came after the first text, at which the clock starts: words, or pieces of them. */
  tokens = 0;
  /** How long the last text waited between its arrival and the page. */
  lag: number | null = null;
  unwrittenSince: number | null = null;
  chunks: ChunkRecord[] = [];

  constructor(
    readonly messageId: string,
    /** When this window asked for the reply; null if another did. */
    readonly askedAt: number | null,
  ) {
    super();
  }
}

type Variables = { message?: { id: string }; id?: string; conversationId?: string };

/** Notes what goes through the page's sockets. */
export class Recorder {
  readonly sockets: SocketRecord[] = [];
  readonly operations: OperationRecord[] = [];
  readonly streams: StreamRecord[] = [];
  reconnects = -1;

  constructor(private readonly now = () => performance.now()) {}

  /** A socket was made. What this returns stands for it from then on. */
  connecting(): SocketRecord {
    return this.#kept(this.sockets, new SocketRecord(), SOCKETS);
  }

  opened(socket: SocketRecord): void {
    socket.openedAt = this.now();
    this.reconnects++;
  }

  /** An operation is asked for. What this returns hears of its results and its end. */
  operation(name = "", variables: Variables = {}) {
    const begun = new OperationRecord(name, idIn(variables), this.now());
    const operation = this.#kept(this.operations, begun, OPERATIONS);
    let stream: StreamRecord | null = null;
    return {
      next: ({ data }: { data?: { chunk?: Chunk } | null }) => {
        operation.results++;
        if (data?.chunk) {
          const isFirst = stream === null;
          stream ??= this.#streamOf(data.chunk, operation);
          this.#grown(stream, data.chunk, isFirst);
        }
      },
      complete: () => this.ended(operation, "complete"),
      error: ({ code = "cut" }: { code?: string }) => this.ended(operation, code),
      unsubscribe: () => this.ended(operation, "left"),
    };
  }

  /** The first word on an end counts: a close by this window, or else the event. */
  ended(record: Ended, end: string): void {
    if (record.endedAt !== null) return;
    record.endedAt = this.now();
    record.end = end;
  }

  /** The page has written all the text of a reply that came so far. */
  written(messageId: string): void {
    const stream = this.streams.find((one) => one.messageId === messageId);
    if (!stream?.unwrittenSince) return;
    stream.lag = this.now() - stream.unwrittenSince;
    stream.unwrittenSince = null;
  }

  #streamOf({ messageId }: Chunk, { name, id }: OperationRecord): StreamRecord {
    const known = this.streams.find((one) => one.messageId === messageId);
    if (known) return known;
    // A send that was cut before its first chunk is repeated, and people wait from the first one on.
    const asked = this.operations.find((one) => one.name === name && one.id === id);
    const askedAt = name === "Resume" ? null : (asked?.startedAt ?? null);
    return this.#kept(this.streams, new StreamRecord(messageId, askedAt), STREAMS);
  }

  #grown(stream: StreamRecord, { offset, text, status }: Chunk, isFirst: boolean): void {
    const at = this.now();
    stream.chunks.push({ at, length: text.length, isFirst });
    if (stream.chunks.length > CHUNKS) stream.chunks.shift();
    if (status !== "STREAMING") this.ended(stream, status);
    if (text) stream.unwrittenSince ??= at;
    // What comes twice counts once.
    const added = text.slice(Math.max(0, stream.length - offset));
    if (!added) return;
    stream.length = offset + text.length;
    stream.lastTextAt = at;
    if (stream.firstTextAt !== null) stream.tokens += added.match(/\S+/g)?.length ?? 0;
    stream.firstTextAt ??= at;
  }

  #kept<Type extends Ended>(records: Type[], record: Type, limit: number): Type {
    records.push(record);
    if (records.length > limit) {
      const ended = records.findIndex(({ endedAt }) => endedAt !== null);
      records.splice(Math.max(0, ended), 1);
    }
    return record;
  }
}

function idIn({ message, id, conversationId }: Variables): string {
  return message?.id ?? id ?? conversationId ?? "";
}

/** The page's one recorder. */
export const recorder = new Recorder();
