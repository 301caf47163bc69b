import "./workers";
import "graphiql/style.css";
import "./playground.css";

import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

import { fetcher } from "./fetcher";
import { leaveLocalStorage, storage } from "./storage";
import { sendTab, tabs } from "./tabs";

leaveLocalStorage();
// GraphiQL would bring back the tabs of the last visit, and with them an id that is already used.
storage.removeItem("graphiql:tabState");

createRoot(document.getElementById("playground") as HTMLElement).render(
  <GraphiQL
    fetcher={fetcher}
    storage={storage}
    // A token in them is not to outlive the page.
    shouldPersistHeaders={false}
    showPersistHeadersSettings={false}
    defaultTabs={tabs}
    // The first tab's editors do not take their text from defaultTabs.
    initialQuery={sendTab.query}
    initialVariables={sendTab.variables}
    defaultEditorToolsVisibility="variables"
  />,
);
