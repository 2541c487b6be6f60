"""A task tried in a process of its own: code that hangs, exits, crashes or floods the terminal harms nobody else.

Torch is imported in that process alone.
"""

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from ndecore.errors import InputError
from ndecore.findings import Found

PATIENCE_S = 300.0  # for one part of a check


@dataclass(frozen=True)
class Raised:
    """What ended a check.

    Args:
        told: one line: the place in the user's file, and what.
        trace: the whole traceback.
    """

    told: str
    trace: str


@dataclass(frozen=True)
class Done:
    """The check has come to its end."""


class TaskFails(InputError):
    """A task cannot be trained as it is; `trace` is the traceback of its code, empty where there is none."""

    def __init__(self, told: str, trace: str = "") -> None:
        super().__init__(told)
        self.trace = trace


def try_task(name: str, config: Mapping[str, Any], patience_s: float = PATIENCE_S) -> Iterator[Found]:
    """Check a task as its workers would meet it, in a process that ends with the check.

    Args:
        name: of the task, or its file.
        config: what to try it with; what it leaves open is the task's default.
        patience_s: seconds that one part may take.

    Yields:
        What was found, part by part.

    Raises:
        TaskFails: what has to be changed, in one line.
    """
    yield from _tried(name, "plan_of_task", (name, dict(config)), patience_s)


def try_spec(path: str, changes: Mapping[str, Any], fronts: Any, patience_s: float = PATIENCE_S) -> Iterator[Found]:
    """Check the task of a spec with the first config of its study; the spec is read in the other process too.

    Args:
        path: of the spec.
        changes: to it; see `studies.spec.load_spec`.
        fronts: looks up earlier studies; it can be pickled.
        patience_s: seconds that one part may take.

    Yields:
        What was found, part by part. That the first config diverges is doubtful: another one may not.

    Raises:
        TaskFails: what has to be changed, in the spec or in the task.
    """
    yield from _tried(path, "plan_of_spec", (path, dict(changes), fronts), patience_s)


def _tried(name: str, maker: str, arguments: tuple[Any, ...], patience_s: float) -> Iterator[Found]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with open(os.devnull, "wb") as nowhere:
        worker = context.Process(target=_work, args=(maker, arguments, theirs), daemon=False)
        with _muted(nowhere.fileno()):
            worker.start()
    theirs.close()
    try:
        yield from _received(ours, worker, name, patience_s)
    finally:
        worker.kill()
        worker.join()


def _received(ours: Connection, worker: Any, name: str, patience_s: float) -> Iterator[Found]:
    last = "start"
    while True:
        if not ours.poll(patience_s):
            raise TaskFails(
                f"{name}: got no answer for {patience_s:g} s after the part {last!r}, allowed: less; does it hang?"
            )
        try:
            message = ours.recv()
        except EOFError:
            worker.join()
            how = f"exit code {worker.exitcode}"
            raise TaskFails(
                f"{name}: its code ended the process ({how}) after the part {last!r}; let it raise instead"
            ) from None
        if isinstance(message, Done):
            return
        if isinstance(message, Raised):
            raise TaskFails(message.told, message.trace)
        last = message.what
        yield message


def _work(maker: str, arguments: tuple[Any, ...], answers: Connection) -> None:
    # Torch, and the user's code, are for the process that is started.
    import_module("studies.tried").work(maker, arguments, answers)


class _muted:
    """What a process that is started inside writes goes to a file."""

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno

    def __enter__(self) -> None:
        self._kept = [os.dup(1), os.dup(2)]
        for fd in (1, 2):
            os.dup2(self._fileno, fd)

    def __exit__(self, *_: object) -> None:
        for fd, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, fd)
            os.close(kept)
