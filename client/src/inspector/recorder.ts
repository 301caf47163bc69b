import type { Message } from "graphql-ws";

import type { Chunk } from "../chat/stream";

// How many are kept of each; what has ended goes first.
const SOCKETS = 20;
const OPERATIONS = 100;
const STREAMS = 20;
const CHUNKS = 300;

// To draw it in every frame would take from the frames of the chat, and nobody reads so fast.
const UPDATE = 200;

// Times are performance.now()'s milliseconds; null means "not yet", or not known.

export interface SocketRecord {
  number: number;
  openedAt: number | null;
  endedAt: number | null;
  /** The close code and reason. */
  end: string | null;
  isStalled: boolean;
  pings: number;
  pingedAt: number | null;
  roundTrip: number | null;
}

export interface OperationRecord {
  /** As on the wire. A client that repeats an operation on another socket may keep it. */
  id: string;
  socket: number;
  /** The field that it asks for. */
  kind: string;
  /** The ids among its variables, by name. */
  ids: Record<string, string>;
  startedAt: number;
  endedAt: number | null;
  /** "complete", "left" by this window, "cut" with its socket, or an error's code. */
  end: string | null;
  results: number;
}

export interface ChunkRecord {
  at: number;
  offset: number;
  length: number;
  /** The first one of its operation. */
  isFirst: boolean;
}

/** One reply, through all the operations that streamed it. */
export interface StreamRecord {
  messageId: string;
  status: string;
  /** When this window asked for the reply. */
  askedAt: number | null;
  firstTextAt: number | null;
  lastTextAt: number | null;
  endedAt: number | null;
  /** How long the reply is by now, in UTF-16 code units. */
  length: number;
  /** What came after the first text, at which the clock starts; what came twice counts once. */
  characters: number;
  words: number;
  endsInWord: boolean;
  /** How many operations have streamed it: one, and one more after each cut. */
  operations: number;
  longestSilence: number;
  /** How long the last text waited between its arrival and the page. */
  lag: number | null;
  unwrittenSince: number | null;
  chunks: ChunkRecord[];
}

export interface Snapshot {
  sockets: readonly SocketRecord[];
  operations: readonly OperationRecord[];
  streams: readonly StreamRecord[];
  reconnects: number;
}

/** Notes what the page's sockets carry, and tells whoever subscribes, a few times a second. */
export class Recorder {
  readonly #sockets: SocketRecord[] = [];
  readonly #operations: OperationRecord[] = [];
  readonly #streams: StreamRecord[] = [];
  readonly #running = new Map<
    string,
    { operation: OperationRecord; stream: StreamRecord | null }
  >();
  #opened = 0;
  #snapshot: Snapshot | null = null;
  #isScheduled = false;
  readonly #listeners = new Set<() => void>();

  constructor(
    private readonly now = () => performance.now(),
    private readonly later: (callback: () => void) => void = (callback) =>
      setTimeout(callback, UPDATE),
  ) {}

  /** A socket was made. What this returns stands for it from then on. */
  connecting(): SocketRecord {
    const socket: SocketRecord = {
      number: (this.#sockets.at(-1)?.number ?? 0) + 1,
      openedAt: null,
      endedAt: null,
      end: null,
      isStalled: false,
      pings: 0,
      pingedAt: null,
      roundTrip: null,
    };
    keep(this.#sockets, socket, SOCKETS);
    this.#changed();
    return socket;
  }

  opened(socket: SocketRecord): void {
    socket.openedAt = this.now();
    this.#opened++;
    this.#changed();
  }

  stalled(socket: SocketRecord, isStalled: boolean): void {
    socket.isStalled = isStalled;
    this.#changed();
  }

  /** The first word on a socket's end counts: a close by this window, or else the event. */
  closed(socket: SocketRecord, code: number, reason: string): void {
    if (socket.endedAt !== null) return;
    socket.endedAt = this.now();
    socket.end = `${code} ${reason}`.trim();
    socket.isStalled = false;
    for (const [id, { operation }] of this.#running) {
      if (operation.socket === socket.number) this.#ended(id, "cut");
    }
    this.#changed();
  }

  sent(socket: SocketRecord, message: Message): void {
    if (message.type === "ping") {
      socket.pings++;
      socket.pingedAt = this.now();
    } else if (message.type === "subscribe") {
      const { query, variables } = message.payload;
      const operation: OperationRecord = {
        id: message.id,
        socket: socket.number,
        kind: rootField(query),
        ids: idsIn(variables ?? {}),
        startedAt: this.now(),
        endedAt: null,
        end: null,
        results: 0,
      };
      keep(this.#operations, operation, OPERATIONS);
      this.#running.set(message.id, { operation, stream: null });
    } else if (message.type === "complete") {
      this.#ended(message.id, "left");
    }
    this.#changed();
  }

  /** Bound, since graphql-ws calls it as a listener. */
  received = (message: Message): void => {
    if (message.type === "pong") {
      const socket = this.#sockets.at(-1);
      if (socket?.pingedAt) socket.roundTrip = this.now() - socket.pingedAt;
    } else if (message.type === "next") {
      const running = this.#running.get(message.id);
      if (!running) return;
      running.operation.results++;
      const chunk = Object.values(message.payload.data ?? {}).find(isChunk);
      if (chunk) {
        const isFirst = running.stream === null;
        running.stream ??= this.#streamOf(chunk.messageId, running.operation);
        this.#grown(running.stream, chunk, isFirst);
      }
    } else if (message.type === "error") {
      this.#ended(message.id, String(message.payload[0]?.extensions?.code ?? "error"));
    } else if (message.type === "complete") {
      this.#ended(message.id, "complete");
    }
    this.#changed();
  };

  /** The page has written all the text of a reply that came so far. */
  written(messageId: string): void {
    const stream = this.#streams.find((one) => one.messageId === messageId);
    if (!stream?.unwrittenSince) return;
    stream.lag = this.now() - stream.unwrittenSince;
    stream.unwrittenSince = null;
    this.#changed();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** A copy, the same one until listeners are told of a change. */
  snapshot = (): Snapshot => {
    this.#snapshot ??= {
      sockets: this.#sockets.map((socket) => ({ ...socket })),
      operations: this.#operations.map((operation) => ({ ...operation })),
      streams: this.#streams.map((stream) => ({ ...stream, chunks: [...stream.chunks] })),
      reconnects: Math.max(0, this.#opened - 1),
    };
    return this.#snapshot;
  };

  #changed(): void {
    if (this.#listeners.size === 0) {
      this.#snapshot = null;
    } else if (!this.#isScheduled) {
      this.#isScheduled = true;
      this.later(() => {
        this.#isScheduled = false;
        this.#snapshot = null;
        for (const listener of this.#listeners) listener();
      });
    }
  }

  #ended(id: string, end: string): void {
    const running = this.#running.get(id);
    if (!running) return;
    running.operation.endedAt = this.now();
    running.operation.end = end;
    this.#running.delete(id);
  }

  #streamOf(messageId: string, operation: OperationRecord): StreamRecord {
    let stream = this.#streams.find((one) => one.messageId === messageId);
    if (!stream) {
      stream = {
        messageId,
        status: "STREAMING",
        askedAt: operation.kind === "resumeMessage" ? null : this.#firstAsked(operation),
        firstTextAt: null,
        lastTextAt: null,
        endedAt: null,
        length: 0,
        characters: 0,
        words: 0,
        endsInWord: false,
        operations: 0,
        longestSilence: 0,
        lag: null,
        unwrittenSince: null,
        chunks: [],
      };
      keep(this.#streams, stream, STREAMS);
    }
    stream.operations++;
    return stream;
  }

  // A send that was cut before its first chunk is repeated, and people wait from the first one on.
  #firstAsked({ kind, ids, startedAt }: OperationRecord): number {
    const first = this.#operations.find((one) => one.kind === kind && one.ids.id === ids.id);
    return first?.startedAt ?? startedAt;
  }

  #grown(stream: StreamRecord, { offset, text, status }: Chunk, isFirst: boolean): void {
    const at = this.now();
    stream.chunks.push({ at, offset, length: text.length, isFirst });
    if (stream.chunks.length > CHUNKS) stream.chunks.shift();
    stream.status = status;
    if (status !== "STREAMING") stream.endedAt ??= at;
    const end = offset + text.length;
    if (end > stream.length) {
      const added = text.slice(Math.max(0, stream.length - offset));
      if (stream.lastTextAt === null) {
        stream.firstTextAt = at;
      } else {
        stream.characters += added.length;
        stream.words += wordsBegunIn(added, stream.endsInWord);
        stream.longestSilence = Math.max(stream.longestSilence, at - stream.lastTextAt);
      }
      stream.lastTextAt = at;
      stream.endsInWord = /\S$/.test(added);
      stream.length = end;
    }
    if (text) stream.unwrittenSince ??= at;
  }
}

/** How many of something a stream brought in a second, on average; null before there is a second piece. */
export function perSecond(count: number, { firstTextAt, lastTextAt }: StreamRecord): number | null {
  const milliseconds = (lastTextAt ?? 0) - (firstTextAt ?? 0);
  return milliseconds > 0 ? (count * 1000) / milliseconds : null;
}

/** How long a reply's first text took; null if it did not come yet, or another window asked for it. */
export function firstTextTime({ askedAt, firstTextAt }: StreamRecord): number | null {
  return askedAt === null || firstTextAt === null ? null : firstTextAt - askedAt;
}

function keep<T extends { endedAt: number | null }>(records: T[], record: T, limit: number): void {
  records.push(record);
  if (records.length <= limit) return;
  const ended = records.findIndex((one) => one.endedAt !== null);
  records.splice(Math.max(0, ended), 1);
}

// The first selection of the document: ours have their operation first, and one field.
function rootField(query: string): string {
  return /\{\s*(?:\w+\s*:\s*)?(\w+)/.exec(query)?.[1] ?? "?";
}

function idsIn(variables: object): Record<string, string> {
  const ids: Record<string, string> = {};
  for (const [name, value] of Object.entries(variables)) {
    if (typeof value === "object" && value !== null) Object.assign(ids, idsIn(value));
    else if (/id$/i.test(name) && typeof value === "string") ids[name] = value;
  }
  return ids;
}

function isChunk(value: unknown): value is Chunk {
  const { messageId, offset, text } = (value ?? {}) as Partial<Chunk>;
  return typeof messageId === "string" && typeof offset === "number" && typeof text === "string";
}

function wordsBegunIn(text: string, isInWord: boolean): number {
  const words = text.match(/\S+/g)?.length ?? 0;
  return isInWord && /^\S/.test(text) ? words - 1 : words;
}

/** The page's one recorder. */
export const recorder = new Recorder();
