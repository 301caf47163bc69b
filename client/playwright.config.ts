import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
const inCI = process.env.CI === "true";

if (inCI && !existsSync(chromium)) {
  throw new Error(
    `There is no Chromium at ${chromium}; install it, or set CHROMIUM to where it is.`,
  );
}

export default defineConfig({
  testDir: "e2e",
  outputDir: "test-results",
  workers: 2,
  fullyParallel: true,
  forbidOnly: inCI,
  timeout: 30_000,
  expect: { timeout: 5_000 },
  reporter: inCI ? "line" : "list",
  use: {
    launchOptions: {
      executablePath: chromium,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // Whatever the page may ask for, no name is looked up.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
      ],
    },
    actionTimeout: 5_000,
    navigationTimeout: 10_000,
    trace: "off",
    screenshot: "only-on-failure",
  },
  projects: [
    { name: "e2e", testMatch: "*.spec.ts" },
    { name: "bench", testMatch: "*.bench.ts", timeout: 180_000 },
    { name: "screenshots", testMatch: "screenshots.ts", timeout: 120_000 },
  ],
});
