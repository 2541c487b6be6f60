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


def divergence(error: BaseException, timeout_s: float | None, n_updates: int) -> Divergence:
    """What one of `DIVERGING` says.

    Args:
        error: that ended the run.
        timeout_s: time that the whole run had.
        n_updates: of the parameters, before it.
    """
    if isinstance(error, TimedOut):
        remedy = "raise the study's timeout_s, or loosen the tolerances"
        return Divergence(f"timeout: trained for {timeout_s:g} s; {remedy}", Cause.TIMEOUT)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        first_line = str(error).strip().split("\n")[0] or type(error).__name__
        return Divergence(f"out of memory: {first_line}", Cause.MEMORY)
    ending = str(error)
    not_finite = Cause.NOT_FINITE if n_updates else Cause.FIRST_STEP
    cause = next((cause for status, cause in _CAUSES.items() if status.name in ending), not_finite)
    return Divergence(ending, cause)
