"""From the lines of a log, of whatever format, to what they add up to."""

from pathlib import Path

from reports.codec import Unreadable
from studies.event_log import NOTHING, EventLog, LedgerDamaged, Line, Read
from studies.events import Entry, read_entry
from studies.history import History
from studies.upgrade import definition_of_format_1, from_format_1

SPEC = "spec.yaml"  # beside the log


def read_history(log: EventLog) -> History:
    """What the events of a log add up to, of whatever format they are.

    Raises:
        LedgerDamaged: a line is not as it was written, or cannot follow those before it.
    """
    history = History()
    _take_in(history, log, NOTHING)
    if not hasattr(history, "created"):
        raise LedgerDamaged(log.path, 1, "the event that created the study is missing")
    return history


def catch_up(history: History, log: EventLog) -> bool:
    """Take in what was written since the log was read; return whether that was anything. Raises as `read_history`."""
    before = log.have_read
    _take_in(history, log, before)
    return log.have_read != before


def _take_in(history: History, log: EventLog, after: Read) -> None:
    for line in log.read(after):
        try:
            history.apply(read_line(line, log.path))
        except Unreadable as error:
            raise LedgerDamaged(log.path, line.place, str(error)) from None


def read_line(line: Line, path: Path) -> Entry:
    """The event of a line, of whatever format it is; raise `Unreadable` where it is none."""
    if line.number is not None:
        return read_entry(line.data)
    return read_entry(from_format_1(line.data, lambda: definition_of_format_1(path.with_name(SPEC))))
