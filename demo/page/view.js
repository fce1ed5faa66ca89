// Writes results into the page.
import { draw } from "./drawing.js";
import { count } from "./run.js";

const element = (id) => document.getElementById(id);
const ms = (value) => (value < 0.1 ? "< 0.1 ms" : `${value.toFixed(1)} ms`); // browsers round to 0.1 ms
const percent = (part, all) => (all ? `${Math.floor((100 * part) / all)}%` : "–"); // 100% is said of all only

// The line that screen readers say: written only when it changes, as they say it again.
export function showStatus(text, isError = false) {
  const status = element("status");
  status.classList.toggle("error", isError);
  if (status.textContent !== text) status.textContent = text;
}

// `boxes` per network; `agreement` is null without a comparison.
export function showFrame(image, boxes, names, agreement) {
  element("results").classList.toggle("comparing", agreement !== null);
  element("fp32").hidden = agreement === null;
  const alone = new Set(agreement?.alone.flatMap((set) => [...set]));
  for (const [network, found] of Object.entries(boxes)) {
    const figure = element(network);
    const canvas = figure.querySelector("canvas");
    draw(canvas, image, found, names, alone);
    const objects = count(found.length, "object");
    figure.querySelector(".found").textContent = objects;
    canvas.setAttribute("aria-label", `The image with ${objects} that ${network.toUpperCase()} finds`);
  }
  const rows = Object.entries(boxes).flatMap(([network, found]) => found.map((box) => row(network, box, names)));
  element("boxes").querySelector("tbody").replaceChildren(...rows);
}

// A number without a value is not shown.
export function showNumbers({ source, preprocessing, network, reading, clock, agreed, compared }, agreement) {
  const numbers = {
    preprocessing: ms(preprocessing.median),
    network: ms(network.int8.median),
    reading: ms(reading.median),
    rate: source.live ? (clock.rate?.toFixed(1) ?? "–") : null,
    speedup: agreement && `${(network.fp32.median / network.int8.median).toFixed(2)}×`,
    share: agreement && percent(agreement.matched, agreement.all),
    frames: agreement && source.live ? percent(agreed, compared) : null,
  };
  element("compared").textContent = compared;
  for (const [id, text] of Object.entries(numbers)) {
    element(id).parentElement.hidden = text === null;
    element(id).textContent = text;
  }
  for (const [name, times] of Object.entries(network)) element(name).querySelector(".ms").textContent = ms(times.median);
}

function row(network, { label, score, xyxy }, names) {
  const line = document.createElement("tr");
  const corners = xyxy.map((value) => value.toFixed(1)).join(", ");
  for (const text of [network.toUpperCase(), names[label], score.toFixed(3), corners]) {
    line.insertCell().textContent = text;
  }
  return line;
}
