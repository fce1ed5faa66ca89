"""A stage as a command: `python -m src.<stage> [key=value ...]`.

A stage's file calls `command` above its other imports. The libraries that compute (torch, ultralytics) take seconds to
import, so they are imported after Hydra has composed the settings and they are known to be good.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, NoReturn

import hydra
import yaml
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from src import PROJECT
from src.config.composition import register, suggestion
from src.config.stages import STAGES
from src.foundation.errors import UserError, printable
from src.workflow import sweep
from src.workflow.stage import execute
from src.workflow.streams import outlive_readers

INTERRUPTED = 130
"""The exit code by which shells know Ctrl-C."""


def command(stage: str) -> NoReturn:
    """Run a stage with the arguments of the command line, and end the process.

    An error that a user can mend is one line on stderr and exit code 1. A request to end (SIGTERM, by which queues end
    jobs; SIGHUP, when the terminal is closed) is treated like Ctrl-C: open files and runs are closed. If a reader of
    the output goes away (`| head -1`), the stage goes on.

    Args:
        stage: its name, such as `distill`.
    """

    def run(composed: DictConfig) -> float | None:
        return execute(stage, lambda: import_module(f"src.{stage}").run, composed)

    def main() -> None:
        register([stage])
        hydra.main(version_base="1.3", config_path=str(PROJECT / "conf"), config_name=stage)(run)()

    sys.exit(guarded(main))


def guarded(main: Callable[[], Any]) -> int:
    """Call `main`, print an error that a user can mend in one line, and return the exit code."""
    for request in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(request) != signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(request, signal.default_int_handler)
    outlive_readers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes errors on and does not print them itself
    failed = True
    try:
        main()
        failed = False
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except (HydraException, OmegaConfBaseException) as error:  # some of them are an OSError, too
        print(f"error: {printable(_in_one_line(error))}", file=sys.stderr)
    except (OSError, yaml.YAMLError) as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        sweep.finish(failed)
    return int(failed)


def _in_one_line(error: Exception) -> str:
    """Return a message of Hydra or OmegaConf, which spread it over lines."""
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, error.message)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)):
        return f"nothing uses the key {cause.full_key or cause.key}{_meant(str(cause.key), cause.object_type)}"
    if isinstance(cause, OmegaConfBaseException) and cause.msg:
        message = cause.msg.splitlines()[0]
        return f"{cause.full_key}: {message}" if cause.full_key else message
    text = str(error).partition("Config search path:")[0]
    lines = (line.strip().rstrip(".") for line in text.splitlines())
    return "; ".join(line for line in lines if line).replace(":; ", ": ")


def _unreadable(override: str, message: str) -> str:
    """Return advice for an argument that Hydra's grammar does not allow: Hydra's own message has none.

    >>> print(_unreadable("data.root=a=b", "mismatched input '='"))
    data.root=a=b: Hydra cannot read this value: to pass it as text, quote it twice: 'data.root="a=b"'
    """
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: expected key=value"
    wrong_call = re.search(r"while evaluating '.*?': (.*)", message)  # such as range(1)
    reason = f" ({wrong_call[1]})" if wrong_call else ""
    # In quotes, Hydra takes a backslash as it is, except before a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), value)
    quoted = shlex.quote(f'{key}="{escaped}"')
    return f"{override}: Hydra cannot read this value{reason}: to pass it as text, quote it twice: {quoted}"


def _meant(key: str, schema: type | None) -> str:
    """Return a suggestion for a key that a schema does not have."""
    if key in STAGES:
        return ": by hand keys have no section"
    known = [field.name for field in fields(schema)] if is_dataclass(schema) else []
    return suggestion(key, known) if known else ""
