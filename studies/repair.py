"""A damaged log: what of it can be kept, told before anything is changed, and done with the old file kept beside."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ndecore.errors import InputError
from reports.codec import Unreadable
from reports.records import TrialStatus
from studies.event_log import EventLog, Line, sealed
from studies.events import FORMAT, Created, Ended, Entry, Repaired, entry_data
from studies.history import History
from studies.reading import read_line


@dataclass(frozen=True)
class GivenUp:
    """A line that cannot be kept."""

    line: int  # in the file, from 1
    why: str


@dataclass(frozen=True)
class Examined:
    """A log, line by line."""

    path: Path
    kept: tuple[Entry, ...]
    given_up: tuple[GivenUp, ...]
    n_missing: int  # lines that were written and are not there
    n_ended: int  # trials that have ended, by what is kept

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to repair."""
        return not self.given_up and not self.n_missing

    def __str__(self) -> str:
        return f"{len(self.kept)} events kept, {len(self.given_up)} given up, {self.n_missing} missing"


def examine(path: Path) -> Examined:
    """Read a log as far as it can be trusted: whole lines, each once, each possible after those before it."""
    history, kept, given_up = History(), list[Entry](), list[GivenUp]()
    last = 0  # number of the last line that could be read
    damaged = 0  # lines since then that could not
    n_missing = 0
    for line in EventLog(path).lines():
        why, number = line.damage or _twice(line, last), line.number or line.place
        if line.damage:
            damaged += 1
        elif not why:
            n_missing += max(0, number - last - 1 - damaged)
            last, damaged = number, 0
        try:
            if not why:
                entry = read_line(line, path)
                why = _impossible(history, entry)
            if not why:
                history.apply(entry)
                kept.append(entry)
        except Unreadable as error:
            why = str(error)
        if why:
            given_up.append(GivenUp(line.place, why))
    return Examined(path, tuple(kept), tuple(given_up), n_missing, len(history.ended))


def _twice(line: Line, last: int) -> str:
    return "stands twice, or out of its place" if line.number is not None and line.number <= last else ""


def _impossible(history: History, entry: Entry) -> str:
    """A trial is complete with what its last epoch measured, or it is trained again."""
    event = entry.event
    if not isinstance(event, Ended) or event.status is not TrialStatus.COMPLETE:
        return ""
    trial = history.trials.get(event.number)
    has_last = trial is not None and trial.epochs and trial.epochs[-1].is_last
    return "" if has_last else f"the last epoch of trial {event.number}, which it ends, is lost"


def repair(found: Examined, study: str) -> Path:
    """Write the log anew with what is kept; return where the old one is kept.

    Raises:
        InputError: the event that created the study is lost, and with it what the study is.
        StudyBusy: the study is running.
        LedgerUnwritable: the folder cannot be written.
    """
    began, n = found.kept[0].event if found.kept else None, 1
    if not isinstance(began, Created):
        raise InputError(f"{found.path}: got no event that created the study: nothing can be kept; copy the file again")
    created = replace(found.kept[0], event=replace(began, format=FORMAT))
    note = Entry(found.kept[-1].time, Repaired(f"the log was repaired: {found}"))
    with EventLog(found.path).opened(study):
        while (old := found.path.with_name(f"{found.path.name}.{n}")).exists():
            n += 1
        new = found.path.with_name(f".{found.path.name}.new")
        with new.open("wb") as file:
            for number, entry in enumerate((created, *found.kept[1:], note), start=1):
                file.write(sealed(entry_data(entry), number))
            file.flush()
            os.fsync(file.fileno())
        os.link(found.path, old)
        new.replace(found.path)
    return old
