// What one source has shown so far: times, and how often INT8 agrees with FP32.
import { Rolling } from "./rolling.js";

export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export class Run {
  stopping = new AbortController();
  preprocessing = new Rolling();
  network = {}; // per name
  reading = new Rolling();
  clock = new Rolling();
  #frames = 0;

  constructor(source) {
    this.source = source;
    this.forgetFrames();
  }

  forgetFrames() {
    [this.compared, this.agreed] = [0, 0];
  }

  add({ preprocessing, passes }, { reading, agreement }) {
    this.#frames += 1;
    this.clock.add(performance.now());
    this.preprocessing.add(preprocessing);
    this.reading.add(reading);
    for (const [name, { ms }] of Object.entries(passes)) (this.network[name] ??= new Rolling()).add(ms);
    if (!agreement) return;
    this.compared += 1;
    this.agreed += agreement.matched === agreement.all;
  }

  // In words, for the status line.
  describe(boxes, agreement) {
    if (this.source.live) return `${this.source.name}: detecting. Stop ends it.`;
    const found = `${this.source.name}: INT8 finds ${count(boxes.int8.length, "object")}.`;
    if (!agreement) return found;
    const { matched, all } = agreement;
    if (all === 0) return `${found} FP32 finds none, too.`;
    return `${found} INT8 and FP32 agree on ${matched} of their ${all} boxes.`;
  }

  get ending() {
    const agreement = this.compared ? ` INT8 agrees with FP32 on ${this.agreed} of ${this.compared} frames.` : "";
    const how = this.stopping.signal.aborted ? "stopped" : "ended";
    return `${this.source.name}: ${how} after ${count(this.#frames, "frame")}.${agreement}`;
  }
}
