import { createHmac } from "node:crypto";

/** What the tests' servers check tokens with. */
export const SECRET = "a secret of these tests alone, of 48 characters.";

/** A token for an owner, good for so many seconds; a wrong secret makes one that no server takes. */
export function tokenOf(sub: string, seconds = 3600, secret = SECRET): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, exp })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
