// Lets a headless Chromium open the demo and detect on an image; prints what it found as JSON. Used by tests/test_demo.py.
//   node demo/check.mjs http://127.0.0.1:8000 image.jpg [screenshot.png]
import { chromium } from "playwright-core";

const [url, image, screenshot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("choose"), null, { timeout: 60000 });
  await page.setInputFiles("#image", image);
  await page.waitForFunction(() => document.body.dataset.found, null, { timeout: 60000 });
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  console.log(await page.evaluate(() => document.body.dataset.found));
} finally {
  await browser.close();
}
