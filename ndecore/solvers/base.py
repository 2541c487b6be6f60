"""The contract of a step method: one step, without side effects, differentiable."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ndecore.errors import InputError
from ndecore.norms import Differences
from ndecore.terms import SDETerm, Term
from ndecore.types import Calculus, Carry, Noise, State, States


class StepResult(ABC):
    """One attempted step from (t0, y0) over dt. What nobody asks for is not computed."""

    y1: State  # the solution at t0 + dt
    carry: Carry  # what the next step from y1 starts with: f(t0 + dt, y1); empty if that step evaluates all it needs

    @abstractmethod
    def differences(self) -> Differences:
        """What the error and the stiffness of the step are estimated from."""

    @abstractmethod
    def interpolate(self, ts: Sequence[float]) -> States:
        """The solution at times `ts` inside the step, by the method's dense output."""


@dataclass(frozen=True)  # so that methods of one class with equal arguments are equal
class Solver(ABC):
    """A one-step method. Facts about it are class attributes: generic code asks, it never names a method."""

    order: ClassVar[float]  # global error of the solution is O(dt^order); of a stochastic equation the strong one
    error_order: ClassVar[float | None]  # the error estimate of one step is O(dt^error_order); None if there is none
    tells_stiffness: ClassVar[bool] = False  # whether it has two stages at one time, from which stiffness is estimated
    is_implicit: ClassVar[bool] = False  # whether a step solves linear systems with the Jacobian of the field
    stability_size: ClassVar[float]  # extent of the stability region along the negative real axis, dimensionless
    evaluations_per_step: ClassVar[int]  # of the vector field, the carry reused
    evaluations_per_output: ClassVar[int]  # further ones of a step in which outputs are asked for
    evaluations_for_estimates: ClassVar[int] = 1  # of a step, those on which its estimates depend and y1 does not
    calculus: ClassVar[Calculus | None] = None  # of the stochastic equations that it solves; None: ordinary ones
    noise_types: ClassVar[Mapping[Noise, float]] = {}  # the noise that it takes, and its strong order there

    @property
    def stiffness_unit(self) -> float:
        """What a penalty divides stiffness by: the stability size; 1 where stability does not limit the steps."""
        return self.stability_size if math.isfinite(self.stability_size) else 1.0

    def check(self, term: Term) -> None:
        """Raise `InputError` with the reason if the method does not solve such an equation."""
        name = type(self).__name__
        if not isinstance(term, SDETerm):
            if self.calculus is not None:
                raise InputError(
                    f"solver: got {name}, which is for stochastic equations, with an ordinary one, allowed: a method "
                    "for those, such as tsit5; or an SDETerm"
                )
            return
        if self.calculus is None:
            raise InputError(
                f"solver: got {name} with an SDETerm, along whose path it does not converge, allowed: a method for "
                "stochastic equations, such as SOSRI or EulerMaruyama"
            )
        if term.noise not in self.noise_types:
            kinds = ", ".join(self.noise_types)
            raise InputError(
                f"solver: got {name} with {term.noise} noise, for which it needs iterated integrals of several "
                f"motions that nobody draws here, allowed: {kinds} noise; or euler_maruyama, euler_heun"
            )
        # Where the diffusion does not depend on the state both calculi are one.
        if term.calculus != self.calculus and term.noise != "additive":
            raise InputError(
                f"solver: got {name}, whose calculus is {self.calculus}, with a {term.calculus} equation, which has "
                "another drift, allowed: the same calculus, or additive noise"
            )

    @abstractmethod
    def start(self, term: Term, t0: float, y0: State) -> Carry:
        """The carry of the first step: f(t0, y0); of a stochastic equation f and g, [2, *state], or nothing."""

    @abstractmethod
    def scratch(self, y0: State) -> Any:
        """Memory that the steps of one solve from states like `y0` may share, whatever the method keeps in it."""

    @abstractmethod
    def step(self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Any = None) -> StepResult:  # noqa: PLR0917
        """Attempt one step.

        Args:
            term: the vector field.
            t0: start of the step.
            dt: step size, negative backwards in time; a plain number, so no gradient flows into it.
            y0: state at t0.
            carry: f(t0, y0), from `start` or from the step before.
            scratch: from `scratch`; nothing can be read any more off the step that had it before. By default the step
                has its own, and no side effects.
        """
