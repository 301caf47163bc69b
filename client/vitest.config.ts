import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

import { chromium } from "./scripts/chromium.mjs";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts"],
          environment: "node",
        },
      },
      {
        // Found only in the middle of a run, they would be bundled anew, and React be there twice.
        optimizeDeps: {
          include: [
            "fast-check",
            "lowlight",
            "marked",
            "react",
            "react-dom",
            "react-dom/client",
            "react/jsx-dev-runtime",
            "vitest-browser-react",
          ],
        },
        test: {
          name: "browser",
          include: ["src/**/*.browser.test.tsx"],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: { executablePath: chromium, args: ["--no-sandbox"] },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});
