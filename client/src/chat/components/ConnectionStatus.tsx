import "./ConnectionStatus.css";

import { useEffect, useState } from "react";

import type { ConnectionState } from "../model";
import { useAnnouncement } from "./announce";

const WORDS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline – the reply goes on on the server",
  unauthenticated: "Not signed in",
};

interface Props {
  state: ConnectionState;
  onReconnectNow: () => void;
}

/** The page's one status region: what the connection is, and what there is to say. */
export function ConnectionStatus({ state, onReconnectNow }: Props) {
  const { text, number } = useAnnouncement();
  const isDown = state.kind === "reconnecting" || state.kind === "failed";
  return (
    <div className="connection" data-connection={state.kind}>
      {/* Not atomic: a change of the one is no reason to read the other. */}
      <div role="status" aria-atomic="false">
        <span key={state.kind} className="words">
          {wordsOf(state)}
        </span>
        {state.kind === "reconnecting" && <Countdown key={state.retryAt} until={state.retryAt} />}
        <span key={number} className="visually-hidden">
          {text && ` ${text}`}
        </span>
      </div>
      {isDown && (
        <button type="button" onClick={onReconnectNow}>
          {state.kind === "failed" ? "Try again now" : "now"}
        </button>
      )}
    </div>
  );
}

function wordsOf(state: ConnectionState): string {
  if (state.kind === "failed") return `Not connected: ${state.reason}`;
  const reason = state.kind === "reconnecting" ? `${state.reason} ` : "";
  return (reason + WORDS[state.kind]).trim();
}

/** For the eye only: read out, it would interrupt every second. */
function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 250);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.ceil((until - now) / 1000);
  return <span aria-hidden="true">{seconds > 0 ? ` in ${seconds} s` : "…"}</span>;
}
