import * as ort from "./runtime/ort.wasm.min.mjs";
import { decode, letterbox } from "./detector.js";

const ROUNDS = 15; // timed passes of each network, after one untimed pass
const status = document.getElementById("status");
const threshold = document.getElementById("threshold");

ort.env.wasm.wasmPaths = new URL("./runtime/", location.href).href;
ort.env.wasm.numThreads = 1;

let detector, sessions, current;

function showStatus(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}

async function load() {
  detector = await (await fetch("detector.json")).json();
  sessions = {};
  for (const name of ["fp32", "int8"]) {
    sessions[name] = await ort.InferenceSession.create(`models/${name}.onnx`, { executionProviders: ["wasm"] });
  }
  showStatus("choose an image");
}

// Run both networks on the image in turns: if the machine slows down, it slows down both.
async function detect(image) {
  const prepared = letterbox(image, detector.imgsz);
  const feed = { images: new ort.Tensor("float32", prepared.input, [1, 3, detector.imgsz, detector.imgsz]) };
  const result = Object.fromEntries(Object.keys(sessions).map((name) => [name, { times: [] }]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, session] of Object.entries(sessions)) {
      const started = performance.now();
      const { output0 } = await session.run(feed);
      if (round > 0) result[name].times.push(performance.now() - started);
      result[name].output = output0.data;
    }
  }
  for (const one of Object.values(result)) one.p50_ms = one.times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)];
  return { image, prepared, result };
}

function draw() {
  const { image, prepared, result } = current;
  const found = {};
  for (const [name, { output, p50_ms: p50 }] of Object.entries(result)) {
    const boxes = decode(output, detector.names.length, prepared, Number(threshold.value));
    const figure = document.getElementById(name);
    figure.querySelector("figcaption").textContent =
      `${name.toUpperCase()}: ${boxes.length} detections, ${p50.toFixed(1)} ms (median of ${ROUNDS} passes)`;
    const canvas = figure.querySelector("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    context.lineWidth = Math.max(1, image.width / 300);
    context.font = `${Math.max(9, image.width / 40)}px system-ui, sans-serif`;
    for (const { label, score, xyxy: [left, top, right, bottom] } of boxes) {
      context.strokeStyle = context.fillStyle = `hsl(${(label * 137) % 360} 90% 45%)`;
      context.strokeRect(left, top, right - left, bottom - top);
      context.fillText(`${detector.names[label]} ${score.toFixed(2)}`, left, top - 2);
    }
    found[name] = { p50_ms: p50, boxes };
  }
  showStatus(`INT8 is ${(result.fp32.p50_ms / result.int8.p50_ms).toFixed(2)} times as fast as FP32 in this browser`);
  document.body.dataset.found = JSON.stringify(found); // for tests
}

document.getElementById("image").addEventListener("change", async ({ target }) => {
  if (!target.files.length) return;
  delete document.body.dataset.found;
  showStatus("detecting …");
  try {
    current = await detect(await createImageBitmap(target.files[0]));
    draw();
  } catch (error) {
    showStatus(`${target.files[0].name}: ${error.message}: choose a JPEG, PNG or WebP image`, true);
  }
});
threshold.addEventListener("input", () => {
  document.getElementById("threshold-shown").value = Number(threshold.value).toFixed(2);
  if (current) draw();
});

load().catch((error) => showStatus(`the networks could not be loaded: ${error.message}`, true));
