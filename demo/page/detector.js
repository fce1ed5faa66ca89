// Preprocessing and postprocessing, the same as in ultralytics, so that the browser and Python find the same boxes.

const PADDING = "rgb(114, 114, 114)"; // colour of the input around the image

// Scale the image until it fills `height` or `width` px, centred. Return the input (1, 3, height, width), RGB in [0, 1],
// and what maps boxes back to the image: the scale, the offset (px of the input), and the sides of the image.
export function letterbox(image, [inputHeight, inputWidth]) {
  const scale = Math.min(inputWidth / image.width, inputHeight / image.height);
  const [width, height] = [Math.round(image.width * scale), Math.round(image.height * scale)];
  const [left, top] = [Math.round((inputWidth - width) / 2 - 0.1), Math.round((inputHeight - height) / 2 - 0.1)];
  const canvas = new OffscreenCanvas(inputWidth, inputHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = PADDING;
  context.fillRect(0, 0, inputWidth, inputHeight);
  context.drawImage(image, left, top, width, height);
  const { data: rgba } = context.getImageData(0, 0, inputWidth, inputHeight);
  const pixels = inputHeight * inputWidth;
  const input = new Float32Array(3 * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < 3; channel++) input[channel * pixels + pixel] = rgba[4 * pixel + channel] / 255;
  }
  return { input, scale, left, top, sides: [image.width, image.height] };
}

// Return the boxes in px of the image. `output` (4 + classes, anchors) contains, per anchor, centre, width and height in
// px of the input, then a score per class. Non-maximum suppression runs per class, best score first. Boxes end at the
// edges of the image.
export function decode(output, classes, { scale, left, top, sides }, threshold, iou = 0.7) {
  const anchors = output.length / (4 + classes);
  const found = [];
  for (let anchor = 0; anchor < anchors; anchor++) {
    let label = 0;
    for (let other = 1; other < classes; other++) {
      if (output[(4 + other) * anchors + anchor] > output[(4 + label) * anchors + anchor]) label = other;
    }
    const score = output[(4 + label) * anchors + anchor];
    if (score < threshold) continue;
    const [x, y, width, height] = [0, 1, 2, 3].map((row) => output[row * anchors + anchor]);
    const xyxy = [x - width / 2 - left, y - height / 2 - top, x + width / 2 - left, y + height / 2 - top];
    found.push({ label, score, xyxy: xyxy.map((value) => value / scale) });
  }
  found.sort((a, b) => b.score - a.score);
  const kept = [];
  for (const box of found) {
    if (kept.every((other) => other.label !== box.label || overlap(other.xyxy, box.xyxy) <= iou)) kept.push(box);
  }
  const clip = (value, index) => Math.min(Math.max(value, 0), sides[index % 2]);
  return kept.map((box) => ({ ...box, xyxy: box.xyxy.map(clip) }));
}

// Intersection over union, in [0, 1].
export function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  return (width * height) / (area(a) + area(b) - width * height);
}
