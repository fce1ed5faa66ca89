// Runs the networks in a thread of its own: the page answers while they compute.
import * as ort from "./runtime/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./runtime/", self.location.href).href;
ort.env.wasm.numThreads = 1;

const sessions = {};
let last = Promise.resolve();

// A network is loaded when it is first run.
function session(name) {
  const url = new URL(`./models/${name}.onnx`, self.location.href).href;
  sessions[name] ??= ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
  return sessions[name];
}

session("int8").catch(() => {}); // begins before the page asks; a fault is told when it does

async function run({ input, height, width, names }) {
  const feed = { images: new ort.Tensor("float32", input, [1, 3, height, width]) };
  const passes = {};
  for (const name of names) {
    const network = await session(name);
    const started = performance.now();
    const { output0 } = await network.run(feed);
    passes[name] = { output: output0.data, ms: performance.now() - started };
  }
  return passes;
}

async function answer({ data, ports: [port] }) {
  try {
    const passes = await run(data);
    port.postMessage({ passes }, Object.values(passes).map(({ output }) => output.buffer));
  } catch (error) {
    port.postMessage({ error: error.message });
  }
}

// One request after another: a session must not run twice at the same time.
self.addEventListener("message", (event) => {
  last = last.then(() => answer(event));
});
