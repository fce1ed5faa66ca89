"""MLflow's store: many processes at once, and a server that hangs, dies and returns."""

from __future__ import annotations

import signal
import socket
import sqlite3
import time
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from random import Random
from urllib.request import urlopen

from benchmarks.reliability.victim import NOT_RECORDED, Attempt, Running, Victim, count_running, python

PROCESSES = 16
STAGE = "distill-student"
PAUSE_S = 5.0
FAULTS = ("hangs", "hangs and returns", "dies", "dies and returns")


def many_processes(victim: Victim, number: int) -> Attempt:
    """Start many runs at once on a store that does not exist yet."""
    database = victim.root / f".cache/fresh-{number}.db"
    database.unlink(missing_ok=True)
    runs = [
        victim.by_hand(
            "calibrate", "images=2", f"hydra.run.dir=outputs/fresh-{index}", MLFLOW_TRACKING_URI=f"sqlite:///{database}"
        )
        for index in range(PROCESSES)
    ]
    lost = [f"process {index}: {found}" for index, run in enumerate(runs) if (found := _complaint(run))]
    recorded = [entry for entry in _recorded(database) if entry[0] == "FINISHED"]
    if len(recorded) != PROCESSES or len(set(recorded)) > 1:
        lost.append(f"{len(recorded)} runs FINISHED, with metrics and params {sorted({row[1:] for row in recorded})}")
    database.unlink()
    return Attempt("a fresh store", f"{PROCESSES} processes at once", "calibrate", lost)


def _complaint(run: Running) -> str:
    ended = run.end()
    return ended.complaint or (ended.last_line if NOT_RECORDED in ended.text else "")


def server(victim: Victim, number: int) -> Attempt:
    """Let a tracking server fail while a stage runs. The record is complete, or the stage says that it is not."""
    random = Random(f"server {number}")
    fault = FAULTS[number % len(FAULTS)]
    moment_s = random.uniform(0.5, victim.seconds(STAGE))
    folder = victim.root / f".cache/server-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    database, output = folder / "mlflow.db", victim.root / f"outputs/server-{number}"
    database.unlink(missing_ok=True)
    tracking = Server(victim.root, folder)
    whole = victim.by_hand(STAGE, f"hydra.run.dir={output}-whole", MLFLOW_TRACKING_URI=tracking.uri).end()
    [expected] = _recorded(database)
    run = victim.by_hand(STAGE, f"hydra.run.dir={output}", MLFLOW_TRACKING_URI=tracking.uri)
    time.sleep(moment_s)
    if fault.startswith("hangs"):
        tracking.running.signal(signal.SIGSTOP)
        if fault.endswith("returns"):
            time.sleep(PAUSE_S)
            tracking.running.signal(signal.SIGCONT)
    else:
        tracking.running.signal(signal.SIGKILL)
        if fault.endswith("returns"):
            time.sleep(PAUSE_S)
            tracking.start()
    ended = run.end()
    tracking.end()
    lost = [found for found in (whole.complaint, ended.complaint) if found]
    digests = victim.undisturbed["digests"][STAGE]
    lost += [f"{name} differs" for name, md5 in victim.digests(STAGE, output).items() if md5 != digests[name]]
    recorded = sorted(_recorded(database))
    if recorded != [expected, expected] and NOT_RECORDED not in ended.text:
        lost.append(f"the record is incomplete, and the stage does not say so: {recorded}")
    tracking.start()
    again = victim.by_hand(STAGE, f"hydra.run.dir={output}-again", MLFLOW_TRACKING_URI=tracking.uri).end()
    lost += [again.complaint] if again.complaint else []
    if running := count_running(database):
        lost.append(f"{running} runs are RUNNING after the next start")
    tracking.end()
    return Attempt(f"a tracking server {fault}", STAGE, f"after {moment_s:.2f} s", lost)


class Server:
    """A tracking server on a free port of this machine, with its store in a folder."""

    def __init__(self, root: Path, folder: Path) -> None:
        with closing(socket.socket()) as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._root, self._folder = root, folder
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        stores = [f"--backend-store-uri=sqlite:///{self._folder}/mlflow.db", f"--artifacts-destination={self._folder}"]
        self.running = Running(self._root, python("mlflow", "server", *options, *stores))
        while True:
            with suppress(OSError, HTTPException), urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.2)

    def end(self) -> None:
        """End the server, also one that is stopped."""
        self.running.signal(signal.SIGKILL)
        self.running.end()


def _recorded(database: Path) -> list[tuple[str, int, int]]:
    """Return status, number of metrics with their steps, and number of params of each run."""
    counts = "(select count(*) from metrics m where m.run_uuid = r.run_uuid and m.key not like 'system/%')"
    params = "(select count(*) from params p where p.run_uuid = r.run_uuid)"
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.execute(f"select status, {counts}, {params} from runs r"))
