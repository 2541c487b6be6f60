"""One step of an explicit Runge-Kutta method, from its tableau."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ndecore.norms import Differences, Pair, rms_norm, safe_ratio
from ndecore.solvers.base import Solver, StepResult
from ndecore.solvers.stages import Closed, Scratch, Stages
from ndecore.solvers.tableau import Tableau
from ndecore.terms import Term
from ndecore.types import Carry, State, States

_DAMPING = 0.1  # of the estimate of lower order


class RungeKuttaStep(StepResult):
    """One step and what can be read off its stages, once they are all in."""

    def __init__(  # noqa: PLR0917 - all that a step is
        self, tableau: Tableau, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Scratch
    ) -> None:
        self._tableau, self._term, self._t0, self._dt = tableau, term, t0, dt
        self._like, self._of = scratch.like, scratch.coefficients
        self._stages = Stages(scratch, dt, y0)
        self._told: list[State] = []  # the arguments of the stages that tell the stiffness
        self._tokens: dict[tuple[bool, bool], Tensor] = {}
        argument, slope = y0, carry
        advance, telling = self._stages.advance, tableau.stiffness_stages or ()
        for i, node in enumerate(tableau.c[1:], 1):
            argument = advance(i - 1, argument, slope)
            slope = term(t0 + node * dt, argument)
            if i in telling:
                self._told.append(argument)
        self.y1, self.carry = argument, slope

    def differences(self) -> Differences:
        """The embedded error, dt sum_i (b_i - b~_i) k_i, and the stages that tell the stiffness.

        An estimate e of lower order, where the method has one, damps the error E:
        E ||E|| / sqrt(||E||^2 + (0.1 ||e||)^2).

        Reference: Shampine (1977) for the stiffness, as P1 uses it on stages 6 and 7 of Tsit5; Hairer, Norsett, Wanner
        I, II.5 (10.17) for the damping, there in the tolerance-scaled norm.
        """
        rows = [row.view_as(self._like) for row in self._close(self._of.estimates).reading]
        if not self._told:
            return Differences(self._error(rows))
        # The arguments themselves: their difference may be as small as their rounding, which the slopes have seen.
        return Differences(self._error(rows[:-1]), rows[-1], Pair(*self._told))

    def interpolate(self, ts: Sequence[float]) -> States:
        """y0 + dt sum_i b_i(theta) k_i at theta = (t - t0) / dt."""
        # `pow` of a number takes it into the kernel's arguments: no copy from the host.
        powers = torch.stack([torch.pow((t - self._t0) / self._dt, self._of.exponents) for t in ts])
        weights = torch.mm(powers, self._of.dense).to(self.y1.dtype)
        return self._stages.read(self._all_in(), weights, from_start=True).view(len(ts), *self._like.shape)

    def _error(self, estimates: Sequence[State]) -> State | None:
        if len(estimates) < 2:
            return estimates[0] if estimates else None
        error, lower = estimates
        # A norm of two norms: unlike `hypot` it has a gradient where both are 0.
        size = rms_norm(error)
        damped = torch.linalg.vector_norm(torch.stack([size, _DAMPING * rms_norm(lower)]))
        return error * safe_ratio(size, damped)

    def _close(self, weights: Tensor | None = None) -> Closed:
        """The token of the step's own stages, and a reading of them."""
        token = self._tokens.get((torch.is_grad_enabled(), False))
        if token is not None:
            return Closed(
                token, () if weights is None else self._stages.read(token, weights, from_start=False).unbind()
            )
        closed = self._stages.close(self._tableau.n_stages - 1, self.y1, self.carry, weights)
        self._tokens[torch.is_grad_enabled(), False] = closed.token
        return closed

    def _all_in(self) -> Tensor:
        """The token of all stages, those for the dense output included, which are evaluated the first time."""
        if not self._tableau.further_c:
            return self._close().token
        key = (torch.is_grad_enabled(), True)
        if key not in self._tokens:
            token = self._close().token
            for j, node in enumerate(self._tableau.further_c):
                row = self._of.further[j : j + 1]
                argument = self._stages.read(token, row, from_start=True).view_as(self._like)
                slope = self._term(self._t0 + node * self._dt, argument)
                token = self._stages.close(self._tableau.n_stages + j, token, slope).token
            self._tokens[key] = token
        return self._tokens[key]


class ExplicitRungeKutta(Solver):
    """An explicit Runge-Kutta method; a method adds its tableau and the facts that the tableau does not tell.

    k_i = f(t0 + c_i dt, y0 + dt sum_{j<i} a_ij k_j),  y1 = y0 + dt sum_j b_j k_j.
    """

    tableau: ClassVar[Tableau]

    def __init_subclass__(cls) -> None:
        cls.order = cls.tableau.order
        tells = cls.tableau.stiffness_stages is not None
        assert vars(cls).get("tells_stiffness", tells) == tells, "what a class says before it is imported is true"
        cls.tells_stiffness = tells
        cls.evaluations_per_step = cls.tableau.n_stages - 1
        cls.evaluations_per_output = len(cls.tableau.further_c)

    def start(self, term: Term, t0: float, y0: State) -> Carry:
        """f(t0, y0)."""
        return term(t0, y0)

    def scratch(self, y0: State) -> Scratch:
        """A buffer of slopes."""
        return Scratch(self.tableau, y0)

    def step(  # noqa: PLR0917
        self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Scratch | None = None
    ) -> RungeKuttaStep:
        """Evaluate the stages; see `Solver.step`."""
        return RungeKuttaStep(self.tableau, term, t0, dt, y0, carry, scratch or self.scratch(y0))
