// Draws an image and its boxes.

const FONT_PX = 13;
const LINE_PX = 2.5;
const PADDING_PX = 4;
const DASHES_PX = [7, 5];

// The canvas has the pixels of the screen, not those of the image: lines and text are as sharp on a small image.
// Boxes in `alone`, those without a partner, are dashed. `boxes` come best score first; the best are drawn on top.
export function draw(canvas, image, boxes, names, alone) {
  canvas.style.setProperty("--ratio", image.width / image.height);
  const perPixel = window.devicePixelRatio;
  canvas.width = Math.round(canvas.clientWidth * perPixel);
  canvas.height = Math.round((canvas.width * image.height) / image.width);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  context.scale(perPixel, perPixel);
  const scale = canvas.width / perPixel / image.width;
  const scaled = boxes.toReversed().map((box) => ({ ...box, xyxy: box.xyxy.map((value) => value * scale), dashed: alone.has(box) }));
  for (const box of scaled) outline(context, box);
  for (const box of scaled) caption(context, box, names[box.label], canvas.clientWidth);
}

// Colours of one lightness, bright enough for black text. Golden angle: neighbouring classes differ.
function colour(label) {
  return `oklch(0.8 0.17 ${(label * 137.5 + 140) % 360})`;
}

function outline(context, { label, dashed, xyxy: [left, top, right, bottom] }) {
  context.setLineDash([]);
  for (const [width, style] of [[LINE_PX + 2, "rgb(0 0 0 / 0.55)"], [LINE_PX, colour(label)]]) {
    if (dashed) context.setLineDash(DASHES_PX);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.strokeRect(left, top, right - left, bottom - top);
  }
}

// Above the box, or within it where there is no room above.
function caption(context, { label, score, xyxy: [left, top] }, name, width) {
  const text = `${name} ${score.toFixed(2)}`;
  context.font = `600 ${FONT_PX}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const [wide, high] = [context.measureText(text).width + 2 * PADDING_PX, FONT_PX + PADDING_PX];
  const x = Math.max(0, Math.min(left - LINE_PX / 2, width - wide));
  const y = top < high ? Math.max(0, top) : top - high;
  context.fillStyle = colour(label);
  context.fillRect(x, y, wide, high);
  context.fillStyle = "black";
  context.fillText(text, x + PADDING_PX, y + high / 2 + 1);
}
