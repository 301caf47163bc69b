import { beforeEach, describe, expect, test, vi } from "vitest";

import { isGiven, paste, personOf, token } from "./token";

beforeEach(() => {
  vi.stubGlobal("window", {});
  paste(null);
});

/** A token as a server makes it, but for the signature. */
function tokenOf(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part(claims)}.signature`;
}

describe("the token", () => {
  test("is none where there is no source and nothing was pasted", async () => {
    expect(await token()).toBeNull();
    expect(isGiven()).toBe(false);
  });

  test.each([
    ["a.b.c"],
    ["  a.b.c\n"],
    ["Bearer a.b.c"],
    ["authorization: bearer a.b.c"],
    ['"a.b\n .c"'],
    ['"Authorization: Bearer a.b.c"'],
  ])("is what was pasted, without what was copied with it: %j", async (text) => {
    paste(text);
    expect(await token()).toBe("a.b.c");
  });

  test("is none after nothing but white space was pasted", async () => {
    paste(" \n");
    expect(await token()).toBeNull();
  });

  test.each([
    ["a text", "Bearer a.b.c"],
    ["a function", () => "a.b.c"],
    ["an asynchronous function", async () => "a.b.c\n"],
  ])("is the page's own, be it %s, whatever was pasted", async (_, source) => {
    paste("pasted");
    window.graphqlAppToken = source;
    expect(isGiven()).toBe(true);
    expect(await token()).toBe("a.b.c");
  });

  test.each([null, undefined, ""])("is none when the page's function gives %j", async (given) => {
    paste("pasted");
    window.graphqlAppToken = async () => given;
    expect(await token()).toBeNull();
  });

  test("is asked for anew each time, but not while the page still thinks", async () => {
    const answers: ((token: string) => void)[] = [];
    window.graphqlAppToken = () => new Promise<string>((resolve) => answers.push(resolve));
    const both = Promise.all([token(), token()]);
    expect(answers).toHaveLength(1);
    answers[0]?.("first");
    expect(await both).toEqual(["first", "first"]);
    const next = token();
    answers[1]?.("second");
    expect(await next).toBe("second");
  });

  test("is asked for again after the page's function has failed", async () => {
    window.graphqlAppToken = vi
      .fn()
      .mockRejectedValueOnce(new Error("The login is away."))
      .mockResolvedValueOnce("a.b.c");
    await expect(token()).rejects.toThrow("The login is away.");
    expect(await token()).toBe("a.b.c");
  });
});

describe("whom a token is about", () => {
  test.each(["alice", "Zoë 🐈", "a/b+c?"])("can be read from it: %s", (sub) => {
    expect(personOf(tokenOf({ sub }))).toBe(sub);
  });

  test.each([
    ["it names nobody", tokenOf({})],
    ["it names no text", tokenOf({ sub: 1 })],
    ["it has one part", "opaque"],
    ["it has no JSON", "a.bm90IEpTT04.c"],
    ["its JSON is no object", `a.${Buffer.from("null").toString("base64url")}.c`],
    ["it is no base64", "a.%.c"],
  ])("cannot where %s", (_, token) => {
    expect(personOf(token)).toBeNull();
  });
});
