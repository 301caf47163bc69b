import fc from "fast-check";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import { beforeAll, expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { render } from "vitest-browser-react";

import { Markdown } from "./Markdown";
import { markdown } from "./markdown.arbitrary";

async function shown(text: string, isStreaming = false) {
  const { container } = await render(<Markdown text={text} isStreaming={isStreaming} />);
  return container.querySelector(".markdown") as HTMLElement;
}

/** A Markdown that can be told to grow, at once. */
function growing() {
  const container = document.createElement("div");
  document.body.append(container);
  const root = createRoot(container);
  return {
    container,
    show(text: string, isStreaming = true) {
      flushSync(() => root.render(<Markdown text={text} isStreaming={isStreaming} />));
      return container.innerHTML;
    },
    [Symbol.dispose]() {
      flushSync(() => root.unmount());
      container.remove();
    },
  };
}

test("a text that comes in any pieces looks like the text that comes at once", () => {
  fc.assert(
    fc.property(markdown, fc.array(fc.nat()), fc.boolean(), (text, cuts, isStreaming) => {
      using grown = growing();
      using fresh = growing();
      for (const end of cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b)) {
        grown.show(text.slice(0, end));
      }
      expect(grown.show(text, isStreaming)).toBe(fresh.show(text, isStreaming));
    }),
    { numRuns: 100 },
  );
}, 60_000);

const COLOURS = { timeout: 10_000 };

beforeAll(() => import("./highlight"), 60_000);

test("settled blocks are never made anew", () => {
  using view = growing();
  view.show("# One\n\nTwo **three**\n\n- four\n- five\n\nsix\n\n");
  const before = [...view.container.querySelectorAll(".markdown *")];
  view.show("# One\n\nTwo **three**\n\n- four\n- five\n\nsix\n\nseven `eight`", false);
  const after = [...view.container.querySelectorAll(".markdown *")];
  expect(after.slice(0, before.length)).toEqual(before);
  expect(before.every((element, index) => element === after[index])).toBe(true);
});

test("a selection in the line that grows stays", () => {
  using view = growing();
  view.show("The stream goes");
  const text = view.container.querySelector("p span")?.firstChild as Text;
  getSelection()?.setBaseAndExtent(text, 4, text, 10);
  view.show("The stream goes on and on **and** on");
  expect(getSelection()?.toString()).toBe("stream");
});

test("HTML is shown, not obeyed", async () => {
  const view = await shown('a <b>b</b> <img src=x onerror="x()">\n\n<script>alert(1)</script>\n');
  expect(view.textContent).toBe('a <b>b</b> <img src=x onerror="x()"><script>alert(1)</script>');
  expect(view.querySelector("b, img, script")).toBeNull();
});

test("an image is a link with its description", async () => {
  const view = await shown("![A cat](https://a.b/cat.png)");
  expect(view.querySelector("img")).toBeNull();
  expect(view.querySelector("a")?.href).toBe("https://a.b/cat.png");
  expect(view.textContent).toBe("A cat");
});

test("names of characters mean them in a link's target, but not in a bare address", async () => {
  const view = await shown("[a](https://a.b/?c=1&amp;d=2) <https://a.b/?c=1&copy=2>");
  const targets = [...view.querySelectorAll("a")].map(({ href }) => href);
  expect(targets).toEqual(["https://a.b/?c=1&d=2", "https://a.b/?c=1&copy=2"]);
});

test("links open elsewhere and tell nothing", async () => {
  const view = await shown("[a](https://a.b/) <mailto:a@b.c>");
  for (const link of view.querySelectorAll("a")) {
    expect(link.target).toBe("_blank");
    expect(link.rel).toBe("noopener noreferrer nofollow");
  }
});

test.each(["javascript:alert(1)", "data:text/html,x", "vbscript:x", "/relative", "//a.b", "#x"])(
  "%s is no address of a link",
  async (address) => {
    const view = await shown(`[text](${address})`);
    expect(view.querySelector("a")).toBeNull();
    expect(view.textContent).toBe("text");
  },
);

test("spaces, breaks, entities and every script come out as they went in", async () => {
  const text = "a  b\nc\td 👩‍👩‍👧 é ﷽ 日本 עברית \u200d&copy;&amp;&#65;";
  const view = await shown(text);
  expect(view.innerText).toBe(text.replace("&copy;&amp;&#65;", "©&A"));
});

test("headings never leave out a level, whatever the text begins with", async () => {
  const view = await shown("### a\n\n## b\n\n#### c\n\n> # quoted\n\n##### d\n\n# e\n");
  const headings = [...view.querySelectorAll("h1, h2, h3, h4, h5, h6")];
  expect(headings.map(({ tagName }) => tagName)).toEqual(["H3", "H4", "H5", "H6", "H3"]);
});

test.each(["-", "- ", "==", "```", "#"])(
  "the line %j, which is about to be something else, waits for that",
  async (line) => {
    const growing = await shown(`Things:\n${line}`, true);
    expect(growing.innerHTML).toBe("<p><span>Things:</span></p>");
    expect((await shown(`1. a\n${line} b`, true)).textContent).toMatch(/a.*b/s);
  },
);

test("an unfinished fence is code", async () => {
  const view = await shown("Look:\n\n```js\nconst a = **b", true);
  await expect.element(page.getByText("js", { exact: true })).toBeVisible();
  expect(view.querySelector("pre")?.textContent).toBe("const a = **b");
});

test("code is readable at once and gets its colours later", async () => {
  const view = await shown("```js\nconst answer = 42;\n```");
  expect(view.querySelector("code")?.textContent).toBe("const answer = 42;");
  await vi.waitFor(
    () => expect(view.querySelector(".hljs-keyword")?.textContent).toBe("const"),
    COLOURS,
  );
  expect(view.querySelector("code")?.textContent).toBe("const answer = 42;");
});

test("code in an unknown language, or in none, stays plain", async () => {
  const view = await shown("```nolanguage\na\n```\n\n    b\n");
  const codes = [...view.querySelectorAll("code")].map((code) => code.textContent);
  expect(codes).toEqual(["a", "b"]);
});

test("code that is being selected does not change its elements", async () => {
  using view = growing();
  view.show("```js\nlet a = 1;");
  await vi.waitFor(
    () => expect(view.container.querySelector(".hljs-number")).not.toBeNull(),
    COLOURS,
  );
  const number = view.container.querySelector(".hljs-number")?.firstChild as Text;
  getSelection()?.setBaseAndExtent(number, 0, number, 1);
  view.show("```js\nlet a = 1;\nlet b = 22;");
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(view.container.querySelectorAll(".hljs-number")).toHaveLength(1);
  expect(getSelection()?.toString()).toBe("1");
  getSelection()?.removeAllRanges();
  await vi.waitFor(
    () => expect(view.container.querySelectorAll(".hljs-number")).toHaveLength(2),
    COLOURS,
  );
});

test("a code block's button copies its code", async () => {
  const writeText = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue();
  await shown("```js\nlet a = 1;\nlet b;\n```");
  await userEvent.click(page.getByRole("button", { name: "Code to clipboard" }));
  expect(writeText).toHaveBeenCalledWith("let a = 1;\nlet b;");
});

test("tables, task lists, quotes and nested lists are what they are", async () => {
  const view = await shown(
    "| a | b |\n|:-:|--:|\n| 1 | 2 |\n\n- [x] done\n- [ ] to do\n\n> quote\n> # loud\n\n3. three\n   - inner\n",
  );
  expect(view.querySelector("th.center")?.textContent).toBe("a");
  expect(view.querySelector("td.right")?.textContent).toBe("2");
  expect(view.querySelectorAll("input:disabled")).toHaveLength(2);
  expect(view.querySelector("blockquote p.depth-1")?.textContent).toBe("loud");
  expect(view.querySelector("ol")?.start).toBe(3);
  expect(view.querySelector("ol ul li")?.textContent).toBe("inner");
});
