import type { GraphiQLProps } from "graphiql";
import { type GraphQLFormattedError, getOperationAST, parse } from "graphql";
import { type Client, createClient } from "graphql-ws";

import { isGiven, token } from "../api/token";
import { type Result, replyAssembler } from "./reply";

type Fetcher = GraphiQLProps["fetcher"];
type Data = Record<string, unknown>;
type Headers = Record<string, string>;
type Observer = {
  next(result: Result): void;
  error(error: unknown): void;
  complete(): void;
};

const FORBIDDEN = 4403;
// A source of tokens that gives a wrong one is asked so often for another.
const REFUSALS = 3;
const HELP =
  'Write { "Authorization": "Bearer YOUR-TOKEN" } into Headers, below, and run this again; ' +
  '"Re-fetch GraphQL schema", on the left, then brings the documentation.';

const url = new URL("/graphql", location.href);
const socketUrl = url.href.replace(/^http/, "ws");

/** Sends subscriptions over a WebSocket, everything else as a POST. */
export const fetcher: Fetcher = async ({ query, operationName, variables }, options) => {
  const operation = operationIn(query, operationName);
  const request = { query, operationName: operation?.name?.value ?? operationName, variables };
  const headers: Headers = options?.headers ?? {};
  if (operation?.operation !== "subscription") {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json, application/json",
        "content-type": "application/json",
        ...(await authorized(headers)),
      },
      body: JSON.stringify(request),
    });
    return resultOf(response);
  }
  const client = clientFor(headers);
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

let latest: { client: Client; key: string } | undefined;

/** A socket is whose it was opened for: other headers need another. The former ends with what runs on it. */
function clientFor(headers: Headers): Client {
  const key = JSON.stringify(headers);
  if (latest?.key !== key) latest = { client: createClientFor(headers), key };
  return latest.client;
}

function createClientFor(headers: Headers): Client {
  const isRenewable = isGiven() && !hasAuthorization(headers);
  let refusals = 0;
  return createClient({
    url: socketUrl,
    lazy: true,
    // A browser cannot set a WebSocket's headers, so what the headers editor holds goes in here.
    connectionParams: () => authorized(headers),
    on: {
      message: ({ type }) => {
        if (type === "next") refusals = 0;
      },
    },
    // The default gives up when the server is not back at the first attempt. What was refused as it is
    // would be refused again.
    shouldRetry: (error) => !isRefusal(error) || (isRenewable && ++refusals < REFUSALS),
  });
}

/** With what the headers editor holds, or else with the token that the chat comes with. */
async function authorized(headers: Headers): Promise<Headers> {
  const given = hasAuthorization(headers) ? null : await token();
  return given === null ? headers : { ...headers, Authorization: `Bearer ${given}` };
}

function hasAuthorization(headers: Headers): boolean {
  return Object.keys(headers).some((name) => name.toLowerCase() === "authorization");
}

async function resultOf(response: Response) {
  const text = await response.text();
  try {
    const result = JSON.parse(text);
    return result.errors ? { ...result, errors: result.errors.map(helped) } : result;
  } catch {
    // A proxy's words, or a page's.
    return { errors: [{ message: `${response.status} ${text || response.statusText}` }] };
  }
}

// Just after a change of tabs GraphiQL still gives the other tab's operation's name.
function operationIn(query: string, operationName?: string | null) {
  try {
    const document = parse(query);
    return getOperationAST(document, operationName) ?? getOperationAST(document);
  } catch {
    return null; // the server says what is wrong with the syntax
  }
}

/** With what is to be done, if a token is. */
function helped<ErrorType extends GraphQLFormattedError>(error: ErrorType): ErrorType {
  if (error.extensions?.code !== "UNAUTHENTICATED") return error;
  return { ...error, extensions: { ...error.extensions, help: HELP } };
}

function isRefusal(error: unknown): error is CloseEvent {
  return error instanceof CloseEvent && error.code === FORBIDDEN;
}

// GraphiQL shows errors as JSON, in which an event's properties are lost.
function readable(error: unknown): unknown {
  if (isRefusal(error)) {
    return helped({ message: error.reason, extensions: { code: "UNAUTHENTICATED" } });
  }
  if (error instanceof CloseEvent) {
    return { message: `The socket was closed: ${error.code} ${error.reason}` };
  }
  if (error instanceof Event) return { message: "The socket could not be opened." };
  return Array.isArray(error) ? error.map(helped) : error;
}
