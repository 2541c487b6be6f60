"""How a running study is told to stop: by the person, or by an error that is no trial's own."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from studies.messages import MESSAGE, Message


class Ending:
    """Whether the study should stop, and the error that says why, if one does."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.error = ""

    def fail(self, error: str) -> None:
        """Stop for an error; the first one counts."""
        self.error = self.error or error
        self.asked.set()


class Interrupted(BaseException):
    """The study is to stop. Tune, which waits up to 15 s for its workers, lets a BaseException through."""


class Interruption(tune.Stopper):
    """Ends a trial when its message says so, and the study once that was asked for.

    Args:
        ending: of the study.
        ends: whether the trial of a message ends with it. Tune asks its stopper of every result, the last of a trial
            included, before all else; its schedulers it does not ask of the last.
        look: called between events.
    """

    def __init__(self, ending: Ending, ends: Callable[[Message], bool], look: Callable[[], None]) -> None:
        self._ending, self._ends, self._look = ending, ends, look

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial ends with this result."""
        return self._ends(result[MESSAGE])

    def stop_all(self) -> bool:
        """Tune calls this several times a second, between two events."""
        if self._ending.asked.is_set():
            raise Interrupted
        self._look()
        return False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot to keep."""
        return {}


@contextmanager
def interruptible(ending: Ending) -> Iterator[None]:
    """Ctrl-C asks for the end, however often it comes.

    The alternative, an exception wherever the driver happens to be, leaves half an event written, or half of Ray.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: ending.asked.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
