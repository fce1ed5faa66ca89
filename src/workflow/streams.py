"""Standard output and standard error that outlive their reader.

In `python -m src.distill -m T=1,3 | head -1` the reader ends after a line. Python then raises BrokenPipeError at the
next print, anywhere in the code: a training would be lost, or a sweep would end without closing its runs.
"""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast


class Outliving:
    """A text stream that goes on as /dev/null when the reader of its pipe is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or drop it if nobody reads."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._to_nowhere()
            return len(text)

    def flush(self) -> None:
        """Pass on what was written, or drop it if nobody reads."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._to_nowhere()

    def _to_nowhere(self) -> None:
        """Replace the pipe, so that what is still buffered can be flushed when the process ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_readers() -> None:
    """Let this process's standard output and standard error outlive their readers."""
    sys.stdout, sys.stderr = (cast(TextIO, Outliving(stream)) for stream in (sys.stdout, sys.stderr))
