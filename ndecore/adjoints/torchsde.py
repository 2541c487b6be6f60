"""torchsde as a closed box: its methods and its adjoints, along the path of the term."""

import math
import warnings
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torchsde
from torch import Tensor

from ndecore.adjoints import TORCHSDE_ITO_METHODS, TORCHSDE_METHODS
from ndecore.adjoints.replay import Products, buffers_kept, known_parameters
from ndecore.brownian import BrownianPath, ForeignPath
from ndecore.errors import InputError
from ndecore.facts import Equations
from ndecore.integrate import Adjoint, Problem, SolveSettings
from ndecore.keys import Above, OneOf, check_fields
from ndecore.solution import Solution, SolveStats, StepRecords
from ndecore.status import Status
from ndecore.terms import SDETerm
from ndecore.types import State, States

_PER_STEP = 30  # evaluations of the drift in the dearest attempt, an adaptive one of srk
_SMALLEST = 1e-6  # of the span, an adaptive step
Integrator = Callable[..., Tensor]


@dataclass(frozen=True)
class _Closed(Adjoint, ABC):
    """What both have: torchsde's method, its steps, and that it shows neither error nor steps."""

    method: Annotated[str, OneOf(*TORCHSDE_METHODS), "The step method of torchsde."] = "srk"
    step_size: Annotated[float, Above(0), "The step of torchsde's methods; unit of time."] = 1e-2
    adaptive: bool = False
    differentiates_records: ClassVar[bool] = False
    equations: ClassVar[tuple[Equations, ...]] = ("stochastic",)
    telling_methods: ClassVar[tuple[str, ...] | None] = ()  # torchsde tells its steps with none
    ito_methods: ClassVar[tuple[str, ...] | None] = TORCHSDE_ITO_METHODS

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Torchsde(_Closed):
    """`torchsde.sdeint` and the tape through it, by any of its methods; the settings' solver and controller rest.

    A black box in the sense of P2: it shows no error and no steps, so global penalties cannot use it, and local ones
    can, unbiased, by one step of the settings' solver. It solves along the term's path, states [batch, d] or with
    further axes in front. `max_steps` bounds the evaluations of the drift, 30 for each attempt.

    Args:
        method: a method of torchsde.
        step_size: of its constant steps, or of the first adaptive one; unit of time.
        adaptive: control the error by doubling steps, at the settings' tolerances.

    Reference: Li et al., Scalable gradients for stochastic differential equations, AISTATS 2020;
    https://github.com/google-research/torchsde.
    """

    tapes_states: ClassVar[bool] = True

    def solve(self, problem: Problem, settings: SolveSettings) -> Solution:
        """Solve by `sdeint`; see `Adjoint.solve`."""
        return _Box(problem, settings, self).solve(torchsde.sdeint, {})


@dataclass(frozen=True)
class TorchsdeAdjoint(_Closed):
    """`torchsde.sdeint_adjoint`: the adjoint equation, itself stochastic, solved backwards along the same path.

    Memory: the outputs alone. The gradient is that of the exact solution to the order of the method. See `Torchsde`
    for what it shows and its arguments; the adjoint equation is solved by the method that torchsde chooses for it.

    Reference: Li et al., Scalable gradients for stochastic differential equations, AISTATS 2020; Kidger et al.,
    Efficient and accurate gradients for neural SDEs, NeurIPS 2021, for `adjoint_reversible_heun`.
    """

    tapes_states: ClassVar[bool] = False

    def solve(self, problem: Problem, settings: SolveSettings) -> Solution:
        """Solve by `sdeint_adjoint`; see `Adjoint.solve`."""
        if not torch.is_grad_enabled():
            return _Box(problem, settings, self).solve(torchsde.sdeint, {})
        parameters = known_parameters(problem.term, self)
        own: dict[str, Any] = {"adjoint_params": parameters}
        if self.method == "reversible_heun":
            own["adjoint_method"] = "adjoint_reversible_heun"
        box = _Box(problem, settings, self, Products(problem.term, parameters))
        return box.solve(torchsde.sdeint_adjoint, own)


class _Motion(torchsde.BaseBrownian):
    """A path as torchsde sees it: [batch, m], with U = h (W/2 + H)."""

    def __init__(self, path: BrownianPath) -> None:
        self._path = path

    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Any:
        if tb is None or return_A:
            raise InputError("method: got one that asks for the area between motions, allowed: another of torchsde")
        W, H = (x.reshape(self.shape) for x in self._path.increment(float(ta), float(tb)))
        return (W, (float(tb) - float(ta)) * (W / 2 + H)) if return_U else W

    def __repr__(self) -> str:
        return f"_Motion({self._path!r})"

    @property
    def dtype(self) -> torch.dtype:
        return self._path.dtype

    @property
    def device(self) -> torch.device:
        return self._path.device

    @property
    def shape(self) -> tuple[int, int]:
        return math.prod(self._path.shape[:-1]), self._path.shape[-1]

    @property
    def levy_area_approximation(self) -> str:
        return "space-time"


class _Equation:
    """Drift and diffusion as torchsde sees them.

    Args:
        products: which know the parameters, where the adjoint evaluates them again.
        most: evaluations of the drift after which the solve is given up.
    """

    def __init__(self, problem: Problem, term: SDETerm, products: Products | None, most: int) -> None:
        self.noise_type, self.sde_type = term.noise, term.calculus
        self.is_solving = True
        self._term, self._products, self._most, self._shape = term, products, most, problem.y0.shape
        self._again = term.fresh()

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift, [batch, d]."""
        if self.is_solving and self._term.n_evaluations >= self._most:
            raise _TooManyEvaluations
        self._term.counts.n_replayed += not self.is_solving
        return self._checked(self._now(t, y, lambda term, at, state: term(at, state)), y).reshape(y.shape)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion, [batch, d] or [batch, d, m]."""
        found = self._checked(self._now(t, y, lambda term, at, state: term.diffusion(at, state)), y)
        if self.noise_type == "diagonal":
            return found.reshape(y.shape)
        return found.reshape(*y.shape, 1 if self.noise_type == "scalar" else found.shape[-1])

    def _now(self, t: Tensor, y: Tensor, evaluate: Callable[[SDETerm, float, State], Tensor]) -> Tensor:
        if self.is_solving:
            return evaluate(self._term, float(t), y.reshape(self._shape))
        with buffers_kept(self._again.modules):
            return evaluate(self._again, float(t), y.reshape(self._shape))

    def _checked(self, found: Tensor, y: Tensor) -> Tensor:
        if not self.is_solving and self._products is not None and torch.is_grad_enabled():
            self._products.check(found, y)
        return found


class _TooManyEvaluations(Exception):
    pass


class _Box:
    """One solve by torchsde."""

    def __init__(
        self,
        problem: Problem,
        settings: SolveSettings,
        adjoint: _Closed,
        products: Products | None = None,
    ) -> None:
        term = problem.term
        assert isinstance(term, SDETerm), "checked by `solve`"
        path = term.path
        if problem.y0.dim() < 2:
            raise InputError(
                f"y0: got shape {tuple(problem.y0.shape)}, which torchsde does not take, allowed: [batch, d]"
            )
        if adjoint.adaptive and products is not None:
            raise InputError("adaptive: got true, of which torchsde's adjoint makes constant steps, allowed: false")
        self.problem, self.term, self.adjoint = problem, term, adjoint
        most = term.n_evaluations + _PER_STEP * settings.max_steps
        self.equation = _Equation(problem, term, products, most)
        self.options: dict[str, Any] = {
            "bm": path.motion if isinstance(path, ForeignPath) else _Motion(path),
            "method": adjoint.method,
            "dt": adjoint.step_size,
            "adaptive": adjoint.adaptive,
            "rtol": settings.rtol,
            "atol": settings.atol,
            "dt_min": _SMALLEST * abs(problem.t1 - problem.t0),
        }

    def solve(self, integrator: Integrator, more: Mapping[str, Any]) -> Solution:
        """Solve; torchsde's failures become statuses."""
        problem, term = self.problem, self.term
        before = term.n_evaluations, term.counts.n_taped, term.n_diffusion_evaluations
        # It wants each time once; outputs may repeat, and include both ends.
        times = sorted({problem.t0, *problem.ts, problem.t1})
        status, found = self._integrate(integrator, times, more)
        self.equation.is_solving = False
        outputs = [times.index(t) for t in problem.ts if t in times[: len(found)]]
        stats = SolveStats(
            n_evaluations=term.n_evaluations - before[0],
            n_differentiated=term.counts.n_taped - before[1],
            n_accepted=0,  # it does not tell
            n_rejected=0,
            n_diffusion_evaluations=term.n_diffusion_evaluations - before[2],
        )
        none, unknown = torch.zeros(0, dtype=torch.float64), problem.y0.new_zeros(0)
        records = StepRecords(none, none, unknown, unknown, unknown)
        return Solution(problem.t0, problem.t1, found[-1], problem.ts, found[outputs], records, stats, status)

    def _integrate(self, integrator: Integrator, times: list[float], more: Mapping[str, Any]) -> tuple[Status, States]:
        """How it ended, and the states at the times that were reached."""
        y0 = self.problem.y0
        status, found = Status.SUCCESS, y0.unsqueeze(0)
        if len(times) > 1:
            ts = torch.tensor(times, dtype=torch.float64, device=y0.device)
            rows = y0.reshape(-1, y0.shape[-1])
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "Hitting minimum allowed step size")
                try:
                    found = integrator(self.equation, rows, ts, **self.options, **more)
                except _TooManyEvaluations:
                    status = Status.MAX_STEPS
                except UserWarning:
                    status = Status.STEP_UNDERFLOW
            found = found.reshape(-1, *y0.shape)
        is_finite = found.detach().isfinite().flatten(1).all(1).tolist()
        return (status, found) if all(is_finite) else (Status.NON_FINITE, found[: max(1, is_finite.index(False))])
