// playground.mjs URL [screenshot.png]: runs the playground's first tab in Chromium and prints, as
// JSON, whether the reply came to its end, what the page asked of other hosts, and its errors.
import { chromium } from "playwright-core";

const [url, screenshot] = process.argv.slice(2);
const { host } = new URL(url);
const foreignRequests = [];
const errors = [];

function note(requested) {
  const { protocol, host: other } = new URL(requested);
  if (other !== host && protocol !== "data:" && protocol !== "blob:")
    foreignRequests.push(requested);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
page.context().on("request", (request) => note(request.url()));
page.on("websocket", (socket) => note(socket.url()));
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
page.on("pageerror", (error) => errors.push(String(error)));

// Read from the editor's model, since the pane holds only the lines that are in view.
const readResponse = () => {
  const models = globalThis.__MONACO?.editor.getModels() ?? [];
  return models.find(({ uri }) => uri.path.endsWith("response.json"))?.getValue() ?? "";
};

let response = "";
try {
  await page.goto(url);
  await page.locator(".graphiql-query-editor", { hasText: "sendMessage" }).waitFor();
  await page.getByRole("button", { name: /^Execute/ }).click();
  const deadline = Date.now() + 60_000;
  while (!/"status": "(DONE|STOPPED|ERROR)"|"errors":/.test(response) && Date.now() < deadline) {
    await page.waitForTimeout(100);
    response = await page.evaluate(readResponse);
  }
} catch (error) {
  errors.push(String(error));
}
if (screenshot) await page.screenshot({ path: screenshot });
await browser.close();
const done = response.includes('"status": "DONE"');
console.log(JSON.stringify({ done, foreignRequests, errors, response }));
