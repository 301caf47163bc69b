import type { GraphiQLProps } from "graphiql";
import { getOperationAST, parse } from "graphql";
import { createClient } from "graphql-ws";

import { type Result, replyAssembler } from "./reply";

type Fetcher = GraphiQLProps["fetcher"];
type Data = Record<string, unknown>;
type Headers = Record<string, string>;
type Observer = {
  next(result: Result): void;
  error(error: unknown): void;
  complete(): void;
};

const url = new URL("/graphql", location.href);
const socketUrl = url.href.replace(/^http/, "ws");

let connectionParams: Headers | undefined;
const client = createClient({
  url: socketUrl,
  lazy: true,
  // The default gives up when the server is not back at the first attempt.
  shouldRetry: () => true,
  // A browser cannot set a WebSocket's headers, so what the headers editor holds goes in here.
  connectionParams: () => connectionParams,
});

/** Sends subscriptions over a WebSocket, everything else as a POST. */
export const fetcher: Fetcher = async ({ query, operationName, variables }, options) => {
  const operation = operationIn(query, operationName);
  const request = { query, operationName: operation?.name?.value ?? operationName, variables };
  const headers: Headers | undefined = options?.headers;
  if (operation?.operation !== "subscription") {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json, application/json",
        "content-type": "application/json",
        ...headers,
      },
      body: JSON.stringify(request),
    });
    return response.json();
  }
  connectionParams = headers;
  const assemble = replyAssembler(variables);
  return {
    subscribe(observer: Observer) {
      const unsubscribe = client.subscribe<Data, Data>(request, {
        next: (result) => observer.next(assemble(result)),
        error: (error) => observer.error(readable(error)),
        complete: () => observer.complete(),
      });
      return { unsubscribe };
    },
  };
};

// Just after a change of tabs GraphiQL still gives the other tab's operation's name.
function operationIn(query: string, operationName?: string | null) {
  try {
    const document = parse(query);
    return getOperationAST(document, operationName) ?? getOperationAST(document);
  } catch {
    return null; // the server says what is wrong with the syntax
  }
}

// GraphiQL shows errors as JSON, in which an event's properties are lost.
function readable(error: unknown): unknown {
  if (error instanceof CloseEvent) {
    return { message: `The socket was closed: ${error.code} ${error.reason}` };
  }
  if (error instanceof Event) return { message: "The socket could not be opened." };
  return error;
}
