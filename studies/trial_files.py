"""The files of a trial: a folder per attempt with its checkpoints, and the trained weights of a trial that completed.

An attempt writes into its own folder only. A worker that lives on after its driver, its node or its trial was given
up can so do no harm: nobody reads what it writes.
"""

import os
import shutil
from pathlib import Path

WEIGHTS = "weights.pt"


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


def settle(study_folder: Path, number: int, attempt: int) -> None:
    """Keep of an ended trial its weights alone. Doing it twice, or half and again, comes to the same."""
    folder, weights = trial_folder(study_folder, number), attempt_folder(study_folder, number, attempt) / WEIGHTS
    if weights.exists():
        weights.replace(folder / WEIGHTS)
    for left in folder.glob("attempt-*"):
        shutil.rmtree(left, ignore_errors=True)
