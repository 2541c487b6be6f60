"""An end to what takes too long, in the process that computes it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN_S = 0.5  # a signal that came while an exception could not be raised is sent again


class TimedOut(BaseException):
    """The time is up. Not an Exception, so that no library takes it for a failure of its own and goes on."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise `TimedOut` in the block once it has taken so long; None is no limit.

    It takes the main thread, which alone receives signals; elsewhere, and inside a single call of C++, it comes late:
    at the end of the block, or of the call.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(*_: object) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
