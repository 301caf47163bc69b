// audit.mjs URL: prints what graphql-http's audits of a GraphQL server over HTTP find, as JSON.
import { serverAudits } from "graphql-http";

const url = process.argv[2];
const results = [];
for (const { fn } of serverAudits({ url, fetchFn: fetch })) {
  const { id, name, status, reason } = await fn();
  results.push({ id, name, status, reason });
}
console.log(JSON.stringify({ total: results.length, results }));
