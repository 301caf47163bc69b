// subscriber.mjs URL < options.json: runs subscriptions with the stock graphql-ws client, which
// subscribes again by itself when its socket drops, and prints what became of each, as JSON.
//
// options: { operations: [{ query, variables, field, content }], retryAttempts, retryWaitMs,
//   retryRefused, lazy, tokens }
// content is the text that a resume starts from, if any. By itself the client gives up when a
// connection is refused; retryRefused makes it try again as it does when one drops. Each connection
// brings the next of the tokens, if there are any; the last one over and over.
import { json } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";

import { createClient } from "graphql-ws";
import { WebSocket } from "ws";

const { operations, retryAttempts, retryWaitMs, retryRefused, lazy, tokens } = await json(
  process.stdin,
);

let connections = 0;
const client = createClient({
  url: process.argv[2],
  webSocketImpl: WebSocket,
  lazy,
  retryAttempts,
  retryWait: retryWaitMs === undefined ? undefined : () => setTimeout(retryWaitMs),
  connectionParams:
    tokens &&
    (() => ({ authorization: `Bearer ${tokens.length > 1 ? tokens.shift() : tokens[0]}` })),
  shouldRetry: retryRefused ? () => true : undefined,
  on: { opened: () => connections++ },
});

function run({ query, variables, field, content = "" }) {
  const outcome = { content, status: null, messageId: null, chunks: 0, error: null };
  return new Promise((resolve) => {
    client.subscribe(
      { query, variables },
      {
        next({ data, errors }) {
          if (errors) outcome.error = errors;
          const chunk = data?.[field];
          if (!chunk) return;
          outcome.content = outcome.content.slice(0, chunk.offset) + chunk.text;
          outcome.status = chunk.status;
          outcome.messageId = chunk.messageId;
          outcome.chunks++;
        },
        error(error) {
          outcome.error = readable(error);
          resolve(outcome);
        },
        complete: () => resolve(outcome),
      },
    );
  });
}

// A CloseEvent and an Error keep in getters, which JSON leaves out, what there is to know.
function readable(error) {
  if (Array.isArray(error)) return error;
  const { code, reason, message } = error;
  return { code, reason, message };
}

const outcomes = await Promise.all(operations.map(run));
await client.dispose();
console.log(JSON.stringify({ operations: outcomes, connections }));
