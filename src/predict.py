"""predict: draws what the INT8 detector finds in images, videos, cameras and streams: `python -m src.predict source=0`.

Reads models/int8.onnx, and models/pruned.onnx to compare. Writes the pictures (or video.mp4), detections.json,
detections.csv and summary.json. By hand only. It imports neither torch nor ultralytics, and is not recorded in MLflow:
the first boxes are there after a second.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("predict")

import logging
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from src.config.predict import Predict
from src.deployment.detections import Detections
from src.deployment.onnx_detector import STEPS, OnnxDetector
from src.deployment.sources import Frame, Source, open_source
from src.evaluation.agreement import LEAST_IOU, Agreement, compare, summarize
from src.foundation.atomic import write_json
from src.foundation.errors import SettingError, UserError, printable
from src.foundation.pipeline import FLOAT_ONNX, INT8_ONNX
from src.reporting.boxes import Pixels, draw_boxes, enlarged
from src.reporting.detection_files import detection_files
from src.reporting.picture_files import Show, image_files, video_file
from src.reporting.side_by_side import Half, joined
from src.workflow.interrupts import noted_interrupts
from src.workflow.stage_files import StageFiles
from src.workflow.store import without_password

SHOWN_FAULTS = 3
"""So many faults are on the screen; summary.json has all."""

_logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """What was seen so far.

    Attributes:
        frames: number of images or frames that were read.
        faults: each that could not be read, and why.
        found: number of detections per class.
        times_ms: of each of `STEPS`, per frame.
        agreements: with FP32, by frame.
        seconds: from the first frame to the end, with reading, drawing and writing.
    """

    frames: int = 0
    faults: list[str] = field(default_factory=list)
    found: Counter[int] = field(default_factory=Counter)
    times_ms: dict[str, array[float]] = field(default_factory=lambda: {step: array("d") for step in STEPS})
    agreements: dict[str, Agreement] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, detections: Detections, times_ms: Sequence[float]) -> None:
        """Add a frame."""
        self.frames += 1
        self.found.update(detections.classes.tolist())
        for step, ms in zip(STEPS, times_ms, strict=True):
            self.times_ms[step].append(ms)


def run(params: Predict, files: StageFiles) -> None:
    """Look at the source until it ends, and write what was found.

    Raises:
        UserError: the source or a network cannot be opened, or nothing could be read.
        KeyboardInterrupt: Ctrl-C ended it, after what was found was written.
    """
    assert params.source is not None  # checked with the settings
    network = _path_of(params.model, files)
    detector = _opened(network, params, files)
    in_float = _in_float(params, detector, files) if params.compare else None
    name = without_password(params.source)
    source = open_source(params.source, files.project, name)
    draw = _drawer(detector, in_float, network.name, params)
    with noted_interrupts() as interrupted:
        tally = _look(source, name, detector, draw, params, files, interrupted)
        write_json(files.write("summary.json"), _summary(tally, detector.names, name, source, params))
        _tell(tally, source, files.output)
        if interrupted():
            raise KeyboardInterrupt


Draw = Callable[[Frame, Pixels, Detections, Tally], Pixels]
"""Returns the picture of a frame; to compare, it looks at the frame with FP32, too."""


def _path_of(model: str, files: StageFiles) -> Path:
    if model == INT8_ONNX:
        return files.read(INT8_ONNX)
    path = files.read_own(model)
    if not path.is_file():
        raise SettingError("model", f"must be an ONNX file of this project, got {model}, which is not there")
    return path


def _opened(network: Path, params: Predict, files: StageFiles) -> OnnxDetector:
    return OnnxDetector(network, params.runtime, params.cpu_threads, files.cache("runtimes"))


def _in_float(params: Predict, detector: OnnxDetector, files: StageFiles) -> OnnxDetector:
    """Return the detector in float, which has to have the same classes."""
    in_float = _opened(files.read(FLOAT_ONNX), params, files)
    if in_float.names != detector.names:
        classes = ", ".join(in_float.names)
        raise SettingError("compare", f"needs a model with the classes of {FLOAT_ONNX} ({classes}), got {params.model}")
    return in_float


def _drawer(detector: OnnxDetector, in_float: OnnxDetector | None, name: str, params: Predict) -> Draw:
    def draw(frame: Frame, pixels: Pixels, detections: Detections, tally: Tally) -> Pixels:
        picture, scale = enlarged(pixels)
        if in_float is None:
            draw_boxes(picture, detections, detector.names, scale=scale)
            return picture
        expected, _ = in_float.detect(pixels, params.score, params.iou)
        agreement = compare(expected, detections, LEAST_IOU)
        tally.agreements[str(frame)] = agreement
        first = Half(f"{Path(FLOAT_ONNX).name} (FP32)", expected, agreement.alone[0])
        return joined(pixels, scale, [first, Half(name, detections, agreement.alone[1])], detector.names)

    return draw


def _look(
    source: Source,
    name: str,
    detector: OnnxDetector,
    draw: Draw,
    params: Predict,
    files: StageFiles,
    interrupted: Callable[[], bool],
) -> Tally:
    """Look at one frame after the other, and write the pictures and the detections.

    Raises:
        UserError: no frame could be read.
    """
    tally = Tally()
    total = min((known for known in (source.length, params.frames) if known is not None), default=None)
    started_s = time.perf_counter()
    with (
        detection_files(files.write("detections.json"), files.write("detections.csv"), detector.names) as add,
        _pictures(source, files) as show,
    ):
        for frame in tqdm(islice(source, params.frames), "predict", total, unit="frame"):
            if frame.pixels is None:
                tally.faults.append(f"{frame}: {frame.fault}")
            else:
                detections, times_ms = detector.detect(frame.pixels, params.score, params.iou)
                tally.add(detections, times_ms)
                add(frame.name, frame.number, detections)
                show(frame.name, draw(frame, frame.pixels, detections, tally))
            if interrupted():
                break
        if not tally.frames:
            if interrupted():
                raise KeyboardInterrupt
            raise UserError(f"{name}: nothing could be read: {'; '.join(tally.faults[:SHOWN_FAULTS]) or 'it is empty'}")
    tally.seconds = time.perf_counter() - started_s
    return tally


def _pictures(source: Source, files: StageFiles) -> AbstractContextManager[Show]:
    if source.fps is None:
        return image_files(files.write("pictures"))
    return video_file(files.write("video.mp4"), source.fps)


def _summary(tally: Tally, names: Sequence[str], source_name: str, source: Source, params: Predict) -> dict[str, Any]:
    return {
        "source": source_name,
        "model": params.model,
        "runtime": params.runtime,
        "threads": params.cpu_threads,
        "score": params.score,
        "iou": params.iou,
        "frames": tally.frames,
        "not_read": tally.faults,
        "passed_over": source.passed_over,
        "detections": {names[index]: count for index, count in sorted(tally.found.items())},
        "frames_per_second": round(tally.frames / tally.seconds, 2),
        "ms": {step: _percentiles(times_ms) for step, times_ms in tally.times_ms.items()},
        **({"agreement": {"least_iou": LEAST_IOU, **summarize(tally.agreements)}} if tally.agreements else {}),
    }


def _percentiles(times_ms: array[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(times_ms, share)), 4) for share in (50, 95)}


def _tell(tally: Tally, source: Source, output: Path) -> None:
    """Log what was found and how long it took."""
    if tally.faults:
        shown = printable("; ".join(tally.faults[:SHOWN_FAULTS]))  # a file's name may hold anything
        more = "; the others are in summary.json" if len(tally.faults) > SHOWN_FAULTS else ""
        _logger.warning("%d could not be read: %s%s", len(tally.faults), shown, more)
    if source.passed_over:
        _logger.info("%d files of the folder are no images, and were passed over", source.passed_over)
    rate = tally.frames / tally.seconds
    _logger.info("%d frame(s), %d detection(s), %.1f frames per second", tally.frames, tally.found.total(), rate)
    times = {step: _percentiles(times_ms) for step, times_ms in tally.times_ms.items()}
    shown = "; ".join(f"{step} {of['p50']:.2f}, {of['p95']:.2f}" for step, of in times.items())
    _logger.info("ms per frame, median and 95th percentile: %s", shown)
    if tally.agreements:
        share = summarize(tally.agreements)["share_matched"]
        if share is None:
            _logger.info("neither FP32 nor the model finds anything: there is nothing to agree on")
        else:
            _logger.info("share of the detections that agree with FP32, in the mean over frames: %.4f", share)
    _logger.info("outputs are in %s", output)
