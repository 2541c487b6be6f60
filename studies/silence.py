"""Where a trial is whose epoch takes long: a file that its worker writes, and its driver reads."""

import json
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from reports.codec import Unreadable, decode, encode
from studies.trial_files import WorkerFiles

PATIENCE_S = 60.0  # of silence before it is told, and between two tellings
_NAME = "silent.json"
_PACKAGES = ("ndecore", "search_spaces", "studies", "reports")
_OTHERS = (
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    *(str(Path(__file__).parents[1] / name) for name in _PACKAGES),
)


@dataclass(frozen=True)
class Silence:
    """An epoch that has not ended."""

    seconds: float  # that it has taken so far
    place: str  # FILE:LINE (FUNCTION) where it is: the user's innermost line if there is one, else the innermost

    def __str__(self) -> str:
        """For a person."""
        return f"no epoch for {self.seconds:.0f} s, now in {self.place}"


@contextmanager
def told_if_silent(folder: Path, patience_s: float, files: WorkerFiles) -> Iterator[None]:
    """Write into `folder` where the calling thread is, each time that the block has taken so long once more."""
    ended, told, caller = threading.Event(), threading.Event(), threading.get_ident()
    began = time.monotonic()

    def watch() -> None:
        while not ended.wait(patience_s):
            frame = sys._current_frames().get(caller)
            if frame is not None:
                found = Silence(time.monotonic() - began, _place(frame))
                told.set()
                with suppress(OSError):  # which the next checkpoint tells of
                    files.write(folder / _NAME, json.dumps(encode(found)).encode())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        if told.is_set():
            with suppress(OSError):
                files.remove(folder / _NAME)


def silence(folder: Path) -> Silence | None:
    """What the worker of an attempt last told there; None while its epochs end in time."""
    try:
        return decode(Silence, json.loads((folder / _NAME).read_bytes()))
    except (OSError, ValueError, Unreadable):
        return None


def _place(frame: FrameType) -> str:
    frames = [frame]
    while (outer := frames[-1].f_back) is not None:
        frames.append(outer)
    own = (each for each in frames if not each.f_code.co_filename.startswith(("<", *_OTHERS)))
    found = next(own, frame)
    return f"{Path(found.f_code.co_filename).name}:{found.f_lineno} ({found.f_code.co_name})"
