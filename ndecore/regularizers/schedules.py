"""How the weight of a penalty changes over training."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

from ndecore.errors import InputError
from ndecore.keys import Above, AtLeast, AtMost, check_fields

Pace: TypeAlias = Annotated[Literal["epoch", "step"], "Whether a schedule moves with every epoch or with every step."]
Weight: TypeAlias = Annotated[float, AtLeast(0), "The penalty's weight, at first; dimensionless."]
PositiveWeight: TypeAlias = Annotated[float, Above(0), "The penalty's weight, at first; dimensionless."]
WeightEnd: TypeAlias = Annotated[
    float, Above(0), "The penalty's weight at the end of a schedule that changes it, dimensionless."
]


class Seen(NamedTuple):
    """What a training step did."""

    weight: float  # dimensionless, of the penalty
    nfe: float  # evaluations of the vector field by its solve
    penalty: float  # dimensionless, before its weight


class Moment(NamedTuple):
    """When in a training a weight is asked for."""

    epoch: int  # completed
    n_epochs: int
    step: int  # completed, over all epochs
    n_steps: int  # in all
    seen: Seen | None = None  # by the last step; None before the first
    before: Seen | None = None  # by the one before it

    def progress(self, pace: str) -> float:
        """The part of the training that is done, from 0 to below 1; by "epoch" it waits for the end of one."""
        done, total = (self.step, self.n_steps) if pace == "step" else (self.epoch, self.n_epochs)
        if total <= 0:
            raise InputError(
                f"n_{pace}s: got {total!r} for a schedule whose pace is {pace!r}, allowed: the number of {pace}s in "
                f"all, with the number of the present one, such as weighted_penalty({pace}=3, n_{pace}s=100)"
            )
        return done / total


class Schedule(ABC):
    """The weight of the penalty, step by step; dimensionless."""

    @abstractmethod
    def __call__(self, moment: Moment) -> float:
        """The weight in the coming step."""


@dataclass(frozen=True)
class Constant(Schedule):
    """lambda = weight."""

    weight: Weight

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, moment: Moment) -> float:
        """The weight, whatever the moment."""
        return self.weight


@dataclass(frozen=True)
class Exponential(Schedule):
    """lambda = weight (weight_end / weight)^progress, which is weight exp(-k t); decreasing or increasing.

    As in P1's code the last one is one factor short of weight_end.

    Args:
        weight: at first.
        weight_end: at the end.
        pace: let it change with every "epoch" (P1) or with every "step" (P2).

    Reference: P1, coefficient annealing; `experiments/mnist_node.jl`. P2, `experiments/src/utils.jl`.
    """

    weight: PositiveWeight
    weight_end: WeightEnd
    pace: Pace = "epoch"

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, moment: Moment) -> float:
        """The weight now."""
        ratio: float = (self.weight_end / self.weight) ** moment.progress(self.pace)
        return self.weight * ratio


@dataclass(frozen=True)
class Linear(Schedule):
    """lambda = weight + (weight_end - weight) progress; decreasing or increasing.

    Args:
        weight: at first.
        weight_end: at the end; the last one is one difference short of it.
        pace: let it change with every "epoch" or with every "step".
    """

    weight: Weight
    weight_end: WeightEnd
    pace: Pace = "epoch"

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, moment: Moment) -> float:
        """The weight now."""
        return self.weight + (self.weight_end - self.weight) * moment.progress(self.pace)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """lambda = weight min(1, progress / warmup): no penalty at first, all of it after that part of the training.

    Args:
        weight: after the warm-up.
        warmup: part of the training, 0 < x <= 1.
        pace: let it change with every "epoch" or with every "step".
    """

    weight: Weight
    warmup: Annotated[
        float,
        Above(0),
        AtMost(1),
        "The part of the training in which the schedule `warmup` raises the weight from 0, dimensionless.",
    ] = 0.2
    pace: Pace = "step"

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, moment: Moment) -> float:
        """The weight now."""
        return self.weight * min(1.0, moment.progress(self.pace) / self.warmup)


@dataclass(frozen=True)
class DualAscent(Schedule):
    """lambda <- lambda (m / budget)^gain (m / m_before)^damping after each step: a budget in place of a weight.

    m is what the last training solve took (function evaluations), or its penalty; m_before the same of the solve before
    it. Where m is over the budget the weight grows until it is not, where it is under the weight falls: the ascent on
    the multiplier of the constraint log m <= log budget, its logarithm the variable, so that the weight stays positive
    and finds its decade by itself. A model takes hundreds of steps to follow its weight: without damping the weight
    goes on growing while m comes down, and the budget is overshot.

    Args:
        weight: at first, > 0.
        budget: of m, > 0.
        budget_of: "nfe" (evaluations of one training solve) or "penalty" (dimensionless).
        gain: of one step, dimensionless; larger is faster and less steady.
        damping: by the change of m, dimensionless; 0 for the ascent alone.

    Reference: Arrow, Hurwicz, Uzawa, Studies in linear and non-linear programming (1958), for the ascent; Kivinen,
    Warmuth, Information and Computation 132 (1997), for steps that multiply; Stooke, Achiam, Abbeel, Responsive safety
    in reinforcement learning by PID Lagrangian methods, ICML 2020, for the damping. In neither paper.
    """

    weight: PositiveWeight
    budget: Annotated[
        float, Above(0), "What the schedule `dual_ascent` keeps to by changing the weight; see `budget_of`."
    ]
    budget_of: Annotated[
        Literal["nfe", "penalty"], "Whose budget: evaluations of a training solve, or the penalty itself."
    ] = "nfe"
    gain: Annotated[float, Above(0), "How fast `dual_ascent` changes the weight, dimensionless."] = 0.2
    damping: Annotated[
        float,
        AtLeast(0),
        "How far `dual_ascent` holds back while its budget is being approached, dimensionless.",
    ] = 2.0
    bounds: ClassVar[tuple[float, float]] = (1e-12, 1e12)  # where the weight is kept: beyond it does nothing, or all
    largest: ClassVar[float] = 1e3  # m / budget that counts in one step, and its inverse the least

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, moment: Moment) -> float:
        """The weight now."""
        if moment.seen is None:
            return self.weight
        least, most = self.bounds
        excess = self._excess(moment.seen)
        change = 0.0 if moment.before is None else excess - self._excess(moment.before)
        step = self.gain * excess + self.damping * change
        return min(most, max(least, moment.seen.weight * math.exp(min(step, math.log(most / least)))))

    def _excess(self, seen: Seen) -> float:
        """log(m / budget)."""
        measured = getattr(seen, self.budget_of)
        ratio = measured / self.budget if math.isfinite(measured) else 1.0
        # One odd step, such as one whose penalty is 0, must not throw away what the steps before have found.
        return math.log(min(self.largest, max(1 / self.largest, ratio)))
