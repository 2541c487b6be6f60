"""What is integrated, and the count of its evaluations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from ndecore.brownian import BrownianPath, Increment
from ndecore.errors import InputError
from ndecore.types import Calculus, Noise, Scalar, State, VectorField


@dataclass
class Counts:
    """Evaluations of a vector field."""

    n_evaluations: int = 0
    n_taped: int = 0  # of those, the ones made with gradients enabled
    n_replayed: int = 0  # beside those, the ones that an adjoint made, and differentiated, for a gradient
    n_diffusion: int = 0  # of a diffusion: the others are of the drift


class Term(ABC):
    """A vector field as step methods see it, counting its evaluations; of a stochastic equation the drift.

    Args:
        parameters: every tensor that the field depends on and that may need a gradient; None if nobody said.
        counts: where to count; its own by default.
    """

    resolution: float = 0.0  # below this, times are not told apart by what drives the equation; unit of time

    def __init__(self, parameters: Sequence[Tensor] | None = None, counts: Counts | None = None) -> None:
        self.parameters = None if parameters is None else tuple(parameters)
        self.counts = counts or Counts()
        self.modules: tuple[nn.Module, ...] = ()  # what is evaluated, as far as it is modules

    @property
    def n_evaluations(self) -> int:
        """Those made for solves and penalties."""
        return self.counts.n_evaluations

    @property
    def n_taped(self) -> int:
        """Of those, the ones made with gradients enabled."""
        return self.counts.n_taped

    @property
    def n_replayed(self) -> int:
        """Beside those, the ones that an adjoint made, and differentiated, for a gradient."""
        return self.counts.n_replayed

    @abstractmethod
    def __call__(self, t: float, y: State) -> State:
        """Evaluate f(t, y) once; unit of y per unit of time."""

    @property
    def n_diffusion_evaluations(self) -> int:
        """Those of the diffusion, made for solves and penalties; an ordinary equation has none."""
        return self.counts.n_diffusion

    def step_end(self, t: float, dt: float) -> float:
        """Where a step of about `dt` from t that error control has asked for is to end; never beyond t + dt."""
        return t + dt

    @abstractmethod
    def fresh(self) -> "Term":
        """The same vector field with counts of zero."""


class ODETerm(Term):
    """dy/dt = f(t, y).

    Args:
        field: f(t, y) with t a 0-d tensor of y's dtype and device; returns a tensor like y.
        parameters: every tensor that f depends on and that may need a gradient; those of f if it is an `nn.Module` and
            None is given. Only adjoints that evaluate f again need to know them; the tape does not.
        counts: where to count; its own by default.
    """

    def __init__(
        self, field: VectorField, parameters: Sequence[Tensor] | None = None, counts: Counts | None = None
    ) -> None:
        if parameters is None and isinstance(field, nn.Module):
            parameters = tuple(field.parameters())
        super().__init__(parameters, counts)
        self.field = field
        self.modules = (field,) if isinstance(field, nn.Module) else ()

    def __call__(self, t: float, y: State) -> State:
        """Evaluate f(t, y) once; raise `InputError` if it is not like y."""
        # `full` puts the scalar into the kernel's arguments: no copy from the host, hence no synchronisation.
        return self.at(torch.full((), t, dtype=y.dtype, device=y.device), y)

    def at(self, t: Scalar, y: State) -> State:
        """The same, where the time is a tensor already."""
        self.counts.n_evaluations += 1
        self.counts.n_taped += torch.is_grad_enabled()
        return self.checked(self.field(t, y), y)

    @staticmethod
    def checked(dydt: object, y: State) -> State:
        """What a field returned, or an `InputError` if it is not like y."""
        return _like_state("vector field", dydt, y)

    def fresh(self) -> "ODETerm":
        """The same vector field with counts of zero."""
        return self._with(self.field, Counts())

    def mapped(self, wrap: Callable[[VectorField], VectorField]) -> "ODETerm":
        """The same equation with its function wrapped; it counts where this one does."""
        return self._with(wrap(self.field), self.counts)

    def _with(self, field: VectorField, counts: Counts) -> "ODETerm":
        found = ODETerm(field, self.parameters, counts)
        found.modules = self.modules
        return found


class SDETerm(Term):
    """dy = f(t, y) dt + g(t, y) dW; called, it is the drift f, and `diffusion` is g. They are counted apart.

    y is [*batch, d]. What `noise` promises of g and W decides which methods keep their order:

    | noise | g | W | promise |
    |---|---|---|---|
    | diagonal | like y | like y | g_i depends on y_i, of all y, and drives y_i by a W of its own |
    | scalar | like y | [*batch, 1] | one W drives all d |
    | additive | [*batch, d, m] | [*batch, m] | g does not depend on y |
    | general | [*batch, d, m] | [*batch, m] | none |

    Args:
        drift: f(t, y) with t a 0-d tensor of y's dtype and device; returns a tensor like y.
        diffusion: g(t, y).
        path: W.
        noise: of which kind g is.
        calculus: in which sense the integral over dW is meant, "ito" or "stratonovich".
        is_mixing: let a "diagonal" g mix the states of y all the same, as the networks of P1 and P2 do: methods lose
            their order then, and are no better than Euler-Maruyama.
        parameters: every tensor that f and g depend on and that may need a gradient; those of both if they are
            `nn.Module`s and None is given. Only adjoints that evaluate them again need to know them.
        counts: where to count; its own by default.
    """

    def __init__(
        self,
        drift: VectorField,
        diffusion: VectorField,
        path: BrownianPath,
        *,
        noise: Noise = "diagonal",
        calculus: Calculus = "ito",
        is_mixing: bool = False,
        parameters: Sequence[Tensor] | None = None,
        counts: Counts | None = None,
    ) -> None:
        for name, got, kinds in (("noise", noise, Noise), ("calculus", calculus, Calculus)):
            if got not in get_args(kinds):
                raise InputError(f"{name}: got {got!r}, allowed: {', '.join(get_args(kinds))}")
        if parameters is None and isinstance(drift, nn.Module) and isinstance(diffusion, nn.Module):
            parameters = tuple(drift.parameters()) + tuple(diffusion.parameters())
        super().__init__(parameters, counts)
        self.drift, self.diffuse, self.path = drift, diffusion, path
        self.noise, self.calculus, self.is_mixing = noise, calculus, is_mixing
        self.resolution = path.resolution
        self.modules = tuple(each for each in (drift, diffusion) if isinstance(each, nn.Module))

    def __call__(self, t: float, y: State) -> State:
        """Evaluate the drift once; raise `InputError` if it is not like y."""
        self.counts.n_evaluations += 1
        self.counts.n_taped += torch.is_grad_enabled()
        return _like_state("drift", self.drift(torch.full((), t, dtype=y.dtype, device=y.device), y), y)

    def diffusion(self, t: float, y: State) -> Tensor:
        """Evaluate the diffusion once; raise `InputError` if it is not as the noise wants it."""
        self.counts.n_diffusion += 1
        found = self.diffuse(torch.full((), t, dtype=y.dtype, device=y.device), y)
        if self.noise in ("diagonal", "scalar"):
            return _like_state(f"diffusion of {self.noise} noise", found, y)
        wanted = (*y.shape, *self.path.shape[-1:])
        if not isinstance(found, Tensor) or tuple(found.shape) != wanted or found.dtype != y.dtype:
            got = f"{tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"diffusion of {self.noise} noise returned {got}, allowed: {wanted} of {y.dtype}, a column for each of "
                f"the {wanted[-1]} motions of the path; change its output, or the path's shape"
            )
        return found

    def increment(self, t0: float, dt: float) -> Increment:
        """W and H over a step."""
        return self.path.increment(t0, t0 + dt)

    def spread(self, g: Tensor, W: Tensor) -> State:
        """g W: what the increment W does to the state."""
        return g * W if self.noise in ("diagonal", "scalar") else (g @ W.unsqueeze(-1)).squeeze(-1)

    def step_end(self, t: float, dt: float) -> float:
        """Where the path is cheap to know; see `BrownianPath.step_end`."""
        return self.path.step_end(t, dt)

    def along(self, path: BrownianPath) -> "SDETerm":
        """The same equation driven by another path; it counts where this one does."""
        return self._with(path, self.counts)

    def mapped(self, wrap: Callable[[VectorField], VectorField]) -> "SDETerm":
        """The same equation with both functions wrapped; it counts where this one does."""
        found = self._with(self.path, self.counts)
        found.drift, found.diffuse = wrap(self.drift), wrap(self.diffuse)
        return found

    def fresh(self) -> "SDETerm":
        """The same equation and path with counts of zero."""
        return self._with(self.path, Counts())

    def _with(self, path: BrownianPath, counts: Counts) -> "SDETerm":
        found = SDETerm(
            self.drift,
            self.diffuse,
            path,
            noise=self.noise,
            calculus=self.calculus,
            is_mixing=self.is_mixing,
            parameters=self.parameters,
            counts=counts,
        )
        found.modules = self.modules
        return found


def _like_state(what: str, found: object, y: State) -> State:
    """What a function returned, or an `InputError` if it is not like y."""
    if not isinstance(found, Tensor):
        raise InputError(
            f"{what} returned a {type(found).__name__}, allowed: a tensor of shape {tuple(y.shape)}, like its state"
        )
    if found.shape != y.shape or found.dtype != y.dtype or found.device != y.device:
        raise InputError(
            f"{what} returned shape {tuple(found.shape)} of {found.dtype} on {found.device}, allowed: "
            f"{tuple(y.shape)} of {y.dtype} on {y.device}, like its state; reshape, cast or move its output"
        )
    return found
