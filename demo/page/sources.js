// Where frames come from. A source has a name, whether it is live, and `frames(signal)`: an asynchronous generator of
// bitmaps that ends when the source does or `signal` is aborted, and throws an error that says what the visitor can do.

import { PASSES } from "./rolling.js";

const REASONS = {
  NotAllowedError: "it was refused: allow the camera for this page in the browser's settings",
  NotFoundError: "there is none: connect one",
  NotReadableError: "it cannot be read: another program may use it",
};

// The same image again and again, for its times: once to warm up, then as often as times are kept.
export function picture(name, load) {
  async function* frames() {
    const image = await load().catch(() => {
      throw new Error("this browser cannot read it: choose a JPEG, PNG or WebP image");
    });
    for (let pass = 0; pass <= PASSES; pass++) yield image;
  }
  return { name, live: false, frames };
}

export function videoFile(file) {
  async function* frames(signal) {
    const video = player();
    video.src = URL.createObjectURL(file);
    try {
      yield* play(video, signal);
    } catch {
      throw new Error("this browser cannot play it: choose an MP4 (H.264) or WebM video");
    } finally {
      video.pause();
      URL.revokeObjectURL(video.src);
    }
  }
  return { name: file.name, live: true, frames };
}

export function camera() {
  async function* frames(signal) {
    const stream = await openCamera();
    const lost = new AbortController();
    stream.getVideoTracks()[0].addEventListener("ended", () => lost.abort());
    try {
      const video = player();
      video.srcObject = stream;
      yield* play(video, AbortSignal.any([signal, lost.signal]));
      if (lost.signal.aborted) throw new Error("it was lost: connect it and press Camera again");
    } finally {
      for (const track of stream.getTracks()) track.stop();
    }
  }
  return { name: "Camera", live: true, frames };
}

async function openCamera() {
  if (!navigator.mediaDevices) throw new Error("browsers give it only to pages from https or this machine");
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Error(REASONS[error.name] ?? error.message);
  }
}

function player() {
  const video = document.createElement("video");
  video.muted = video.playsInline = true; // phones play others only at a tap, on the full screen
  return video;
}

// A frame is taken when the one before is done: frames that come in between are left out, and none wait.
async function* play(video, signal) {
  if (signal.aborted) return;
  const stopped = new Promise((resolve) => signal.addEventListener("abort", resolve));
  await Promise.race([video.play(), stopped]); // a video without data never begins
  if (signal.aborted) return;
  do yield await createImageBitmap(video);
  while (await nextFrame(video, signal));
}

// Wait for a new frame. Return false if there is none: the video ended, or `signal` was aborted.
function nextFrame(video, signal) {
  if (video.error) throw video.error;
  if (signal.aborted || video.ended) return false;
  return new Promise((resolve, reject) => {
    const listening = new AbortController();
    const settle = (how, value) => {
      listening.abort();
      video.cancelVideoFrameCallback(request);
      how(value);
    };
    const request = video.requestVideoFrameCallback(() => settle(resolve, true));
    signal.addEventListener("abort", () => settle(resolve, false), { signal: listening.signal });
    video.addEventListener("ended", () => settle(resolve, false), { signal: listening.signal });
    video.addEventListener("error", () => settle(reject, video.error), { signal: listening.signal });
  });
}
