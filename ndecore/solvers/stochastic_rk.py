"""One step of a stochastic Runge-Kutta method of strong order 3/2, from its tableau."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ndecore.norms import Differences, Pair
from ndecore.solvers.stochastic import StochasticSolver, StochasticStep, stochastic
from ndecore.solvers.tableau import Weights
from ndecore.terms import SDETerm, Term
from ndecore.types import Calculus, Carry, Noise, State

_ROUNDING = 1e-11  # published coefficients carry 14 to 17 digits, and conditions multiply four of them
_STAGES = 4
_POWERS = {"plain": 0, "root": 1, "per_root": -1, "per_step": -2}  # of sqrt(h) in a row's weights of the diffusion
Rows = tuple[Weights, ...]


@dataclass(frozen=True)
class StochasticTableau:
    """A method of four stages for diagonal or scalar noise; all coefficients dimensionless.

    With k_i = f(t0 + c0_i h, H0_i), g_i = g(t0 + c1_i h, H1_i) and c0 = a0 e, c1 = a1 e:

        H0_i = y0 + h sum_j a0_ij k_j + chi2 sum_j b0_ij g_j
        H1_i = y0 + h sum_j a1_ij k_j + sqrt(h) sum_j b1_ij g_j
        y1 = y0 + h sum_i alpha_i k_i + dW sum_i beta1_i g_i + chi1 sum_i beta2_i g_i + E2
        E2 = chi2 sum_i beta3_i g_i + chi3 sum_i beta4_i g_i

    It checks the conditions of strong order 3/2 when it is made.

    Args:
        a0, b0, a1, b1: three rows each; row i holds the i + 1 weights of stage i + 1's argument.
        alpha: of the drift in the solution.
        beta1, beta2, beta3, beta4: of the diffusion.
        stiffness_stages: two stages whose drift is taken at one time, or None if the method has none.

    Reference: Roessler, Runge-Kutta methods for the strong approximation of solutions of stochastic differential
    equations, SIAM J. Numer. Anal. 48 (2010), theorem 5.1 (scheme SRI).
    """

    a0: Rows
    a1: Rows
    b0: Rows
    b1: Rows
    alpha: Weights
    beta1: Weights
    beta2: Weights
    beta3: Weights
    beta4: Weights
    stiffness_stages: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for rows in (self.a0, self.a1, self.b0, self.b1):
            assert [len(row) for row in rows] == [1, 2, 3], "stages are explicit"
        betas = (self.beta1, self.beta2, self.beta3, self.beta4)
        # For each vector of stages, what alpha, and beta1 to beta4, must make of it.
        one, noise0, noise1 = (1.0,) * _STAGES, _sums(self.b0), _sums(self.b1)
        for stages, wanted in (
            (one, (1.0, 0.0, 0.0, 0.0)),
            (noise1, (0.0, 1.0, 0.0, 0.0)),
            (self.c1, (1.0, 0.0, -1.0, 0.0)),
            (tuple(x * x for x in noise1), (1.0, 0.0, -1.0, 2.0)),
            (_times(self.b1, noise1), (0.0, 0.0, 0.0, 1.0)),
        ):
            for beta, sought in zip(betas, wanted, strict=True):
                _equal(_dot(beta, stages), sought, "the conditions on the diffusion")
        squared = tuple(x * x for x in noise0)
        for stages, value in ((one, 1.0), (self.c0, 0.5), (noise0, 1.0), (squared, 1.5)):
            _equal(_dot(self.alpha, stages), value, "the conditions on the drift")
        mixed = _times(self.a1, noise0)
        _equal(_dot(self.beta1, mixed) / 2 + _dot(self.beta3, mixed) / 3, 0.0, "the condition on both")
        if self.stiffness_stages:
            first, second = self.stiffness_stages
            _equal(self.c0[first], self.c0[second], "stiffness is read off two stages at one time")

    @cached_property
    def c0(self) -> Weights:
        """The nodes of the drift."""
        return _sums(self.a0)

    @cached_property
    def c1(self) -> Weights:
        """The nodes of the diffusion."""
        return _sums(self.a1)


def _sums(rows: Rows) -> Weights:
    return (0.0, *map(math.fsum, rows))


def _times(rows: Rows, stages: Weights) -> Weights:
    return (0.0, *(math.fsum(w * x for w, x in zip(row, stages, strict=False)) for row in rows))


def _dot(weights: Weights, stages: Weights) -> float:
    return math.fsum(w * x for w, x in zip(weights, stages, strict=True))


def _equal(got: float, wanted: float, rule: str) -> None:
    assert abs(got - wanted) < _ROUNDING, f"{rule}: {got!r} is not {wanted!r}"


class _Coefficients(NamedTuple):
    """Rows over (y0, k1, g1, k2, g2, ...). Those of H0, of its noise and of H1 for each stage; then seven of the end:

    y0 + h sum alpha_i k_i - sqrt(h)/2 sum beta2_i g_i; sum beta1_i g_i; sum beta2_i g_i / (2 sqrt(h)); h sum k_i;
    sum beta3_i g_i; sum beta4_i g_i / (6 h); h (k_i - k_j) of the stages that tell the stiffness, if there are any.

    So dW beta1 g + chi1 beta2 g is dW (second + dW third), without chi1 = (dW^2 - h) / (2 sqrt(h)).
    """

    powers: tuple[float, ...]  # of sqrt(h), by which the tables are multiplied
    tables: Tensor  # [powers, rows, 1 + 2 stages]


@lru_cache(maxsize=32)
def _coefficients(tableau: StochasticTableau, dtype: torch.dtype, device: torch.device) -> _Coefficients:
    powers = (0, 2, 1, -1, -2)
    tables: dict[int, list[list[float]]] = {power: [] for power in powers}

    def row(start: float = 0.0, drift: Weights = (), **noise: Weights) -> None:
        own = {power: [0.0] * (1 + 2 * _STAGES) for power in powers}
        own[0][0] = start
        own[2][1 : 1 + 2 * len(drift) : 2] = drift
        for name, weights in noise.items():
            own[_POWERS[name]][2 : 2 + 2 * len(weights) : 2] = weights
        for power in powers:
            tables[power].append(own[power])

    for a0, b0, a1, b1 in zip(tableau.a0, tableau.b0, tableau.a1, tableau.b1, strict=True):
        row(1.0, drift=a0)
        row(plain=b0)
        row(1.0, drift=a1, root=b1)
    row(1.0, drift=tableau.alpha, root=tuple(-0.5 * beta for beta in tableau.beta2))
    row(plain=tableau.beta1)
    row(per_root=tuple(0.5 * beta for beta in tableau.beta2))
    row(drift=(1.0,) * _STAGES)
    row(plain=tableau.beta3)
    row(per_step=tuple(beta / 6 for beta in tableau.beta4))
    if tableau.stiffness_stages:
        first, second = tableau.stiffness_stages
        row(drift=tuple(float((i == second) - (i == first)) for i in range(_STAGES)))
    stacked = torch.tensor([tables[power] for power in powers], dtype=torch.float64)
    return _Coefficients(powers, stacked.to(device, dtype))


class Scratch:
    """What the steps of one solve share: buffers, the weights of the last step size, and the slopes where the last step
    began, which a rejected step leaves to the next.

    Args:
        tableau: of the method.
        y0: a state like those that are stepped.
    """

    def __init__(self, tableau: StochasticTableau, y0: State) -> None:
        self._of = _coefficients(tableau, y0.dtype, y0.device)
        n_rows = self._of.tables.shape[1]
        self._slopes = y0.new_empty(1 + 2 * _STAGES, y0.numel())
        self._sums = y0.new_empty(n_rows, y0.numel())
        self._weights: tuple[float, Tensor] | None = None
        self._begun: tuple[State, Tensor, Tensor] | None = None

    def weights(self, h: float) -> Tensor:
        """The rows of `_Coefficients` for a step of size h."""
        if self._weights is None or self._weights[0] != h:
            own, *others = self._of.tables.unbind()
            for power, table in zip(self._of.powers[1:], others, strict=True):
                own = torch.add(own, table, alpha=h ** (power / 2))
            self._weights = h, own
        return self._weights[1]

    def slopes(self, sde: SDETerm, t0: float, y0: State, carry: Carry) -> tuple[Tensor, Tensor]:
        """f and g where a step begins: from the carry, from an attempt before, or evaluated."""
        if carry.numel():
            f, g = carry.unbind()
            return f, g
        if self._begun is None or self._begun[0] is not y0:
            self._begun = y0, sde(t0, y0), sde.diffusion(t0, y0)
        return self._begun[1:]

    def sums(self, rows: slice, weights: Tensor, vectors: list[Tensor]) -> Tensor:
        """Some rows of the weights times the vectors so far, of which there are two more at each call: [rows, n]."""
        n = len(vectors)
        if torch.is_grad_enabled():
            return torch.mm(weights[rows, :n], torch.stack(vectors))
        # Fresh memory costs more than the arithmetic in it.
        for row in range(n - 2 if n > 3 else 0, n):
            self._slopes[row].copy_(vectors[row])
        return torch.mm(weights[rows, :n], self._slopes[:n], out=self._sums[rows])


class StochasticRungeKutta(StochasticSolver):
    """A method of four stages and strong order 3/2 for Ito equations; a method adds its tableau and its facts.

    The error estimate is that of P1's solver: h sum_i k_i + E2, a plain sum over the stages of the drift beside the
    noise of highest order. It is of the size of h |f|, so the tolerance bounds the way that the drift goes in a step
    rather than the error, and error penalties are close to kinetic ones. Its nominal order is 3/2, that of its
    controller. Evaluates drift and diffusion four times a step, three times after a rejected one.

    Reference: Rackauckas, Nie, Stability-optimized high order methods and stiffness detection for pathwise stiff
    stochastic differential equations (2018, arXiv 1804.04344); StochasticDiffEq.jl, of which the error estimate is.
    """

    tableau: ClassVar[StochasticTableau]
    order: ClassVar[float] = 1.5
    error_order: ClassVar[float | None] = 1.5
    evaluations_per_step: ClassVar[int] = 4
    calculus: ClassVar[Calculus | None] = "ito"
    noise_types: ClassVar[Mapping[Noise, float]] = {"diagonal": 1.5, "scalar": 1.5}

    def __init_subclass__(cls) -> None:
        tells = cls.tableau.stiffness_stages is not None
        assert vars(cls).get("tells_stiffness", tells) == tells, "what a class says before it is imported is true"
        cls.tells_stiffness = tells

    def start(self, term: Term, t0: float, y0: State) -> Carry:
        """f and g at the start, which the automatic step looks at too: [2, *state]."""
        sde = stochastic(term)
        return torch.stack([sde(t0, y0), sde.diffusion(t0, y0)])

    def scratch(self, y0: State) -> Scratch:
        """Buffers, and the slopes of a rejected step."""
        return Scratch(self.tableau, y0)

    def step(  # noqa: PLR0917
        self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Scratch | None = None
    ) -> StochasticStep:
        """Evaluate the stages; see `Solver.step`."""
        sde, room, tableau = stochastic(term), scratch or self.scratch(y0), self.tableau
        weights, (W, H) = room.weights(dt), sde.increment(t0, dt)
        chi2 = torch.add(H, W, alpha=0.5)  # dZ / sqrt(3) is 2 H
        f, g = room.slopes(sde, t0, y0, carry)
        vectors, arguments = [y0.reshape(-1), f.reshape(-1), g.reshape(-1)], [y0]
        for i in range(1, _STAGES):
            rows = room.sums(slice(3 * i - 3, 3 * i), weights, vectors).view(3, *y0.shape)
            plain, spread, argument = rows.unbind()
            arguments.append(torch.addcmul(plain, spread, chi2))
            f = sde(t0 + tableau.c0[i] * dt, arguments[i])
            g = sde.diffusion(t0 + tableau.c1[i] * dt, argument)
            vectors += [f.reshape(-1), g.reshape(-1)]
        rows = room.sums(slice(3 * _STAGES - 3, None), weights, vectors)
        ends = rows.view(-1, *y0.shape).unbind()
        # chi3 = dW (dW^2 - 3 h) / (6 h), the divisor being in the weights.
        E2 = torch.addcmul(ends[4] * chi2, ends[5], W.square().sub_(3 * dt).mul_(W))
        y1 = torch.addcmul(ends[0] + E2, torch.addcmul(ends[1], ends[2], W), W)
        differences = Differences(ends[3] + E2)
        if tableau.stiffness_stages:
            first, second = tableau.stiffness_stages
            differences = Differences(differences.error, ends[6], Pair(arguments[first], arguments[second]))
        return StochasticStep(t0, dt, y0, y1, y0.new_empty(0), differences)
