// The page's side of worker.js.

export class Networks {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });

  // Run the networks `names` one after the other on `input`, (1, 3, height, width), which is given away. Return, per name,
  // the output (4 + classes, anchors) and the ms that the network took.
  run(input, [height, width], names) {
    const { port1, port2 } = new MessageChannel();
    return new Promise((resolve, reject) => {
      this.#worker.onerror = () => reject(new Error("onnxruntime-web could not be started: reload the page"));
      port1.onmessage = ({ data: { passes, error } }) => {
        port1.close();
        if (error) reject(new Error(error));
        else resolve(passes);
      };
      this.#worker.postMessage({ input, height, width, names }, [port2, input.buffer]);
    });
  }
}
