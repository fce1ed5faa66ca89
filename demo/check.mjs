// Lets a headless Chromium use the demo, and prints what the page shows then, as JSON. Used by tests/test_demo.py.
//   node demo/check.mjs http://127.0.0.1:8000 SCENARIO [FILE or JSON]
import { basename } from "node:path";
import { chromium } from "playwright-core";

const [url, scenario, argument] = process.argv.slice(2);
const TIMEOUT_MS = 60000;
const FAKE_CAMERA = "--use-fake-device-for-media-stream";
const ALLOWED = "--use-fake-ui-for-media-stream";

const status = (page) => page.locator("#status").textContent();

async function statusSays(page, words) {
  await page.waitForFunction((words) => document.getElementById("status").textContent.includes(words), words);
  return status(page);
}

// What a visitor can read.
async function shown(page) {
  const numbers = await page.evaluate(() => {
    const values = [...document.querySelectorAll("#numbers dd")].filter((value) => !value.parentElement.hidden);
    return Object.fromEntries(values.map(({ id, textContent }) => [id, textContent]));
  });
  const boxes = await page.evaluate(() =>
    [...document.querySelectorAll("#boxes tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
  );
  return { status: await status(page), numbers, boxes, stopDisabled: await page.locator("#stop").isDisabled() };
}

const drawn = (page) => page.evaluate(() => document.querySelector("#int8 canvas").toDataURL());

// The camera's stream is kept, for scenarios that look at it.
const keepStream = (page) =>
  page.addInitScript(() => {
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await open(wanted));
  });

// Give the page an image, and wait until it is detected on.
async function choose(page, file) {
  await page.setInputFiles("#image", file);
  await statusSays(page, `${basename(file)}: INT8 finds`);
}

const slide = (page, value) => page.locator("#threshold").fill(value);

// The networks answer later by so many ms.
const slowDown = (page, delay) =>
  page.evaluate((delay) => {
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (...message) {
      setTimeout(() => post.apply(this, message), delay);
    };
  }, delay);

async function layout(page) {
  const measured = {};
  for (const width of [390, 1280]) {
    for (const compared of [false, true]) {
      await page.setViewportSize({ width, height: 844 });
      await page.locator("#compare").setChecked(compared);
      if (compared) await statusSays(page, "FP32");
      measured[`${width} ${compared ? "compared" : "alone"}`] = await page.evaluate(() => ({
        scrollWidth: document.documentElement.scrollWidth,
        innerWidth,
        heights: [...document.querySelectorAll("button, .button, .switch, #threshold, summary")].map((control) => control.clientHeight),
        canvas: document.querySelector("#int8 canvas").clientWidth,
      }));
    }
  }
  return measured;
}

// The contrast of text to its ground, as WCAG defines it.
async function contrasts(page) {
  const found = {};
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    found[colorScheme] = await page.evaluate(() => {
      document.getElementById("status").classList.add("error");
      const luminance = (colour) => {
        const linear = colour.match(/\d+/g).slice(0, 3).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
      };
      const ground = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : colour;
      };
      const contrast = (selector) => {
        const element = document.querySelector(selector);
        const [darker, lighter] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => a - b);
        return [selector, (lighter + 0.05) / (darker + 0.05)];
      };
      return Object.fromEntries(["h1", "header p", "#sample", "#camera", "#status", "dt", "dd", "summary", "td", "footer p"].map(contrast));
    });
  }
  return found;
}

async function focusOrder(page) {
  const order = [];
  await page.locator("#sample").focus();
  for (let tab = 0; tab < 8; tab++) {
    order.push(await page.evaluate(() => document.activeElement.id || document.activeElement.localName));
    await page.keyboard.press("Tab");
  }
  return order;
}

const scenarios = {
  sample: async (page) => ({ ...(await shown(page)), tree: await page.locator("main").ariaSnapshot(), order: await focusOrder(page) }),
  nextSample: async (page) => {
    await page.click("#sample");
    await statusSays(page, "Test image 2");
    await statusSays(page, "INT8 finds"); // before, the boxes are those of the first one
    return shown(page);
  },
  noSample: shown,
  noFp32: async (page) => ({ ...(await shown(page)), compareDisabled: await page.locator("#compare").isDisabled() }),
  image: async (page) => {
    await choose(page, argument);
    return shown(page);
  },
  compared: async (page) => {
    await choose(page, argument);
    await page.click("#compare");
    await statusSays(page, "FP32");
    return shown(page);
  },
  unreadable: async (page) => {
    await page.setInputFiles("#image", argument);
    const image = await statusSays(page, "choose");
    await page.setInputFiles("#video", argument);
    return { image, video: await statusSays(page, "choose an MP4") };
  },
  threshold: async (page) => {
    const before = { ...(await shown(page)), drawn: await drawn(page) };
    await slide(page, "0.95");
    const after = { ...(await shown(page)), drawn: await drawn(page) };
    return { before: before.boxes, after: after.boxes, redrawn: before.drawn !== after.drawn };
  },
  video: async (page) => {
    await page.setInputFiles("#video", argument);
    await statusSays(page, "ended");
    return shown(page);
  },
  // The video ends while its first frame is in work.
  slowVideo: async (page) => {
    await slowDown(page, 2000);
    await page.setInputFiles("#video", argument);
    await statusSays(page, "ended");
    return shown(page);
  },
  comparedVideo: async (page) => {
    await page.click("#compare");
    await page.setInputFiles("#video", argument);
    await statusSays(page, "ended");
    return shown(page);
  },
  camera: async (page) => {
    await page.click("#camera");
    await page.waitForFunction(() => Number(document.getElementById("rate").textContent) > 0);
    const live = { ...(await shown(page)) };
    await page.click("#stop");
    await statusSays(page, "stopped");
    const [last, states] = [await drawn(page), await page.evaluate(() => window.stream.getTracks().map((track) => track.readyState))];
    await page.waitForTimeout(300); // ten frames of the fake camera
    return { live, stopped: await shown(page), states, still: last === (await drawn(page)) };
  },
  // Frames come faster than they are done. The fifth is in work when the camera is stopped.
  slowCamera: async (page) => {
    await slowDown(page, 200);
    await page.evaluate(() => {
      const take = window.createImageBitmap;
      window.taken = 0;
      window.createImageBitmap = (...of) => {
        if (++window.taken === 5) document.getElementById("stop").click();
        return take(...of);
      };
    });
    await page.click("#camera");
    await statusSays(page, "stopped");
    await page.waitForTimeout(300); // longer than the networks take
    return { status: await status(page), taken: await page.evaluate(() => window.taken) };
  },
  // No frame comes after the first.
  stalledCamera: async (page) => {
    await page.evaluate(() => (HTMLVideoElement.prototype.requestVideoFrameCallback = () => 0));
    await page.click("#camera");
    await statusSays(page, "detecting");
    await page.click("#stop");
    return { status: await statusSays(page, "stopped") };
  },
  silentCamera: async (page) => {
    await page.evaluate(() => (HTMLVideoElement.prototype.play = () => new Promise(() => {})));
    await page.click("#camera");
    await page.waitForFunction(() => window.stream);
    await page.click("#stop");
    return { status: await statusSays(page, "stopped") };
  },
  imageDuringCamera: async (page) => {
    await page.click("#camera");
    await page.waitForFunction(() => Number(document.getElementById("rate").textContent) > 0);
    await choose(page, argument);
    await page.waitForTimeout(300);
    return { ...(await shown(page)), states: await page.evaluate(() => window.stream.getTracks().map((track) => track.readyState)) };
  },
  lostCamera: async (page) => {
    await page.click("#camera");
    await page.waitForFunction(() => Number(document.getElementById("rate").textContent) > 0);
    await page.context().clearPermissions();
    await statusSays(page, "lost");
    return shown(page);
  },
  lostBusyCamera: async (page) => {
    await slowDown(page, 2000);
    await page.evaluate(() => {
      const take = window.createImageBitmap;
      window.createImageBitmap = (...of) => ((window.taken = true), take(...of));
    });
    await page.click("#camera");
    await page.waitForFunction(() => window.taken);
    await page.context().clearPermissions();
    await statusSays(page, "lost");
    return shown(page);
  },
  refusedCamera: async (page) => {
    await page.click("#camera");
    await statusSays(page, "refused");
    return shown(page);
  },
  noCamera: async (page) => {
    await page.click("#camera");
    await statusSays(page, "there is none");
    return shown(page);
  },
  clipped: (page) =>
    page.evaluate(async () => {
      const { decode } = await import("/detector.js");
      const boxes = [[10, 25, 40, 60], [190, 30, 30, 20]]; // centre, width, height, of two anchors, in a square of 200 px
      const output = [0, 1, 2, 3].flatMap((row) => boxes.map((box) => box[row])).concat([0.9, 0.8]);
      const [first, second] = decode(output, 1, { scale: 2, left: 0, top: 0, sides: [100, 50] }, 0.5);
      return { first, second };
    }),
  fitted: (page) =>
    page.evaluate(async () => {
      const { decode, letterbox } = await import("/detector.js");
      const canvas = new OffscreenCanvas(200, 100);
      canvas.getContext("2d"); // an image without content: where its boxes lie is asked
      const { input, ...geometry } = letterbox(canvas, [96, 160]);
      const output = [60, 48, 40, 40, 0.9]; // centre, width, height, score, of one anchor
      return { values: input.length, geometry, xyxy: decode(output, 1, geometry, 0.5)[0].xyxy };
    }),
  pair: (page) =>
    page.evaluate(async ({ first, second, leastIou }) => {
      const { compare } = await import("/comparison.js");
      const { matched, all, alone } = compare(first, second, leastIou);
      return { matched, all, alone: [first.map((box) => alone[0].has(box)), second.map((box) => alone[1].has(box))] };
    }, JSON.parse(argument)),
  dashes: (page) =>
    page.evaluate(async () => {
      const { draw } = await import("/drawing.js");
      const canvas = document.querySelector("#int8 canvas");
      const image = new OffscreenCanvas(100, 100);
      image.getContext("2d"); // black
      const box = { label: 0, score: 0.5, xyxy: [20, 40, 80, 80] };
      const coloured = (alone) => {
        draw(canvas, image, [box], ["a"], new Set(alone));
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.filter((value, index) => index % 4 === 1 && value > 150).length;
      };
      return { paired: coloured([]), alone: coloured([box]) };
    }),
  layout,
  contrasts,
};

const flags = { noCamera: [], refusedCamera: [FAKE_CAMERA], lostCamera: [FAKE_CAMERA], lostBusyCamera: [FAKE_CAMERA] }[scenario] ?? [FAKE_CAMERA, ALLOWED];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...flags],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(TIMEOUT_MS);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await keepStream(page);
  if (scenario.startsWith("lost")) await page.context().grantPermissions(["camera"]);
  await page.goto(url);
  await statusSays(page, scenario === "noSample" ? "Choose" : "finds");
  console.log(JSON.stringify({ ...(await scenarios[scenario](page)), errors }));
} finally {
  await browser.close();
}
