"""Label files that would take minutes or gigabytes to read are refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml

from src.labels import limits
from src.labels.coco import read_coco
from src.labels.limits import DEEPEST, parse_json, parse_xml, parse_yaml
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo
from tests.labels.small_folders import coco_folder, message_of, read_and_check, voc_folder, voc_xml, yolo_folder


def levels(first: str, each: str, count: int) -> str:
    """Return YAML in which each level refers several times to the one before."""
    return first + "".join(f"a{i}: &a{i} {each.replace('BEFORE', f'*a{i - 1}')}\n" for i in range(1, count))


def keys_in_merges() -> str:
    return levels("a0: &a0 {k: 1}\n", "{<<: [" + ", ".join(["BEFORE"] * 9) + "]}", 9)


BOMBS = {
    "merge keys": (keys_in_merges(), r"line 2 has a merge key \(<<\): write the keys out"),
    "one merge key": ("a: &a {k: 1}\nb:\n  <<: *a\n", "line 3 has a merge key"),
    "aliases": (levels("a0: &a0 [x]\n", "[" + ", ".join(["BEFORE"] * 9) + "]", 20), "more than 100 aliases"),
    "brackets": ("[" * 100_000, "nested deeper than 50 levels"),
    "dashes": ("- " * 100_000, "nested deeper than 50 levels"),
    "base 60": ("a: 1" + ":11" * 100_000, "a value of more than 3000 characters"),
    "long number": ("a: 0x" + "f" * 100_000, "a value of more than 3000 characters"),
    "impossible number": ('a: !!int ""', "string index out of range"),
    "too large for a float": ("a: 1" + ":59" * 900 + ".5", "too large"),
    "code": ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
}


@pytest.mark.parametrize(("text", "reason"), BOMBS.values(), ids=BOMBS.keys())
def test_yaml_that_explodes_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    (tmp_path / "data.yaml").write_text(f"{text}\n")
    message = message_of(read_yolo, tmp_path)
    assert message.startswith(f"{tmp_path}: 1 fault in 1 file")
    assert len(message.splitlines()) == 2
    assert re.search(reason, message)


def test_plain_aliases_are_read(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    text = (tmp_path / "data.yaml").read_text().replace("[cat, dog]", "&n [cat, dog]\nsame: *n")
    (tmp_path / "data.yaml").write_text(text)
    assert len(read_and_check(read_yolo, tmp_path)[0].images) == 6


@pytest.mark.parametrize("library", ["C", "Python"])
def test_yaml_has_the_same_limits_without_its_c_library(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = yaml.SafeLoader if library == "Python" else yaml.CSafeLoader
    monkeypatch.setattr(limits, "_PlainLoader", type("Loader", (limits._NoMergeKeys, base), {}))
    for name in ("brackets", "dashes", "aliases", "merge keys"):
        text, reason = BOMBS[name]
        with pytest.raises(ValueError, match=reason):
            parse_yaml(text)
    assert parse_yaml("a: [1, 2]") == {"a": [1, 2]}


@pytest.mark.parametrize("depth", [DEEPEST - 1, DEEPEST])
def test_xml_is_nested_at_most_so_deep(depth: int) -> None:
    text = "<annotation>" + "<a>" * depth + "</a>" * depth + "</annotation>"
    if depth < DEEPEST:
        assert parse_xml(text).tag == "annotation"
    else:
        with pytest.raises(ValueError, match="nested deeper than 50 levels"):
            parse_xml(text)


def test_deep_xml_and_deep_json_are_faults(tmp_path: Path) -> None:
    voc_folder(tmp_path / "voc")
    (tmp_path / "voc/Annotations/a.xml").write_text("<annotation>" + "<object>" * 200_000)
    assert "a.xml: broken XML (nested deeper than 50 levels)" in message_of(read_voc, tmp_path / "voc")
    coco_folder(tmp_path / "coco")
    path = tmp_path / "coco/annotations/instances_train2017.json"
    path.write_text('{"images": ' + '{"a":' * 200_000)
    assert "broken JSON (nested too deeply)" in message_of(read_coco, tmp_path / "coco")


def test_many_objects_in_one_xml_are_read() -> None:
    text = voc_xml("a").replace("</annotation>", "<object><name>cat</name></object>" * 2000 + "</annotation>")
    assert len(parse_xml(text).findall("object")) == 2002


@pytest.mark.parametrize(
    ("name", "mib"),
    [("Annotations/a.xml", 17), ("ImageSets/Main/train.txt", 65)],
)
def test_label_file_that_is_too_large_is_not_read(name: str, mib: int, tmp_path: Path) -> None:
    voc_folder(tmp_path)
    with (tmp_path / name).open("ab") as stream:
        stream.truncate(mib * 2**20)  # a hole, which takes no space on the disk
    assert f"{name}: cannot be read ({mib} MiB, more than the limit of {mib - 1} MiB" in message_of(read_voc, tmp_path)


def test_json_that_does_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"images": list(range(1000))})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6 * len(text)))
    assert parse_json(text)["images"][-1] == 999
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6 * len(text) - 1))
    with pytest.raises(ValueError, match="GiB of memory"):
        parse_json(text)
