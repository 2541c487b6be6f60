"""The parts of a spec that say how much may be used: when a study ends early, what a trial takes of a machine."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


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
