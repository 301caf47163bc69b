import { gzipSync } from "node:zlib";
import { expect, test } from "./test";

// That no page asks another host, logs an error or breaks its policy is checked in every test; see test.ts.

test("the chat's page has a strict policy", async ({ page }) => {
  const response = await page.goto("/");
  const policy = new Map(
    (response?.headers()["content-security-policy"] ?? "").split(";").map((directive) => {
      const [name = "", ...sources] = directive.trim().split(" ");
      return [name, sources.join(" ")];
    }),
  );
  expect(policy.get("default-src")).toBe("'none'");
  expect(policy.get("script-src")).toBe("'self'");
  expect(policy.get("style-src")).toBe("'self'");
  expect(policy.get("base-uri")).toBe("'none'");
  expect(policy.get("form-action")).toBe("'none'");
  expect(policy.get("frame-ancestors")).toBe("'none'");
  for (const sources of policy.values())
    expect(sources).not.toMatch(/unsafe|\*|https?:(?!\/\/127)/);
});

test("the chat's page comes with at most 210 KB of JavaScript", async ({ page }) => {
  const scripts: Promise<Buffer>[] = [];
  page.on("response", (response) => {
    if (response.request().resourceType() === "script") scripts.push(response.body());
  });
  await page.goto("/");
  await expect(page.getByRole("textbox", { name: "Message" })).toBeVisible();
  const sizes = (await Promise.all(scripts)).map((script) => gzipSync(script).length);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(210 * 1024);
});
