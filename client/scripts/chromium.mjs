// chromium.mjs COMMAND…: runs a test that needs a browser. Without Chromium it says what to install and
// passes, except in CI.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { argv, env, exit } from "node:process";
import { fileURLToPath } from "node:url";

/** The system's Chromium, or the one that CHROMIUM names. */
export const chromium = env.CHROMIUM ?? "/usr/bin/chromium";

if (argv[1] === fileURLToPath(import.meta.url)) {
  if (!existsSync(chromium)) {
    console.error(
      `Skipped: there is no ${chromium}. Install Chromium, or set CHROMIUM to its path.`,
    );
    exit(env.CI ? 1 : 0);
  }
  const [command, ...args] = argv.slice(2);
  exit(spawnSync(command, args, { stdio: "inherit" }).status ?? 1);
}
