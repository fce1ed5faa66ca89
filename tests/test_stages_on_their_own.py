"""Whatever a command imports first, ultralytics and MLflow find their environment settled."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from src import PROJECT

pytestmark = pytest.mark.slow

SETTLED = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
ENTRY_POINTS = sorted(
    ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    for folder in ("src", "benchmarks")
    for path in (PROJECT / folder).glob("*.py")
    if path.name != "__init__.py"
)
WATCH = """
import importlib, json, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("ultralytics", "mlflow"):
            print(json.dumps(dict(os.environ)))
            sys.stdout.flush()
            os._exit(0)

sys.meta_path.insert(0, Watch())
importlib.import_module(sys.argv[1])
print(json.dumps(dict(os.environ)))
"""


@pytest.mark.parametrize("module", [*ENTRY_POINTS, "src.quantization.int8", "src.distillation.losses.response"])
def test_the_environment_is_settled_before_ultralytics_and_mlflow_are_imported(module: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in SETTLED}
    command = [sys.executable, "-c", WATCH, module]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert {key: found.get(key) for key in SETTLED} == SETTLED


def test_what_the_user_has_set_stays() -> None:
    environment = os.environ | {"YOLO_OFFLINE": "false"}
    command = [sys.executable, "-c", "import src, os; print(os.environ['YOLO_OFFLINE'])"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "false"


def test_ultralytics_is_offline_installs_nothing_and_loads_safely() -> None:
    facts = ["utils.ONLINE", "checks.AUTOINSTALL", "utils.SAFE_LOAD", "utils.SETTINGS['sync']", "platform.callbacks"]
    imports = "import src.detector; from ultralytics import utils; from ultralytics.utils import checks"
    code = f"{imports}; from ultralytics.utils.callbacks import platform; print({', '.join(facts)})"
    environment = {key: value for key, value in os.environ.items() if key not in SETTLED}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False True False {}"
