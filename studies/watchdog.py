"""Ends what a killed driver has left: a process of its own, of the standard library alone.

Ray's processes would live on for a minute and more. This one waits for the driver to end; where the driver has not said
that it has tidied up itself, it kills every process that names the driver's private folder or has a file open in it,
with what they have started, and removes the folder.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DONE = b"."  # what a driver says that ends by itself
_LOOK_S = 1.0  # between two looks at whether the driver is there
_PATIENCE_S = 10.0  # processes may start others while they are killed


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Have this process watched: if it is killed inside, what works in `folder` ends within seconds."""
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(folder)]
    # A session of its own: what a terminal sends to the group of the driver does not reach it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as dog:
        try:
            yield
        finally:
            dog.communicate(_DONE)


def _wait(driver: int) -> bool:
    """Wait for the end of the driver; return whether it tidied up."""
    while True:
        # A process that the driver has forked may hold the pipe open: the parent tells too.
        ready, _, _ = select.select([sys.stdin.buffer], [], [], _LOOK_S)
        if ready:
            return os.read(sys.stdin.fileno(), 1) == _DONE
        if os.getppid() != driver:
            return False


def left_in(folder: str) -> set[int]:
    """The processes that name a folder, or a part of its path, in their command line or have a file open in it.

    With all that they have started.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            # Some of them rename themselves, and then their log tells.
            is_named = folder.encode() in (entry / "cmdline").read_bytes()
            if is_named or any(folder in os.readlink(file) for file in (entry / "fd").iterdir()):
                found.add(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile, or is another user's
    found -= {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def main(driver: int, folder: str) -> None:
    """Watch the driver, then tidy up."""
    if _wait(driver):
        return
    end = time.monotonic() + _PATIENCE_S
    while (left := left_in(folder)) and time.monotonic() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
