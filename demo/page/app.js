// Joins the controls, the sources of frames, the networks and the page.
import { compare } from "./comparison.js";
import { decode, letterbox } from "./detector.js";
import { Networks } from "./networks.js";
import { Run } from "./run.js";
import { camera, picture, videoFile } from "./sources.js";
import { showFrame, showNumbers, showStatus } from "./view.js";

const element = (id) => document.getElementById(id);
const networks = new Networks();
let detector; // detector.json: class names, [height, width] of the input, least IoU, whether FP32 is there, number of test images
let sample = -1; // number of the test image that was shown last
let running = null; // the run whose frames come now
let shown = null; // the frame on the page, and its run

async function start(source) {
  running?.stopping.abort();
  const run = (running = new Run(source));
  element("stop").disabled = !source.live;
  showStatus(`${source.name}: starting …`);
  try {
    for await (const image of source.frames(run.stopping.signal)) {
      const frame = await detect(image);
      if (run.stopping.signal.aborted) break;
      present(frame, run);
    }
    if (running === run && source.live) showStatus(run.ending);
  } catch (error) {
    if (running === run) showStatus(`${source.name}: ${error.message}`, true);
  } finally {
    if (running === run) {
      running = null;
      element("stop").disabled = true;
    }
  }
}

async function detect(image) {
  const started = performance.now();
  const { input, ...geometry } = letterbox(image, detector.imgsz);
  const preprocessing = performance.now() - started;
  const names = element("compare").checked ? ["int8", "fp32"] : ["int8"];
  return { image, geometry, preprocessing, passes: await networks.run(input, detector.imgsz, names) };
}

function present(frame, run) {
  if (shown && shown.frame.image !== frame.image) shown.frame.image.close();
  shown = { frame, run };
  const found = read(frame);
  run.add(frame, found);
  show(found);
}

// Read the boxes from the networks' outputs.
function read({ geometry, passes }) {
  const threshold = Number(element("threshold").value);
  const boxes = {};
  const started = performance.now();
  for (const [name, { output }] of Object.entries(passes)) {
    boxes[name] = decode(output, detector.names.length, geometry, threshold);
  }
  const reading = (performance.now() - started) / Object.keys(passes).length;
  return { boxes, reading, agreement: boxes.fp32 ? compare(boxes.fp32, boxes.int8, detector.least_iou) : null };
}

function show({ boxes, agreement }) {
  const { frame, run } = shown;
  showFrame(frame.image, boxes, detector.names, agreement);
  showNumbers(run, agreement);
  if (running === run || !run.source.live) showStatus(run.describe(boxes, agreement));
}

function showNextSample() {
  sample = (sample + 1) % detector.samples;
  const address = `samples/${sample}`;
  const load = async () => createImageBitmap(await (await fetch(address)).blob());
  start(picture(`Test image ${sample + 1} of ${detector.samples}`, load));
}

// What was shown is read again with another threshold; shares over frames of different settings are not mixed.
function changeThreshold() {
  element("threshold-shown").textContent = Number(element("threshold").value).toFixed(2);
  if (!shown) return;
  shown.run.forgetFrames();
  show(read(shown.frame));
}

// A live source compares from its next frame on. Other frames are detected on again.
function changeComparison() {
  if (running?.source.live) running.forgetFrames();
  else if (running) start(running.source);
  else if (shown) start(picture(shown.run.source.name, async () => shown.frame.image));
}

function onFile(id, use) {
  element(id).addEventListener("change", ({ target }) => {
    if (target.files.length) use(target.files[0]);
    target.value = ""; // the same file can be chosen again
  });
}

async function load() {
  detector = await (await fetch("detector.json")).json();
  element("least-iou").textContent = detector.least_iou;
  element("no-fp32").hidden = detector.fp32;
  element("compare").disabled = !detector.fp32;
  element("sample").hidden = !detector.samples;
  element("boxes").open = window.matchMedia("(min-width: 60rem)").matches;
  element("controls").disabled = false;
  if (detector.samples) showNextSample();
  else showStatus("Choose an image or a video, or open the camera.");
}

element("sample").addEventListener("click", showNextSample);
onFile("image", (file) => start(picture(file.name, () => createImageBitmap(file))));
onFile("video", (file) => start(videoFile(file)));
element("camera").addEventListener("click", () => start(camera()));
element("stop").addEventListener("click", () => running?.stopping.abort());
element("compare").addEventListener("change", changeComparison);
element("threshold").addEventListener("input", changeThreshold);
window.addEventListener("resize", () => shown && show(read(shown.frame)));

load().catch((error) => showStatus(`The page could not be started: ${error.message}`, true));
