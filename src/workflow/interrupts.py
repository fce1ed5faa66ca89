"""Requests to end that wait for the frame that is being worked on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C (or SIGTERM, SIGHUP) was pressed within the block.

    The first request is only noted: the block ends by itself, at a moment when its files are whole. A second one is a
    `KeyboardInterrupt` at once.
    """
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            signal.default_int_handler(number, frame)
        noted.append(number)

    before = {request: signal.getsignal(request) for request in REQUESTS}
    taken = [request for request, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for request in taken:
        signal.signal(request, note)
    try:
        yield lambda: bool(noted)
    finally:
        for request in taken:
            signal.signal(request, before[request])
