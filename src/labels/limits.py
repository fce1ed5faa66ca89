"""Read label files of an unknown source within limits: of their size, their nesting and the memory they take.

XML, JSON and YAML of a few hundred bytes can take minutes or gigabytes to read: deeply nested, or with YAML's merge
keys, where each level multiplies the one before. No label file needs that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import yaml

MIB = 2**20
MOST_MIB = {".json": 2048, ".txt": 64, ".yaml": 1, ".yml": 1}  # a JSON may hold all labels; a text may list all images
MOST_MIB_OF_OTHERS = 16
JSON_MEMORY = 6  # bytes of Python objects per byte of JSON; 5 were measured with COCO's annotations
START_BYTES = 4096
DEEPEST = 50  # levels; VOC has 5, COCO 6, data.yaml 3
MOST_ALIASES = 100
LONGEST_PLAIN_VALUE = 3000  # characters; base 60 (1:59:59) takes quadratic time, and Python prints no longer numbers


def read_bytes(path: Path) -> bytes:
    """Return the content of a label file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than the limit for its suffix.
    """
    size, limit = path.stat().st_size, MOST_MIB.get(path.suffix.lower(), MOST_MIB_OF_OTHERS) * MIB
    if size > limit:
        raise ValueError(f"{size / MIB:,.0f} MiB, more than the limit of {limit / MIB:,.0f} MiB for a label file")
    return path.read_bytes()


def read_start(path: Path) -> bytes:
    """Return the first bytes of a file, to see what it is.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return stream.read(START_BYTES)


def parse_xml(text: str | bytes) -> ElementTree.Element:
    """Return the root element.

    Raises:
        ElementTree.ParseError: broken XML.
        ValueError: nested too deeply.
    """
    return ElementTree.fromstring(text, ElementTree.XMLParser(target=_BoundedTree()))


class _BoundedTree(ElementTree.TreeBuilder):
    """Builds a tree of at most DEEPEST levels."""

    def __init__(self) -> None:
        super().__init__()
        self._level = 0

    def start(self, tag: Any, attrs: Any, /) -> ElementTree.Element:
        self._level += 1
        _check_level(self._level)
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ElementTree.Element:
        self._level -= 1
        return super().end(tag)


def parse_json(text: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: broken JSON, nested too deeply, or more than the memory that is free.
    """
    needed, free = JSON_MEMORY * len(text), psutil.virtual_memory().available
    if needed > free:
        raise ValueError(f"it needs about {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML file of plain values.

    Raises:
        yaml.YAMLError: broken YAML.
        ValueError: nested too deeply, merge keys, too many aliases, or an impossible value such as `!!int ""`.
    """
    level = aliases = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        _check_level(level)
        if aliases > MOST_ALIASES:
            raise ValueError(f"more than {MOST_ALIASES} aliases (*name)")
        if isinstance(event, yaml.ScalarEvent) and _is_long_number(event):
            raise ValueError(f"a value of more than {LONGEST_PLAIN_VALUE} characters")
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except (TypeError, LookupError, AttributeError, OverflowError) as error:
        # PyYAML's constructors raise plain exceptions on scalars such as `!!int ""`.
        raise ValueError(str(error)) from error


class _NoMergeKeys:
    """Part of a loader of YAML: merge keys are refused."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise ValueError(f"line {key.start_mark.line + 1} has a merge key (<<): write the keys out")
        super().flatten_mapping(node)  # type: ignore[misc]  # of PyYAML's SafeConstructor


class _PlainLoader(_NoMergeKeys, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C is fast
    """Constructs plain values, as `yaml.safe_load` does; ten times faster where PyYAML was built with libyaml."""


def _is_long_number(event: yaml.ScalarEvent) -> bool:
    """Return whether a value may be taken for a very long number; a value in quotes is text."""
    return bool(event.tag or event.implicit[0]) and len(event.value) > LONGEST_PLAIN_VALUE


def _check_level(level: int) -> None:
    if level > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
