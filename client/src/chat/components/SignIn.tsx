import "./SignIn.css";

import { type FormEvent, useEffect, useId, useLayoutEffect, useRef, useState } from "react";

import type { Unauthenticated } from "../model";

interface Props {
  state: Unauthenticated;
  /** People sign in where the page comes from: there is nothing to paste. */
  isElsewhere: boolean;
  onSignIn: (token: string) => void;
  onTryAgain: () => void;
  /** Absent where nobody has signed in. */
  onSignOut?: (() => void) | undefined;
}

/** Over the page, which stays as it is until there is a token that the server takes. */
export function SignIn({ state, isElsewhere, onSignIn, onTryAgain, onSignOut }: Props) {
  const { why, reason, isTrying } = state;
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();

  // Closing, not only going, gives the focus back.
  useLayoutEffect(() => {
    const { current } = dialog;
    current?.showModal();
    return () => current?.close();
  }, []);

  return (
    <dialog
      ref={dialog}
      className="sign-in"
      aria-labelledby={`${id}title`}
      aria-describedby={`${id}words`}
      // Some browsers let Esc close it for all that.
      closedby="none"
      onCancel={(event) => event.preventDefault()}
      onClose={({ currentTarget }) => {
        if (currentTarget.isConnected && !currentTarget.open) currentTarget.showModal();
      }}
    >
      <h2 id={`${id}title`}>{why === "expired" ? "Sign in again" : "Sign in"}</h2>
      <p id={`${id}words`}>{(isElsewhere ? ELSEWHERE : HERE)[why]}</p>
      {why === "refused" && !isTrying && (
        <p className="problem" role="alert">
          The server did not take this token{reason ? `: ${reason}` : "."}
        </p>
      )}
      {isElsewhere ? (
        <div className="buttons">
          <button type="button" className="primary" disabled={isTrying} onClick={onTryAgain}>
            {isTrying ? "Signing in…" : "Try again"}
          </button>
        </div>
      ) : (
        <TokenForm {...{ isTrying, onSignIn, onSignOut }} isWrong={why === "refused"} />
      )}
    </dialog>
  );
}

const HERE = {
  missing: "This server needs to know who you are. Paste the token that you have for it.",
  refused: "Paste another token.",
  expired: "Your token has expired. Paste a new one: nothing here is lost, and replies go on.",
};
const ELSEWHERE = {
  missing: "You are not signed in. Sign in where you came from, and try again.",
  refused: "You could not be signed in. Sign in anew where you came from, and try again.",
  expired: "You are no longer signed in. Sign in anew where you came from, and try again.",
};

interface FormProps extends Pick<Props, "onSignIn" | "onSignOut"> {
  isTrying: boolean;
  isWrong: boolean;
}

function TokenForm({ isTrying, isWrong, onSignIn, onSignOut }: FormProps) {
  const [token, setToken] = useState("");
  const box = useRef<HTMLInputElement>(null);
  const id = useId();

  useEffect(() => {
    if (isWrong && !isTrying) box.current?.select();
  }, [isWrong, isTrying]);

  function submit(event: FormEvent) {
    event.preventDefault();
    if (!isTrying && token.trim()) onSignIn(token);
  }

  return (
    <form onSubmit={submit}>
      <label htmlFor={id}>Token</label>
      {/* No password, which the browser would offer to keep: a token does not live long. */}
      <input
        id={id}
        ref={box}
        value={token}
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        aria-invalid={isWrong && !isTrying}
        onChange={({ target }) => setToken(target.value)}
      />
      <div className="buttons">
        {onSignOut && (
          <button type="button" onClick={onSignOut}>
            Sign out
          </button>
        )}
        <button type="submit" className="primary" disabled={isTrying || !token.trim()}>
          {isTrying ? "Signing in…" : "Sign in"}
        </button>
      </div>
    </form>
  );
}
