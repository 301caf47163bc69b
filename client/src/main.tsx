import { ApolloProvider } from "@apollo/client/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { client, connect } from "./api/client";
import { known } from "./api/session";
import { App } from "./chat/App";

const root = createRoot(document.getElementById("app") as HTMLElement);
connect();
root.render(<p role="status">Signing in…</p>);
await known();
root.render(
  <StrictMode>
    <ApolloProvider client={client}>
      <App />
    </ApolloProvider>
  </StrictMode>,
);
