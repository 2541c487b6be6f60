"""What a config can do to a training run, as data: numbers, memory or time run away."""

from dataclasses import dataclass

import torch

from ndecore.errors import SolveFailed, TrainingDiverged
from ndecore.status import Status
from reports.records import Cause
from studies.deadline import TimedOut

DIVERGING = (SolveFailed, TrainingDiverged, TimedOut, MemoryError, torch.OutOfMemoryError)
_CAUSES = {Status.STEP_UNDERFLOW: Cause.STEP_UNDERFLOW, Status.MAX_STEPS: Cause.STEP_LIMIT}


@dataclass(frozen=True)
class Divergence:
    """How a run ended that its config ended."""

    reason: str  # one sentence
    cause: Cause


def divergence(error: BaseException, timeout_s: float | None) -> Divergence:
    """What one of `DIVERGING` says; `timeout_s` is the time that the whole run had."""
    if isinstance(error, TimedOut):
        remedy = "raise the study's timeout_s, or loosen the tolerances"
        return Divergence(f"timeout: trained for {timeout_s:g} s; {remedy}", Cause.TIMEOUT)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        first_line = str(error).strip().split("\n")[0] or type(error).__name__
        return Divergence(f"out of memory: {first_line}", Cause.MEMORY)
    ending = str(error)
    cause = next((cause for status, cause in _CAUSES.items() if status.name in ending), Cause.NOT_FINITE)
    return Divergence(ending, cause)
