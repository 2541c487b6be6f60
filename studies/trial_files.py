"""The files of a trial: a folder per attempt with its checkpoints, and the trained weights of a trial that completed.

An attempt writes into its own folder only. A worker that lives on after its driver, its node or its trial was given
up can so do no harm: nobody reads what it writes. Workers reach the files as `WorkerFiles`, since on a cluster the
driver's node alone has them.
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ndecore.errors import InputError
from studies.events import Digest

WEIGHTS, ERROR = "weights.pt", "error.txt"  # the latter: the traceback of a trial that failed
EPOCH_FILES = "trials/*/epoch-*.pt"  # of trials that have ended, below the study's folder


def trial_folder(study_folder: Path, number: int) -> Path:
    """Where the files of a trial are kept."""
    return study_folder / "trials" / f"{number:04d}"


def attempt_folder(study_folder: Path, number: int, attempt: int) -> Path:
    """Where an attempt, counted from 1, at a trial writes."""
    return trial_folder(study_folder, number) / f"attempt-{attempt}"


def checkpoint_name(attempt: Path, epoch: int) -> str:
    """The name of a checkpoint, below the trial's folder."""
    return f"{attempt.name}/epoch-{epoch:06d}.pt"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole whenever it is there; raise OSError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def digest(content: bytes) -> Digest:
    """By which a file is known again."""
    return Digest(hashlib.sha256(content).hexdigest(), len(content))


def check_whole(path: Path, expected: Digest) -> None:
    """Whether a file is the one that was written; raise `InputError` where it is not there, cut off or changed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; the ledger says that it was written") from None
    if len(content) < expected.bytes:
        raise InputError(f"{path}: was cut off: got {len(content)} bytes, allowed: {expected.bytes}; train it again")
    if digest(content) != expected:
        raise InputError(f"{path}: was changed since its trial ended: its checksum is another one; train it again")


def epoch_file(study_folder: Path, number: int, epoch: int) -> Path:
    """Where the checkpoint of an epoch of an ended trial is kept for its weights."""
    return trial_folder(study_folder, number) / f"epoch-{epoch:06d}.pt"


def settle(study_folder: Path, number: int, attempt: int, epochs: Mapping[int, Path]) -> None:
    """Keep of an ended trial its weights, and checkpoints of some epochs.

    Doing it twice, or half and again, comes to the same.

    Args:
        study_folder: of the study.
        number: of the trial.
        attempt: the last.
        epochs: the checkpoints.
    """
    folder, weights = trial_folder(study_folder, number), attempt_folder(study_folder, number, attempt) / WEIGHTS
    if weights.exists():
        weights.replace(folder / WEIGHTS)
    for epoch, checkpoint in epochs.items():
        checkpoint.replace(epoch_file(study_folder, number, epoch))
    for left in folder.glob("attempt-*"):
        shutil.rmtree(left, ignore_errors=True)


def unsettled(study_folder: Path, ended: Collection[int]) -> list[int]:
    """Those of the ended trials that a killed driver had not settled: they still have the folder of an attempt."""
    left = {path.parent.name for path in study_folder.glob("trials/*/attempt-*")}
    return [number for number in ended if trial_folder(study_folder, number).name in left]


class WorkerFiles(Protocol):
    """The files of a study, as one of its workers sees them. Paths are those of the driver."""

    def code(self, study_folder: Path) -> Path:
        """A folder of this machine from which the user's files of the study are imported."""

    def read(self, path: Path) -> bytes:
        """The content; raise OSError where there is none."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a file that is whole whenever it is there; raise OSError where it cannot be written."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""


@dataclass(frozen=True)
class Direct:
    """On the driver's machine."""

    def code(self, study_folder: Path) -> Path:
        """The study's own."""
        return study_folder

    def read(self, path: Path) -> bytes:
        """From the disk."""
        return path.read_bytes()

    def write(self, path: Path, content: bytes) -> None:
        """To the disk."""
        write_whole(path, content)

    def remove(self, path: Path) -> None:
        """From the disk."""
        path.unlink(missing_ok=True)


DIRECT = Direct()
