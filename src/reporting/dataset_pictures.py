"""Pictures of a dataset: samples with their boxes, and the distribution of box sizes. The bytes are reproducible."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from src.foundation.prepared import SPLITS
from src.labels.dataset import Dataset, LabelledImage
from src.labels.decoding import read_rgb
from src.labels.summary import relative_sides
from src.reporting.plots import plot

Colour = tuple[int, int, int]  # RGB, 0 to 255

COLUMNS, ROWS = 3, 3
MOST_PAIRS = 8
CELL_PX, GAP_PX, LEGEND_PX = 260, 6, 30
PAPER, INK = (255, 255, 255), (40, 40, 40)
MOST_BYTES = 300_000  # the pictures are in git
PALETTES = (256, 128, 64, 32, 16, 8)  # number of colours of the PNG; fewer colours give a smaller file


def draw_samples(dataset: Dataset, path: Path) -> None:
    """Draw up to nine images of train with their boxes, one colour per class, and write them to `path` as PNG.

    The samples are evenly spaced in the order of the dataset. Background images are drawn only if train has no boxes.
    The number of colours is reduced, from 256 down to 8, until the file is below 300 kB.
    """
    colours = class_colours(len(dataset.class_names))
    cells = [_cell(sample, colours) for sample in _samples(dataset)]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    legend = _legend(dataset.class_names, colours, COLUMNS * (CELL_PX + GAP_PX) + GAP_PX)
    heights = [max(cell.height for cell in row) + GAP_PX for row in rows]
    sheet = Image.new("RGB", (legend.width, legend.height + sum(heights)), PAPER)
    sheet.paste(legend, (0, 0))
    for index, row in enumerate(rows):
        top = legend.height + sum(heights[:index])
        for column, cell in enumerate(row):
            sheet.paste(cell, (GAP_PX + column * (CELL_PX + GAP_PX) + (CELL_PX - cell.width) // 2, top))
    path.write_bytes(_small_png(sheet, [PAPER, INK, *colours]))


def draw_near_duplicates(pairs: Sequence[tuple[LabelledImage, LabelledImage]], path: Path) -> None:
    """Draw up to eight pairs of images side by side, each under its split and name, and write them to `path` as PNG."""
    width = 2 * (CELL_PX + GAP_PX) + GAP_PX
    count = f"{len(pairs)} near duplicates across splits" if pairs else "No near duplicates across splits"
    more = f"; the closest {MOST_PAIRS}" if len(pairs) > MOST_PAIRS else ""
    rows = [_caption(f"{count}{more}", width)]
    for pair in pairs[:MOST_PAIRS]:
        cells = [_cell(image, ()) for image in pair]
        row = Image.new("RGB", (width, LEGEND_PX + max(cell.height for cell in cells) + GAP_PX), PAPER)
        for column, (image, cell) in enumerate(zip(pair, cells, strict=True)):
            left = GAP_PX + column * (CELL_PX + GAP_PX)
            row.paste(_caption(f"{image.split}: {image.path.name}", CELL_PX), (left, 0))
            row.paste(cell, (left + (CELL_PX - cell.width) // 2, LEGEND_PX))
        rows.append(row)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), PAPER)
    for index, row in enumerate(rows):
        sheet.paste(row, (0, sum(above.height for above in rows[:index])))
    path.write_bytes(_small_png(sheet, [PAPER, INK]))


def draw_box_sizes(dataset: Dataset, path: Path) -> None:
    """Draw the distribution of box sizes per split, and box width against height, and write it to `path` as PNG."""
    with plot(path, 9, 3.6) as figure:
        sizes, shapes = figure.subplots(1, 2)
        bins = np.linspace(0, 100, 51)
        for split in SPLITS:
            sides = [100 * relative_sides(image) for image in dataset.images if image.split == split]
            values = np.concatenate(sides or [np.zeros(0)])
            if len(values):
                shares = 100 * np.histogram(values, bins)[0] / len(values)
                sizes.stairs(shares, bins, label=f"{split}, {len(values)} boxes", linewidth=1.5)
        sizes.set(xlabel="square root of (box area / image area), %", ylabel="% of the boxes of the split")
        if sizes.patches:
            sizes.legend()
        fractions = [100 * _sides_px(image) / np.array(image.size_wh) for image in dataset.images]
        widths_heights = np.concatenate(fractions or [np.zeros((0, 2))])
        if len(widths_heights):
            shapes.hexbin(*widths_heights.T, gridsize=40, extent=(0, 100, 0, 100), bins="log", mincnt=1)
        shapes.set(xlabel="box width, % of image width", ylabel="box height, % of image height")
        shapes.set(xlim=(0, 100), ylim=(0, 100))


def class_colours(count: int) -> list[Colour]:
    """Return one bright RGB colour per class. Hues advance by the golden angle, so that neighbours differ clearly."""
    colours: list[Colour] = []
    for index in range(count):
        red, green, blue = colorsys.hls_to_rgb((0.6 + index * 0.618034) % 1, 0.5, 0.9)
        colours.append((int(255 * red), int(255 * green), int(255 * blue)))
    return colours


def _samples(dataset: Dataset) -> list[LabelledImage]:
    train = [image for image in dataset.images if image.split == "train"]
    candidates = [image for image in train if len(image.classes)] or train
    indices = np.linspace(0, len(candidates) - 1, min(COLUMNS * ROWS, len(candidates)))
    return [candidates[index] for index in indices.round().astype(int)]


def _caption(text: str, width: int) -> Image.Image:
    """Return a strip with one line of text, cut off at the right."""
    strip = Image.new("RGB", (width, LEGEND_PX), PAPER)
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    ImageDraw.Draw(strip).text((0, LEGEND_PX // 2), line, fill=INK, font=ImageFont.load_default(13), anchor="lm")
    return strip


def _cell(sample: LabelledImage, colours: Sequence[Colour]) -> Image.Image:
    """Return a small copy of an image with its boxes; without `colours` the image alone."""
    picture = Image.fromarray(read_rgb(sample.path))
    scale = CELL_PX / max(sample.size_wh)
    width, height = (max(1, round(side * scale)) for side in sample.size_wh)
    cell = picture.resize((width, height), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(cell)
    for box, index in zip(sample.boxes_xyxy, sample.classes, strict=True) if colours else ():
        corners = (box * np.tile([width / sample.size_wh[0], height / sample.size_wh[1]], 2)).round().astype(int)
        left, top = (int(value) for value in corners[:2])
        right, bottom = max(left, int(corners[2]) - 1), max(top, int(corners[3]) - 1)
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=INK, width=4)
        draw.rectangle((left, top, right, bottom), outline=colours[index], width=2)
    return cell


def _legend(names: Sequence[str], colours: Sequence[Colour], width: int) -> Image.Image:
    """Return a strip with the colour and name of each class, at most three lines; further classes are left out."""
    font = ImageFont.load_default(13)
    entries, left, top = [], GAP_PX, 0
    for index, name in enumerate(names):
        needed = 22 + int(font.getlength(name)) + 14
        if left + needed > width and left > GAP_PX:
            left, top = GAP_PX, top + LEGEND_PX
        entries.append((index, name, left, top))
        left += needed
    shown = [entry for entry in entries if entry[3] < 3 * LEGEND_PX]
    legend = Image.new("RGB", (width, LEGEND_PX + max((entry[3] for entry in shown), default=0)), PAPER)
    draw = ImageDraw.Draw(legend)
    for index, name, left, top in shown:
        draw.rectangle((left, top + 9, left + 14, top + 21), fill=colours[index])
        draw.text((left + 20, top + 15), name, fill=INK, font=font, anchor="lm")
    return legend


def _small_png(sheet: Image.Image, exact: Sequence[Colour]) -> bytes:
    """Return the sheet as PNG with a palette. The palette contains the `exact` colours, up to half of its size."""
    content = b""
    for colours in PALETTES:
        kept = exact[: colours // 2]
        common = sheet.quantize(colours - len(kept), method=Image.Quantize.MEDIANCUT).getpalette() or []
        palette = Image.new("P", (1, 1))
        palette.putpalette([*common, *(part for colour in kept for part in colour)])
        stream = io.BytesIO()
        sheet.quantize(palette=palette, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        content = stream.getvalue()
        if len(content) < MOST_BYTES:
            break
    return content


def _sides_px(image: LabelledImage) -> NDArray[np.float64]:
    return image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]
