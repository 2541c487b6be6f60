"""An append-only log of events: one JSON object a line, written whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ndecore.errors import NDEError


class LedgerUnwritable(NDEError):
    """The ledger cannot be written, for want of space say: the study stops, and goes on from there when it can."""


class EventLog:
    """Events in a file. Read by anyone; appended to by the one process that has opened it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1  # a descriptor while open

    def read(self) -> Iterator[dict[str, Any]]:
        """Every event that was written whole; a process that was killed may leave half a line at the end."""
        text = self.path.read_text(encoding="utf-8")
        return map(json.loads, text[: text.rfind("\n") + 1].splitlines())

    @contextmanager
    def opened(self) -> Iterator["EventLog"]:
        """Open it for appending."""
        drop_torn_line(self.path)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            yield self
        finally:
            os.close(self._file)
            self._file = -1

    def append(self, event: Mapping[str, Any], durable: bool = True) -> None:
        """Write an event; durable ones also survive a loss of power.

        Raises:
            LedgerUnwritable: it could not be written, and nothing of it is left in the log.
        """
        line = (json.dumps(event) + "\n").encode()
        size = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(None, f"only {written} of {len(line)} bytes fitted")
            if durable:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)
            remedy = "make room there, then `nde-study resume`"
            raise LedgerUnwritable(f"{self.path}: cannot be written: {error.strerror}; {remedy}") from error


def drop_torn_line(path: Path) -> None:
    """Cut off the half a line that a killed writer may have left; a missing file has none."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
