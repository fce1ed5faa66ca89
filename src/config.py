"""Every stage's parameters, typed; the one place where params.yaml meets conf/.

params.yaml holds the values, conf/<stage>.yaml says which pieces a stage is composed of, the dataclasses below say
which keys exist, of what type and in which range. `register` puts all three into Hydra's ConfigStore:

    schema/<stage>    the dataclass
    params/<section>  that section of params.yaml
    choices/<stage>   the groups chosen in params.yaml, as far as the stage has them

No key has a default in code: a default there would hide the typo in params.yaml.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.foundation.errors import UserError

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Range:
    """The numbers that a field may have: > above, >= least, < below, <= most, a multiple."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    multiple_of: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
            and (self.multiple_of is None or value % self.multiple_of == 0)
        )

    def __str__(self) -> str:
        limits = [
            ("above", self.above),
            ("at least", self.least),
            ("below", self.below),
            ("at most", self.most),
            ("a multiple of", self.multiple_of),
        ]
        return " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)


def number(**limits: float) -> Any:
    """A field whose value must lie in a range; `limits` are those of `Range`."""
    return field(default=MISSING, metadata={"range": Range(**limits)})


SOME = {"some": True}
"""The metadata of a list that must not be empty."""


def one_of(*allowed: str) -> Any:
    """A field whose value must be one of `allowed`."""
    return field(default=MISSING, metadata={"allowed": allowed})


def optional(*allowed: str) -> Any:
    """A field whose value must be one of `allowed`, or null."""
    return field(default=MISSING, metadata={"allowed": (*allowed, None)})


# --- groups -----------------------------------------------------------------------------------------------------------


@dataclass
class Data:
    """Where labelled images come from (conf/data)."""

    root: str = MISSING
    format: str = MISSING


@dataclass
class Scenes(Data):
    """The embedded dataset (`data: digits`): scenes composed of scikit-learn's handwritten digits."""

    train_images: int = number(least=1)
    val_images: int = number(least=1)
    test_images: int = number(least=1)
    size_px: int = number(least=32)
    fewest_digits: int = number(least=0)
    most_digits: int = number(least=1)
    smallest: float = number(above=0, most=1)  # side of a digit, as a fraction of the scene's
    largest: float = number(above=0, most=1)
    rotation_deg: float = number(least=0, most=180)


@dataclass
class VocFolder(Data):
    """Pascal VOC: an XML file per image. Folders are relative to the root; null: the usual names."""

    annotations: str | None = MISSING
    images: str | None = MISSING
    split_lists: str | None = MISSING
    class_names: list[str] | None = MISSING  # null: every name that occurs, sorted


@dataclass
class CocoFolder(Data):
    """COCO: a JSON file for the whole set, or one per split. Names are relative to the root; null: the usual names."""

    annotations: str | None = MISSING
    images: str | None = MISSING


@dataclass
class YoloFolder(Data):
    """YOLO: a text file per image and a data.yaml, relative to the root; null: the usual names."""

    data_yaml: str | None = MISSING


FROM_TEACHER = "teacher"
"""A student's `weights` where it begins with a part of its teacher's."""


@dataclass
class Architecture:
    """A detection network (conf/teacher, conf/student)."""

    architecture: str = MISSING  # an ultralytics model YAML, such as yolov8s.yaml, or a path to one
    activation: str | None = optional("silu", "relu", "hardswish")  # null: the architecture's own
    weights: str | None = None  # a file to start from; of a student also FROM_TEACHER; null: from scratch
    trust_weights: bool = MISSING  # weights are pickled Python: loading runs whatever they hold


@dataclass
class Augmentation:
    """What training does to images (conf/augmentation); ultralytics' names."""

    hsv_h: float = number(least=0, most=1)
    hsv_s: float = number(least=0, most=1)
    hsv_v: float = number(least=0, most=1)
    degrees: float = number(least=0, most=180)
    translate: float = number(least=0, most=1)
    scale: float = number(least=0, most=1)
    fliplr: float = number(least=0, most=1)
    flipud: float = number(least=0, most=1)
    mosaic: float = number(least=0, most=1)
    close_mosaic: int = number(least=0)
    mixup: float = number(least=0, most=1)


@dataclass
class Distillation:
    """The weight of each loss in the soft loss (conf/distillation); 0: not computed."""

    response: float = number(least=0)
    localization: float = number(least=0)
    feature: float = number(least=0)
    channel_wise: float = number(least=0)


@dataclass
class Teaching:
    """Who teaches (conf/teaching)."""

    mode: str = MISSING


@dataclass
class Offline(Teaching):
    """A frozen teacher."""


@dataclass
class Ensemble(Teaching):
    """The teacher and others, which are trained on the labels alone first, with the stage's own settings."""

    others: list[str] = field(default=MISSING, metadata=SOME)  # architectures
    weighting: str = one_of("mean", "confidence")


@dataclass
class Assistants(Teaching):
    """A chain from the teacher to the student: each link is the student of the one before."""

    chain: list[str] = field(default=MISSING, metadata=SOME)  # architectures


@dataclass
class BornAgain(Teaching):
    """The student's own earlier generations; the first learns from the labels alone."""

    generations: int = number(least=1)  # before the student itself


@dataclass
class MeanTeacher(Teaching):
    """The moving average of the student itself."""


@dataclass
class Mutual(Teaching):
    """A peer that is trained at the same time."""

    peer: str = MISSING  # an architecture


@dataclass
class Unlabelled(Teaching):
    """A frozen teacher, who sees images without labels, too."""

    folder: str = MISSING


@dataclass
class LabelSmoothing(Teaching):
    """No teacher: a control with smoothed labels."""

    smoothing: float = number(above=0, below=1)


@dataclass
class HardTargets(Teaching):
    """No teacher: a control with the labels alone."""


MOST_THREADS = 1024
"""Far more than a machine has; a slip of the keyboard beyond it exhausts the memory."""

# --- stages -----------------------------------------------------------------------------------------------------------


@dataclass
class Common:
    """What every stage that computes shares."""

    imgsz: int = number(least=32, multiple_of=32)  # the coarsest stride of the heads
    device: str = MISSING
    threads: int = number(least=1, most=MOST_THREADS)
    workers: int = number(least=0)


@dataclass
class Training(Common):
    """The parameters of every training stage, under ultralytics' names."""

    seed: int = number(least=0)
    epochs: int = number(least=1)
    batch: int = number(least=1)
    optimizer: str = one_of("SGD", "Adam", "AdamW", "RMSProp", "NAdam", "RAdam", "auto")
    lr0: float = number(above=0)
    lrf: float = number(above=0, most=1)
    weight_decay: float = number(least=0)
    warmup_epochs: float = number(least=0)
    patience: int = number(least=0)
    augmentation: Augmentation = MISSING

    def settings(self) -> dict[str, Any]:
        """Return the trainer's arguments, under ultralytics' names."""
        own = {item.name: getattr(self, item.name) for item in dataclasses.fields(Training)}
        del own["augmentation"], own["device"], own["threads"]  # augmentation is flat there, the others are settled
        return {**own, **dataclasses.asdict(self.augmentation)}


@dataclass
class Soft:
    """The distillation loss: total = alpha * soft * T^2 + (1 - alpha) * hard; and the cache of a teacher's answers."""

    T: float = number(above=0)
    alpha: float = number(least=0, most=1)
    cache: str = one_of("sweep", "always", "never")
    cache_gib: float = number(above=0)
    distillation: Distillation = MISSING


@dataclass
class PrepareLabels:
    """`data` decides which reader is used."""

    data: Data = MISSING
    seed: int = number(least=0)
    strict: bool = MISSING
    val_fraction: float = number(above=0, below=1)
    test_fraction: float = number(above=0, below=1)


@dataclass
class TrainTeacher(Training):
    """A training with ultralytics' own loss."""

    teacher: Architecture = MISSING


@dataclass
class Distill(Soft, Training):
    """A training with the distillation loss."""

    student: Architecture = MISSING
    teaching: Teaching = MISSING


@dataclass
class Prune(Soft, Training):
    """Removing channels, and a fine-tuning with the distillation loss."""

    method: str = one_of("structured", "unstructured_global", "unstructured_per_layer")
    ratio: float = number(least=0, below=1)
    round_to: int = number(least=1)
    importance: str = one_of("magnitude", "bn_scale", "taylor")
    importance_batches: int = number(least=1)
    sensitivity: bool = MISSING
    spared_layers: int = number(least=0)
    rounds: int = number(least=1)


CALIBRATORS = ("minmax", "moving_average", "percentile", "entropy", "mse")


@dataclass
class Calibrate(Common):
    """Which images are observed, and the settings of the calibrators that have any."""

    images: int = number(least=1)
    seed: int = number(least=0)
    equalize: bool = MISSING
    momentum: float = number(least=0, below=1)
    percentile: float = number(above=50, most=100)
    bins: int = number(least=256)  # entropy compares with 128 levels: of hardly more bins it would cut off nothing


@dataclass
class Quantize(Soft, Training):
    """The ranges, the types and the granularity of INT8, and quantization-aware training."""

    method: str = one_of("static", "qat", "tuned", "dynamic", "fp16", "int4")
    calibrator: str = one_of(*CALIBRATORS)
    target: str = one_of("onnxruntime", "openvino", "openvino_amx")
    format: str = one_of("qdq", "qoperator")
    activation_type: str = one_of("uint8", "int8")
    weight_type: str = one_of("int8", "uint8")
    per_channel: bool = MISSING
    symmetric_activations: bool = MISSING
    symmetric_weights: bool = MISSING
    float_head: bool = MISSING
    bias_correction: bool = MISSING
    float_layers: int = number(least=0)
    sensitivity: bool = MISSING
    sensitivity_images: int = number(least=1)
    max_drop: float | None = number(least=0, most=1)
    register: str | None = MISSING


@dataclass
class EvalInt8(Common):
    """The gate, and how latency is measured."""

    max_drop: float = number(least=0, most=1)
    latency_rounds: int = number(least=1)
    latency_threads: int = number(least=1, most=MOST_THREADS)
    pictures: int = number(least=0)


@dataclass
class ExportLitert(Common):
    """Nothing of its own: it takes the images that calibrate chose."""


STAGES: dict[str, type] = {
    "prepare_labels": PrepareLabels,
    "train_teacher": TrainTeacher,
    "distill": Distill,
    "prune": Prune,
    "calibrate": Calibrate,
    "quantize": Quantize,
    "eval_int8": EvalInt8,
}

BY_HAND: dict[str, type] = {"export_litert": ExportLitert}
"""Stages that the pipeline does not run; they have no section in params.yaml."""

DATA_FORMATS: dict[str, type[Data]] = {"digits": Scenes, "voc": VocFolder, "coco": CocoFolder, "yolo": YoloFolder}

TEACHING_MODES: dict[str, type[Teaching]] = {
    "offline": Offline,
    "ensemble": Ensemble,
    "assistants": Assistants,
    "born_again": BornAgain,
    "mean_teacher": MeanTeacher,
    "mutual": Mutual,
    "unlabelled": Unlabelled,
    "label_smoothing": LabelSmoothing,
    "hard": HardTargets,
}

GROUPS = ("data", "teacher", "student", "augmentation", "distillation", "teaching")


# --- composition ------------------------------------------------------------------------------------------------------


def register(params_file: Path = PROJECT / "params.yaml") -> None:
    """Put schemas, the sections of params.yaml and its group choices into Hydra's ConfigStore.

    Raises:
        UserError: params.yaml cannot be read, or has a section or choice that nothing uses.
    """
    params = _read(params_file)
    store = ConfigStore.instance()
    for stage, schema in (STAGES | BY_HAND).items():
        store.store(group="schema", name=stage, node=schema, package="_global_")
    for stage, schema in STAGES.items():
        groups = {group: name for group, name in params["choices"].items() if _has_group(schema, group)}
        chosen = [{f"override /{group}": name} for group, name in groups.items()]
        store.store(group="choices", name=stage, node={"defaults": chosen}, package="_global_")
        store.store(group="params", name=stage, node=params[stage], package="_global_")
    store.store(group="params", name="common", node=params["common"], package="_global_")
    store.store(group="params", name="data", node=params["data"], package="data")
    for name, data_schema in DATA_FORMATS.items():
        store.store(group="schema/data", name=name, node=data_schema, package="_here_")
    for name, mode in TEACHING_MODES.items():
        store.store(group="schema/teaching", name=name, node=mode, package="_here_")
    store.store(group="schema", name="distillation", node=Distillation, package="_here_")
    store.store(group="schema", name="architecture", node=Architecture, package="_here_")
    store.store(group="schema", name="augmentation", node=Augmentation, package="_here_")


def _read(params_file: Path) -> dict[str, Any]:
    try:
        params: Any = OmegaConf.to_container(OmegaConf.load(params_file))
    except (OSError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{params_file.name}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(params, dict):
        raise UserError(f"{params_file.name}: expected sections with keys, found {type(params).__name__}")
    _expect_keys(params, ["choices", "data", "common", *STAGES], params_file.name)
    _expect_keys(params["choices"], GROUPS, f"{params_file.name}: choices")
    return params


def _expect_keys(found: Any, expected: Iterable[str], where: str) -> None:
    expected = list(expected)
    if not isinstance(found, dict):
        raise UserError(f"{where}: expected keys with values, found {type(found).__name__}")
    for key in found:
        if key not in expected:
            raise UserError(f"{where}: nothing uses the key {key}{_suggestion(str(key), expected)}")
    for key in expected:
        if key not in found:
            raise UserError(f"{where}: the key {key} is missing")


def _suggestion(key: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(key, known, n=1)
    return f": did you mean {close[0]}?" if close else f": expected one of {', '.join(known)}"


def _has_group(schema: type, group: str) -> bool:
    return any(item.name == group for item in dataclasses.fields(schema))


def typed(stage: str, config: DictConfig) -> Any:
    """Return the composed config as the stage's dataclass, every value checked against its range.

    Raises:
        UserError: a value is missing or out of range.
    """
    _expect_known(config, stage)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{stage}: no value for {', '.join(missing)}: add it to params.yaml or conf/")
    params = OmegaConf.to_object(config)
    _check_ranges(params, stage)
    return params


def suggestion(key: str, schema: str) -> str:
    """Return what was perhaps meant by a key that a schema, named by its class, does not have."""
    known = {cls.__name__: cls for cls in (STAGES | BY_HAND).values()}.get(schema)
    if key in STAGES:
        return ": by hand keys have no section"
    return _suggestion(key, [item.name for item in dataclasses.fields(known)]) if known else ""


def _expect_known(config: DictConfig, where: str) -> None:
    """Check that a composed config has the keys of its dataclasses alone: Hydra adds any that is written `+key`."""
    schema = OmegaConf.get_type(config)
    if not dataclasses.is_dataclass(schema):
        return
    known = [item.name for item in dataclasses.fields(schema)]
    for key in map(str, config):
        if key not in known:
            raise UserError(f"{where}: nothing uses the key {key}{_suggestion(key, known)}")
        if not OmegaConf.is_missing(config, key) and isinstance(config[key], DictConfig):
            _expect_known(config[key], f"{where}.{key}")


def _check_ranges(params: Any, where: str) -> None:
    for item in dataclasses.fields(params):
        value = getattr(params, item.name)
        key = f"{where}.{item.name}"
        if dataclasses.is_dataclass(value):
            _check_ranges(value, key)
        elif "allowed" in item.metadata and value not in item.metadata["allowed"]:
            raise UserError(f"{key} must be one of {_in_words(item.metadata['allowed'])}, got {value}")
        elif "range" in item.metadata and value is not None and value not in item.metadata["range"]:
            raise UserError(f"{key} must be {item.metadata['range']}, got {value}: edit params.yaml or conf/")
        elif "some" in item.metadata and not value:
            raise UserError(f"{key} must name at least one, got {value}: edit conf/ or choose another")


def _in_words(allowed: Iterable[str | None]) -> str:
    return ", ".join("null" if value is None else value for value in allowed)
