"""The nested parts of a spec: when a study ends, what a trial takes of a machine, how its model is solved once more."""

import argparse
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ndecore.solvers import SOLVERS
from studies.arguments import TOLERANCES_ALLOWED, tolerances


class StopRules(BaseModel):
    """When a study ends before all its trials are run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hours: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="a finite number > 0, hours")
    device_hours: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="a finite number > 0, hours of a CPU or GPU"
    )
    flat_trials: int | None = Field(default=None, ge=1, description="a whole number >= 1, trials")
    same_error: int = Field(default=5, ge=1, description="a whole number >= 1, trials in a row")


def _whole_or_part(gpu: float) -> float:
    if gpu > 1 and gpu != int(gpu):
        raise ValueError("neither whole nor a part of one")
    return gpu


class Resources(BaseModel):
    """What one trial takes of a machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpu: int | None = Field(default=None, ge=1, description="a whole number >= 1, cores; `threads` if absent")
    gpu: Annotated[float, AfterValidator(_whole_or_part)] = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="0, a part of one such as 0.5, or a whole number"
    )


def _rtols(value: Any) -> Any:
    """Decades as on the command line; a list is left to pydantic."""
    try:
        return tolerances(value) if isinstance(value, str) else value
    except argparse.ArgumentTypeError as error:
        raise ValueError(str(error)) from None


def _solvers(names: Sequence[str]) -> Sequence[str]:
    if any(name not in SOLVERS for name in names):
        raise ValueError("not a name of a solver")
    return names


class EvaluateTolerances(BaseModel):
    """How the model of each trial is solved once more when it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    solver: Annotated[tuple[str, ...], AfterValidator(_solvers)] = Field(
        default=("tsit5", "bosh3"),
        min_length=1,
        strict=False,
        description=f"a list of some of {', '.join(SOLVERS)} that have an error estimate",
    )
    rtol: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], BeforeValidator(_rtols)] = Field(
        min_length=1, strict=False, description=f"a list of numbers > 0; or a text: {TOLERANCES_ALLOWED}"
    )
