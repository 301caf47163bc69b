import "./workers";
import "graphiql/style.css";
import "./playground.css";

import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

import { fetcher } from "./fetcher";
import { sendTab, tabs } from "./tabs";

// GraphiQL would bring back the tabs of the last visit, and with them an id that is already used.
localStorage.removeItem("graphiql:tabState");

createRoot(document.getElementById("playground") as HTMLElement).render(
  <GraphiQL
    fetcher={fetcher}
    defaultTabs={tabs}
    // The first tab's editors do not take their text from defaultTabs.
    initialQuery={sendTab.query}
    initialVariables={sendTab.variables}
    defaultEditorToolsVisibility="variables"
  />,
);
