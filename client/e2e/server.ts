import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SECRET, tokenOf } from "./tokens";

const COMMAND = resolve(
  import.meta.dirname,
  process.env.GRAPHQL_APP ?? "../../.venv/bin/graphql-app",
);
const START_MS = 20_000;

/** Whose the conversations are, unless said, where that makes a difference. */
export const OWNER = "alice";

/** What no client may bring a server to write into its log. */
const DEFECTS = /Traceback|was never retrieved|was destroyed but it is pending|never awaited/;

export interface Message {
  id: string;
  role: "USER" | "ASSISTANT";
  content: string;
  status: "STREAMING" | "DONE" | "STOPPED" | "ERROR";
  replyToId: string | null;
  error: { code: string; message: string } | null;
}

export interface Settings {
  store?: "memory" | "sqlite";
  completion?: string;
  wordDelay?: number;
  /** Whether everybody needs a token; see tokens.ts. */
  needsTokens?: boolean;
  environment?: Record<string, string>;
}

/** `graphql-app serve` in a process and a folder of its own. */
export class GraphqlApp {
  port = 0;

  readonly folder = mkdtempSync(join(tmpdir(), "graphql-app-"));
  readonly #settings: Settings;
  #process: ChildProcess | undefined;
  #log = "";

  static async start(settings: Settings = {}): Promise<GraphqlApp> {
    const server = new GraphqlApp(settings);
    await server.start();
    return server;
  }

  private constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Whether it ended at any time: what a page was just loading from it may have broken off. */
  hasEnded = false;

  get isRunning(): boolean {
    const child = this.#process;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts, the second time at the same port and with the same store. */
  async start(): Promise<void> {
    const { store, completion, wordDelay, needsTokens, environment } = this.#settings;
    const child = spawn(
      COMMAND,
      [
        ...["serve", "--port", String(this.port)],
        ...[
          "--store",
          store === "sqlite" ? `sqlite:///${join(this.folder, "chat.db")}` : "memory://",
        ],
        ...["--completion", completion ?? "answers:complete"],
        ...["--word-delay", String(wordDelay ?? 0.05)],
      ],
      {
        cwd: import.meta.dirname,
        env: {
          ...process.env,
          PYTHONDONTWRITEBYTECODE: "1",
          GATES: this.folder,
          CALLS: join(this.folder, "calls"),
          ...(needsTokens && { GRAPHQL_APP_JWT_SECRET: SECRET }),
          ...environment,
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    this.#process = child;
    this.port = await new Promise<number>((listening, failed) => {
      let log = "";
      const read = (bytes: Buffer) => {
        log += bytes;
        this.#log += bytes;
        const running = /running on http:\/\/127\.0\.0\.1:(\d+)/.exec(log);
        if (running) listening(Number(running[1]));
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("error", failed);
      child.on("exit", () => failed(new Error(`The server did not start:\n${log}`)));
      setTimeout(() => failed(new Error(`The server is late:\n${log}`)), START_MS).unref();
    });
  }

  /** Kills it, as a crash would. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Shuts it down in order. */
  async terminate(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Ends it and removes its folder. Throws if its log shows a defect. */
  async close(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true });
    const defect = this.#log.split("\n").findIndex((line) => DEFECTS.test(line));
    if (defect < 0) return;
    const excerpt = this.#log.split("\n").slice(Math.max(0, defect - 3), defect + 40);
    throw new Error(`The server's log shows a defect:\n${excerpt.join("\n")}`);
  }

  conversation(id: string, owner = OWNER): Conversation {
    return new Conversation(this, id, owner);
  }

  async query<Data>(query: string, variables: object = {}, owner = OWNER): Promise<Data> {
    const response = await this.#post("application/json", query, variables, owner);
    const { data, errors } = (await response.json()) as {
      data: Data;
      errors?: { message: string }[];
    };
    if (errors) throw new Error(errors.map(({ message }) => message).join("\n"));
    return data;
  }

  /** The events of a subscription, as bytes; who has read enough cancels it. */
  async subscribe(
    query: string,
    variables: object,
    owner = OWNER,
  ): Promise<ReadableStreamDefaultReader> {
    const { body, status } = await this.#post("text/event-stream", query, variables, owner);
    if (!body) throw new Error(`The subscription was answered with ${status}.`);
    return body.getReader();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (!this.#process || !this.isRunning) return;
    const ended = once(this.#process, "exit");
    this.hasEnded = true;
    this.#process.kill(signal);
    await ended;
  }

  #post(accept: string, query: string, variables: object, owner: string): Promise<Response> {
    return fetch(`${this.url}/graphql`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: accept,
        ...(this.#settings.needsTokens && { Authorization: `Bearer ${tokenOf(owner)}` }),
      },
      body: JSON.stringify({ query, variables }),
    });
  }
}

/** What the server has of a conversation, and another client's part in it, past the proxy. */
export class Conversation {
  readonly id: string;
  readonly #server: GraphqlApp;
  readonly #owner: string;

  constructor(server: GraphqlApp, id: string, owner: string) {
    this.#server = server;
    this.id = id;
    this.#owner = owner;
  }

  async messages(): Promise<Message[]> {
    const { messages } = await this.#server.query<{ messages: Message[] }>(
      `query ($id: ID!) {
        messages(conversationId: $id) { id role content status replyToId error { code message } }
      }`,
      { id: this.id },
      this.#owner,
    );
    return messages;
  }

  async lastReply(): Promise<Message> {
    const reply = (await this.messages()).findLast(({ role }) => role === "ASSISTANT");
    if (!reply) throw new Error("There is no reply.");
    return reply;
  }

  /** The messages that the completion was asked to answer, each time that it was. */
  calls(): string[] {
    const lines = readFileSync(join(this.#server.folder, "calls"), "utf8").trim().split("\n");
    const calls = lines.map((line): [string, string] => JSON.parse(line));
    return calls.filter(([id]) => id === this.id).map(([, content]) => content);
  }

  /** Lets the replies go on that wait for it. */
  openGate(name: string): void {
    appendFileSync(join(this.#server.folder, `${this.id}.${name}`), "");
  }

  /** Sends, and returns when the reply has begun. */
  async begin(content: string): Promise<void> {
    const reader = await this.#send(content);
    await reader.read();
    await reader.cancel();
  }

  /** Sends, and returns when the reply has ended. */
  async send(content: string): Promise<void> {
    const reader = await this.#send(content);
    while (!(await reader.read()).done);
  }

  async clear(): Promise<void> {
    await this.#server.query(
      "mutation ($id: ID!) { clearMessages(conversationId: $id) }",
      { id: this.id },
      this.#owner,
    );
  }

  #send(content: string): Promise<ReadableStreamDefaultReader> {
    return this.#server.subscribe(
      "subscription ($message: MessageInput!) { sendMessage(message: $message) { status } }",
      { message: { id: crypto.randomUUID(), conversationId: this.id, content } },
      this.#owner,
    );
  }
}
