"""One driver per study: a lock that the system itself releases when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ndecore.errors import NDEError


class StudyBusy(NDEError):
    """Another process is running this study."""


@contextmanager
def locked(path: Path, study: str) -> Iterator[None]:
    """Hold the lock of a study.

    Raises:
        StudyBusy: another process has it; the message names the holder.
    """
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "an unknown process"
            raise StudyBusy(f"study {study!r} is being run by {holder}; wait for it or stop it") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        lock.flush()
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock: whether the study is running."""
    if not path.exists():
        return False
    with path.open(encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
