"""Steinebach's Rodas5P: a linearly implicit method of order 5 for stiff equations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.norms import Differences, Pair
from ndecore.running_cost import ChargedTerm
from ndecore.solvers.base import Solver, StepResult
from ndecore.terms import ODETerm, Term
from ndecore.types import Carry, State, States

_MOST = 4096  # coupled elements of a state: their matrix has 128 MiB in float64

_GAMMA = 0.21193756319429014
_NODES = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
# Of the stages before, in the argument of a stage; those of the last two follow from the sixth.
_A: tuple[tuple[float, ...], ...] = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946),
)
# Of the stages before, over dt, in the right-hand side of a stage.
_C: tuple[tuple[float, ...], ...] = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ),
)
_D = (_GAMMA, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069)  # of df/dt, times dt
_DENSE = (
    (
        25.948786856663858,
        -2.5579724845846235,
        10.433815404888879,
        -2.3679251022685204,
        0.524948541321073,
        1.1241088310450404,
        0.4272876194431874,
        -0.17202221070155493,
    ),
    (
        -9.91568850695171,
        -0.9689944594115154,
        3.0438037242978453,
        -24.495224566215796,
        20.176138334709044,
        15.98066361424651,
        -6.789040303419874,
        -6.710236069923372,
    ),
    (
        11.419903575922262,
        2.8879645146136994,
        72.92137995996029,
        80.12511834622643,
        -52.072871366152654,
        -59.78993625266729,
        -0.15582684282751913,
        4.883087185713722,
    ),
)


@dataclass(frozen=True)
class Rodas5P(Solver):
    """Rodas5P: 8 stages, stiffly accurate and L-stable, embedded error of order 4, dense output of order 4.

    A stage solves (I / (gamma dt) - J) k_i = f(t_i, u_i) + sum_j c_ij k_j / dt + d_i dt f_t with the Jacobian J of f at
    the start of the step: one factorization a step, and no iteration. J is exact, by one backward pass through f for
    each of the coupled elements, so the discrete gradient takes second derivatives of f, and needs them.

    NFE counts the evaluations of f, 8 a step, as the `nfev` of Radau codes does; the backward passes for J are in
    `work`. The stiffness is that of f between the last two stages; a stability size does not limit the steps.

    Args:
        independent_samples: whether the samples along the first axis of the state do not depend on each other, as in a
            batch without batch norm: J is then that of each, [samples, n, n], in place of [samples n, samples n].

    Reference: Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia
    Differential Equations package, BIT Numerical Mathematics 63 (2023) 27; the form of the stages as in Hairer, Wanner
    II, IV.7 (7.25).
    """

    independent_samples: Annotated[
        bool, "Whether the samples of a batch do not depend on each other in the vector field."
    ] = False

    order: ClassVar[float] = 5
    error_order: ClassVar[float | None] = 5
    tells_stiffness: ClassVar[bool] = True
    is_implicit: ClassVar[bool] = True
    stability_size: ClassVar[float] = math.inf
    evaluations_per_step: ClassVar[int] = 8
    evaluations_per_output: ClassVar[int] = 0
    evaluations_for_estimates: ClassVar[int] = 0

    def start(self, term: Term, t0: float, y0: State) -> Carry:
        """f(t0, y0), for the first step size; the first step evaluates it again, with the graph for J."""
        return term(t0, y0)

    def scratch(self, y0: State) -> None:
        """Nothing is shared between steps."""

    def step(  # noqa: PLR0917
        self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: None = None
    ) -> "RosenbrockStep":
        """Take one step; see `Solver.step`."""
        assert isinstance(term, ODETerm | ChargedTerm), "`check` has refused others"
        # A slope that needs no gradient although it could have one: then neither do the Jacobian's leaves.
        is_taping = torch.is_grad_enabled() and (y0.requires_grad or carry.requires_grad)
        with torch.set_grad_enabled(is_taping):
            return RosenbrockStep(term, t0, dt, y0, self.independent_samples)


class RosenbrockStep(StepResult):
    """One step of Rodas5P, and what can be read off its stages."""

    def __init__(self, term: ODETerm | ChargedTerm, t0: float, dt: float, y0: State, independent: bool) -> None:
        self._t0, self._dt, self._y0 = t0, dt, y0
        n_samples = y0.shape[0] if independent and y0.dim() > 1 else 1
        slope, jacobian, by_time = _linearized(term, t0, y0, n_samples)
        shape = jacobian.shape[:2]
        eye = torch.eye(shape[1], dtype=y0.dtype, device=y0.device)
        factors, pivots, _ = torch.linalg.lu_factor_ex(eye / (_GAMMA * dt) - jacobian)

        def solved(side: State) -> State:
            return torch.linalg.lu_solve(factors, pivots, side.reshape(*shape, 1)).reshape(y0.shape)

        self._stages: list[State] = []
        told: list[Pair] = []  # arguments and slopes of the last stages, which lie at one time
        argument = y0
        for i, node in enumerate(_NODES):
            if i:
                argument = _sum(y0, _A[i], self._stages) if i < len(_A) else argument + self._stages[-1]
                slope = term(t0 + node * dt, argument)
            side = _sum(slope, [c / dt for c in _C[i]], self._stages)
            if i < len(_D) and by_time is not None:
                side = side + (_D[i] * dt) * by_time
            self._stages.append(solved(side))
            told.append(Pair(argument, slope))
        self._before, self._last = told[-2:]
        self.y1 = argument + self._stages[-1]
        self.carry = slope.reshape(-1)[:0]  # tells the next step whether slopes need gradients

    def differences(self) -> Differences:
        """The last stage, which is y1 less the embedded solution, and the slopes and arguments of the last two."""
        slopes = self._dt * (self._last.second - self._before.second)
        return Differences(self._stages[-1], slopes, Pair(self._last.first, self._before.first))

    def interpolate(self, ts: Sequence[float]) -> States:
        """(1 - theta) y0 + theta (y1 + (1 - theta) (h_1 + theta h_2 + theta^2 h_3)), theta = (t - t0) / dt."""
        first, second, third = (_sum(torch.zeros_like(self.y1), row, self._stages) for row in _DENSE)
        outputs = []
        for theta in ((t - self._t0) / self._dt for t in ts):
            curve = first + theta * (second + theta * third)
            outputs.append((1 - theta) * self._y0 + theta * (self.y1 + (1 - theta) * curve))
        return torch.stack(outputs)


class _Linearized(NamedTuple):
    """A field and its derivatives at the start of a step."""

    slope: State
    jacobian: Tensor  # [samples, n, n]
    by_time: State | None  # None if the field does not depend on time


def _linearized(term: ODETerm | ChargedTerm, t0: float, y0: State, n_samples: int) -> _Linearized:
    """f(t0, y0), evaluated once, df/dy for each sample, and df/dt; with graphs if gradients are enabled."""
    n = y0.numel() // n_samples
    if n > _MOST:
        raise InputError(
            f"solver: got Rodas5P for a state of {n} coupled elements, allowed: at most {_MOST}; for a batch "
            "Rodas5P(independent_samples=True), or an explicit method"
        )
    is_taping = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        y = y0 if is_taping and y0.requires_grad else y0.detach().clone().requires_grad_()
        t = torch.full((), t0, dtype=y0.dtype, device=y0.device, requires_grad=True)
        slope = term.at(t, y)
        rows = [_pulled(part, y, is_taping) for part in slope.reshape(n_samples, n).sum(0)]
        jacobian = torch.stack([row.reshape(n_samples, n) for row in rows], dim=1)
        by_time = _by_time(slope, t, is_taping)
    term.counts.n_taped -= not is_taping  # a graph for J alone, whose backward passes are told here
    term.counts.n_replayed += n
    if is_taping:
        return _Linearized(slope, jacobian, by_time)
    return _Linearized(slope.detach(), jacobian.detach(), None if by_time is None else by_time.detach())


def _pulled(part: Tensor, to: Tensor, is_taping: bool) -> Tensor:
    """d part / d to, zeros where it does not depend on it."""
    if not part.requires_grad:
        return torch.zeros_like(to)
    (found,) = torch.autograd.grad(part, to, create_graph=is_taping, retain_graph=True, allow_unused=True)
    return torch.zeros_like(to) if found is None else found


def _by_time(slope: State, t: Tensor, is_taping: bool) -> State | None:
    """df/dt, by the derivative of a gradient that is linear in its cotangent."""
    if not slope.requires_grad:
        return None
    cotangent = torch.zeros_like(slope, requires_grad=True)
    (pulled,) = torch.autograd.grad(slope, t, cotangent, create_graph=True, allow_unused=True)
    if pulled is None or not pulled.requires_grad:
        return None
    found: State
    (found,) = torch.autograd.grad(pulled, cotangent, create_graph=is_taping, retain_graph=True)
    return found


def _sum(start: State, weights: Sequence[float], stages: Sequence[State]) -> State:
    for weight, stage in zip(weights, stages, strict=False):
        if weight:
            start = torch.add(start, stage, alpha=weight)
    return start
