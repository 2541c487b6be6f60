"""From the lines of a log, of whatever format, to what they add up to."""

from pathlib import Path

from reports.codec import Unreadable
from studies.event_log import EventLog, LedgerDamaged, Line
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
    for line in log.read():
        try:
            history.apply(read_line(line, log.path))
        except Unreadable as error:
            raise LedgerDamaged(log.path, line.place, str(error)) from None
    if not hasattr(history, "created"):
        raise LedgerDamaged(log.path, 1, "the event that created the study is missing")
    return history


def read_line(line: Line, path: Path) -> Entry:
    """The event of a line, of whatever format it is; raise `Unreadable` where it is none."""
    if line.number is not None:
        return read_entry(line.data)
    return read_entry(from_format_1(line.data, lambda: definition_of_format_1(path.with_name(SPEC))))
