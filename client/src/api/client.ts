import {
  ApolloClient,
  ApolloLink,
  CombinedGraphQLErrors,
  InMemoryCache,
  Observable,
  type OperationVariables,
  type TypedDocumentNode,
} from "@apollo/client";
import { print } from "@apollo/client/utilities";

import type { Ending } from "../chat/model";
import { recorder } from "../inspector/recorder";
import { RecordedSocket } from "../inspector/socket";
import { Connection, Cut } from "./connection";

export const connection = new Connection({
  url: new URL("/graphql", location.href).href.replace(/^http/, "ws"),
  isOnline: () => navigator.onLine,
  webSocketImpl: RecordedSocket,
  onMessage: recorder.received,
});

// Whoever asks while there is no connection waits for it.
const link = new ApolloLink(
  ({ query, variables, operationName }) =>
    new Observable((observer) => {
      let leave: (() => void) | null = null;
      let hasLeft = false;
      connection.live().then(() => {
        if (hasLeft) return;
        leave = connection.subscribe(
          { query: print(query), variables, operationName },
          {
            next: (result) => observer.next(result as ApolloLink.Result),
            complete: () => observer.complete(),
            error: (error) =>
              observer.error(
                Array.isArray(error) ? new CombinedGraphQLErrors({ errors: error }) : error,
              ),
          },
        );
      });
      return () => {
        hasLeft = true;
        leave?.();
      };
    }),
);

export const client = new ApolloClient({
  link,
  // An error comes whole or not at all.
  cache: new InMemoryCache({ typePolicies: { Message: { fields: { error: { merge: false } } } } }),
  // Two that ask for the same ask at different times, and the first one's answer may be older.
  queryDeduplication: false,
});

/** Opens the socket, and looks after it when the network or the page comes back. */
export function connect(): void {
  connection.connect();
  addEventListener("online", () => connection.check());
  addEventListener("offline", () => connection.networkLost());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) connection.check();
  });
}

/** The server's refusal, for people and for programs. */
export class Refused extends Error {
  override name = "Refused";

  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Runs a subscription until it ends, or `signal` does.
 *
 * Its results go past the cache, which the reader writes as the rules of streams say.
 *
 * @param next gets each result, and says whether to go on.
 */
export function listen<Data, Variables extends OperationVariables>(
  query: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  next: (data: Data) => boolean,
  signal: AbortSignal,
): Promise<Ending> {
  return new Promise((resolve) => {
    const end = (ending: Ending) => {
      signal.removeEventListener("abort", leave);
      resolve(ending);
    };
    const leave = () => {
      subscription.unsubscribe();
      end({ kind: "cut" });
    };
    const subscription = client
      .subscribe<Data>({ query, variables, fetchPolicy: "no-cache" })
      .subscribe({
        next: ({ data, error }) => {
          if (error) end(endingOf(error));
          else if (!next(data as Data)) leave();
        },
        complete: () => end({ kind: "complete" }),
      });
    signal.addEventListener("abort", leave);
  });
}

/** Asks once; throws `Refused`, or `Cut` without a connection. */
export function query<Data, Variables extends OperationVariables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  return answer(() => client.query<Data>({ query: document, variables, fetchPolicy: "no-cache" }));
}

/** Does it once; throws `Refused`, or `Cut` if nobody knows whether it was done. */
export function mutate<Data, Variables extends OperationVariables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  return answer(() =>
    client.mutate<Data>({ mutation: document, variables, fetchPolicy: "no-cache" }),
  );
}

/** Does again, as soon as that is possible, what was cut. */
export async function repeated<Data>(run: () => Promise<Data>): Promise<Data> {
  for (;;) {
    await connection.live();
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
    }
  }
}

async function answer<Data>(run: () => Promise<{ data?: Data }>): Promise<Data> {
  if (connection.state().kind !== "live") throw new Cut();
  try {
    return (await run()).data as Data;
  } catch (error) {
    const ending = endingOf(error);
    throw ending.kind === "error" ? new Refused(ending.code, ending.message) : error;
  }
}

function endingOf(error: unknown): Ending {
  if (error instanceof Cut) return { kind: "cut" };
  if (!CombinedGraphQLErrors.is(error)) throw error;
  const [first] = error.errors;
  const code = String(first?.extensions?.code ?? "");
  return { kind: "error", code, message: first?.message ?? error.message };
}
