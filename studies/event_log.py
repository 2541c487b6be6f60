"""An append-only log of events: one JSON object a line, written whole or not at all, with its number and a checksum."""

import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndecore.errors import NDEError
from studies.locks import locked

NUMBER, CHECKSUM = "n", "crc"
_SEAL = re.compile(rb', "crc": "([0-9a-f]{8})"\}$')


class LedgerUnwritable(NDEError):
    """The ledger cannot be written, for want of space say: the study stops, and goes on from there when it can."""


class LedgerDamaged(NDEError):
    """A line of the ledger is not as it was written; the message names file and line."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        remedy = f"`nde-study repair {path.parent.name}` tells what can be kept"
        super().__init__(f"{path}, line {line}: {what}; {remedy}")
        self.line, self.what = line, what


@dataclass(frozen=True)
class Line:
    """A line of a log as it stands there."""

    place: int  # in the file, from 1
    data: Any  # its JSON, without number and checksum; None where it is damaged
    number: int | None = None  # with which it was written; None of format 1
    damage: str = ""  # what is wrong with it


def sealed(event: Mapping[str, Any], number: int) -> bytes:
    """An event as a line: with its number, from 1, and the CRC-32 of all that stands before the checksum."""
    body = json.dumps({NUMBER: number, **event})[:-1].encode()
    return body + f', "{CHECKSUM}": "{zlib.crc32(body):08x}"}}\n'.encode()


def _line(place: int, raw: bytes, is_bare_allowed: bool) -> Line:
    seal = _SEAL.search(raw)
    if seal and int(seal[1], 16) != zlib.crc32(raw[: seal.start()]):
        return Line(place, None, damage="was changed: its checksum is another one")
    if not seal and not is_bare_allowed:
        return Line(place, None, damage="was cut off or changed: it has no checksum")
    try:
        data = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return Line(place, None, damage="was cut off or changed: it is no JSON")
    if not isinstance(data, dict):
        return Line(place, None, damage="was changed: it is no event")
    data.pop(CHECKSUM, None)
    return Line(place, data, data.pop(NUMBER, None) if seal else None)


@dataclass(frozen=True)
class Read:
    """Up to where a log was read."""

    n_bytes: int = 0
    n_lines: int = 0
    is_bare_allowed: bool = True  # until the first sealed line: a study of format 1 goes on as one of format 2


NOTHING = Read()


class EventLog:
    """Events in a file. Read by anyone; appended to by the one process that has opened it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1  # a descriptor while open
        self._n_lines = 0
        self.have_read = NOTHING  # with the last line that was taken

    def lines(self, after: Read = NOTHING) -> Iterator[Line]:
        """Every line that was written whole; a process that was killed may leave half a line at the end.

        Args:
            after: where an earlier reading came to an end.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(after.n_bytes)
                content = file.read()
        except OSError as error:
            raise LedgerDamaged(self.path, 0, f"cannot be read: {error.strerror}") from None
        self.have_read = after
        for raw in content.split(b"\n")[:-1]:
            have = self.have_read
            line = _line(have.n_lines + 1, raw, have.is_bare_allowed)
            is_bare_allowed = have.is_bare_allowed and line.number is None and not _SEAL.search(raw)
            self.have_read = Read(have.n_bytes + len(raw) + 1, have.n_lines + 1, is_bare_allowed)
            yield line

    def read(self, after: Read = NOTHING) -> Iterator[Line]:
        """The same of a log that is whole.

        Raises:
            LedgerDamaged: a line is not as it was written, or not where it was.
        """
        for line in self.lines(after):
            damage = line.damage
            if not damage and line.number not in (None, line.place):
                is_lost = line.number is not None and line.number > line.place
                damage = f"was line {line.number} when it was written: " + (
                    "lines are missing" if is_lost else "doubled"
                )
            if damage:
                raise LedgerDamaged(self.path, line.place, damage)
            yield line

    @contextmanager
    def opened(self, study: str) -> Iterator["EventLog"]:
        """Open it for appending, and for this process alone.

        Raises:
            StudyBusy: another process has it.
            LedgerUnwritable: the folder or the file cannot be written.
        """
        with ExitStack() as stack:
            try:
                self._file = stack.enter_context(locked(self.path, study))
                drop_torn_line(self.path)
                self._n_lines = self.path.read_bytes().count(b"\n")
            except OSError as error:
                place = error.filename or self.path
                raise LedgerUnwritable(f"{place}: cannot be written: {error.strerror or error}") from None
            stack.callback(setattr, self, "_file", -1)
            yield self

    def append(self, event: Mapping[str, Any], durable: bool = True) -> None:
        """Write an event; durable ones also survive a loss of power.

        Raises:
            LedgerUnwritable: it could not be written, and nothing of it is left in the log; or the file at this path is
                another one by now, which another process may be writing.
        """
        line = sealed(event, self._n_lines + 1)
        self._check_place()
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
        self._n_lines += 1

    def _check_place(self) -> None:
        try:
            is_same = os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except OSError:
            is_same = False
        if not is_same:
            raise LedgerUnwritable(
                f"{self.path}: was moved or replaced while this process was writing it; it stops here"
            )


def drop_torn_line(path: Path) -> None:
    """Cut off the half a line that a killed writer may have left; what is no file has none."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
