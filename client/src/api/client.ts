import {
  ApolloClient,
  ApolloLink,
  InMemoryCache,
  type OperationVariables,
  type TypedDocumentNode,
} from "@apollo/client";
import { print } from "@apollo/client/utilities";
import { from, Observable, switchMap, tap } from "rxjs";

import type { Ending } from "../chat/model";
import { recorder } from "../inspector/recorder";
import { RecordedSocket } from "../inspector/socket";
import { backoff } from "./backoff";
import { Connection, Cut, Refused } from "./connection";
import { accepted } from "./session";
import { isGiven, paste, token } from "./token";

export const connection = new Connection({
  url: new URL("/graphql", location.href).href.replace(/^http/, "ws"),
  isOnline: () => navigator.onLine,
  credentials: { token, isRenewable: isGiven, accepted },
  webSocketImpl: RecordedSocket,
});

// Whoever asks while there is no connection waits for it.
const link = new ApolloLink(({ query, variables, operationName }) => {
  const payload = { query: print(query), variables, operationName };
  return from(connection.live()).pipe(
    switchMap(
      () =>
        new Observable<ApolloLink.Result>((observer) => connection.subscribe(payload, observer)),
    ),
    tap(recorder.operation(operationName, variables)),
  );
});

// What comes takes the place of what was there.
const WHOLE = { merge: false };

export const client = new ApolloClient({
  link,
  cache: new InMemoryCache({
    typePolicies: { Message: { fields: { error: WHOLE, replies: WHOLE, usage: WHOLE } } },
  }),
  // Two that ask for the same ask at different times, and the first one's answer may be older.
  queryDeduplication: false,
});

/** Opens the socket, and looks after it when the network or the page comes back. */
export function connect(): void {
  connection.connect();
  addEventListener("online", connection.check);
  addEventListener("offline", connection.check);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) connection.check();
  });
}

/** Connects with a token that somebody has pasted. */
export function signIn(text: string): void {
  paste(text);
  connection.reconnectNow();
}

/** Resolves when there is a connection, and some time after so many failures in a row. */
export async function ready(failures = 0): Promise<void> {
  // A timer of a hidden page takes a second, even for nothing.
  if (failures > 0) await new Promise((resolve) => setTimeout(resolve, backoff(failures)));
  await connection.live();
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
          if (error instanceof Refused)
            end({ kind: "error", code: error.code, message: error.message });
          else if (error) end({ kind: "cut" });
          else if (!next(data as Data)) leave();
        },
        complete: () => end({ kind: "complete" }),
      });
    signal.addEventListener("abort", leave);
  });
}

/** Asks until there is an answer; throws `Refused`. */
export function query<Data, Variables extends OperationVariables>(
  query: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  return repeated(async () => {
    const { data } = await client.query<Data>({ query, variables, fetchPolicy: "no-cache" });
    return data as Data;
  });
}

/** Does it once, and now; throws `Refused`, or `Cut` if nobody knows whether it was done. */
export async function mutate<Data, Variables extends OperationVariables>(
  mutation: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<void> {
  if (connection.state().kind !== "live") throw new Cut();
  await client.mutate<Data>({ mutation, variables, fetchPolicy: "no-cache" });
}

/** Does again, as soon as that is possible, what was cut. */
export async function repeated<Data>(run: () => Promise<Data>): Promise<Data> {
  for (;;) {
    await ready();
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
    }
  }
}
