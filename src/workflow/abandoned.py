"""Runs whose process was killed before it could close them: SIGKILL, a lack of memory, a power failure.

A run records its machine and process as tags. The next stage on that machine closes the runs of processes that died.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from src.foundation.processes import HOST, is_alive

if TYPE_CHECKING:
    from src.workflow.store import OpenStore

HOST_TAG, PROCESS_TAG = "process.host", "process.id"

_HOST = re.sub(r"[^\w.-]", "_", HOST)  # it stands in the filter of a search


def process_tags() -> dict[str, str]:
    """Return the tags that name this machine and this process."""
    return {HOST_TAG: _HOST, PROCESS_TAG: str(os.getpid())}


def close_abandoned(store: OpenStore) -> None:
    """Close as KILLED each run that is RUNNING in the experiment, but whose process of this machine has died."""
    running = store.client.search_runs(
        [store.experiment_id], f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{_HOST}'"
    )
    for run in running:
        pid = run.data.tags.get(PROCESS_TAG, "")
        if pid.isdigit() and not is_alive(int(pid), run.info.start_time / 1000):
            store.client.set_tag(run.info.run_id, "error", "its process ended without closing the run")
            store.client.set_terminated(run.info.run_id, "KILLED")
