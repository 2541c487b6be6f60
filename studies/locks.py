"""One driver per study: a lock that the system itself releases when its holder dies, however it dies.

The log of the study is what is locked. A file beside it, which anybody may delete, only says who holds it.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ndecore.errors import NDEError

HOLDER = "lock"  # beside the log
_PATIENCE_S = 0.2  # a look at whether a study is running takes the lock for an instant
_PAUSE_S = 0.02
_HOLDER = re.compile(r"process (\d+) on (\S+)")


class StudyBusy(NDEError):
    """Another process is running this study."""


@contextmanager
def locked(log: Path, study: str) -> Iterator[int]:
    """Hold a study by its log, opened for appending; yields the descriptor.

    Raises:
        StudyBusy: another process has it; the message names the holder.
        OSError: the log cannot be written.
    """
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _lock(file, log.with_name(HOLDER), study)
        log.with_name(HOLDER).write_text(f"process {os.getpid()} on {os.uname().nodename}", encoding="utf-8")
        yield file
    finally:
        os.close(file)


def _lock(file: int, holder: Path, study: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise StudyBusy(f"study {study!r} is being run by {_told(holder)}; wait for it or stop it") from None
            time.sleep(_PAUSE_S)


def _told(holder: Path) -> str:
    with suppress(OSError):
        return holder.read_text(encoding="utf-8").strip() or "an unknown process"
    return "an unknown process"


def is_locked(log: Path) -> bool:
    """Whether a process holds the log: whether the study is running."""
    try:
        file = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def holder_of(log: Path, study: str) -> int:
    """The process of this machine that holds a log, as the system itself says.

    Raises:
        NDEError: it runs elsewhere, or nobody can tell which it is.
    """
    told = _told(log.with_name(HOLDER))
    found = _HOLDER.fullmatch(told)
    if found and found[2] != os.uname().nodename:
        raise NDEError(f"study {study!r} is being run by {told}, this is {os.uname().nodename}; stop it there")
    if not found or not _holds(int(found[1]), log):
        file = log.with_name(HOLDER)
        raise NDEError(f"study {study!r} is being run, and not by {told}, which {file} names; see `lsof {log}`")
    return int(found[1])


def _holds(pid: int, log: Path) -> bool:
    """Whether a process has locked a log: that of this number may be another one by now."""
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            is_log = os.path.samestat(entry.stat(), log.stat())
            locks = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text(encoding="utf-8")
        except OSError:
            continue  # closed meanwhile, or another user's
        if is_log and re.search(rf"FLOCK +ADVISORY +WRITE +{pid} ", locks):
            return True
    return False


def has_ended(pid: int) -> bool:
    """Whether a process is gone; one that nobody has waited for is."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Wait for a folder to be this process's alone, among those that ask; it leaves nothing in it."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
