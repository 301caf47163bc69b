import { useSyncExternalStore } from "react";

import { connection } from "../api/client";
import type { ConnectionState } from "./model";

export function useConnection(): ConnectionState {
  return useSyncExternalStore(connection.onState, connection.state);
}
