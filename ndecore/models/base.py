"""What a model with a solve inside takes and returns."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ndecore.integrate import SolveSettings
from ndecore.solution import Solution
from ndecore.terms import ODETerm


@dataclass(frozen=True)
class SolveRequest:
    """How a model is to solve, and what it is to leave for a penalty."""

    settings: SolveSettings
    times: tuple[float, ...] = ()  # further output times, for local penalties
    differentiable_records: bool = False
    throw: bool = True


@dataclass(frozen=True)
class Prediction:
    """A model's output and the solve behind it."""

    output: Tensor
    term: ODETerm  # has counted the evaluations
    solution: Solution


class SolvingModel(nn.Module, ABC):
    """A model whose forward pass solves one differential equation over [t0, t1]."""

    t0: float
    t1: float

    @abstractmethod
    def forward(self, inputs: Any, request: SolveRequest) -> Prediction:
        """Predict, solving as requested."""
