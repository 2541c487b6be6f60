"""What is integrated, and the count of its evaluations."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ndecore.errors import InputError
from ndecore.types import Scalar, State, VectorField


@dataclass
class Counts:
    """Evaluations of a vector field."""

    n_evaluations: int = 0
    n_taped: int = 0  # of those, the ones made with gradients enabled
    n_replayed: int = 0  # beside those, the ones that an adjoint made, and differentiated, for a gradient


class Term(ABC):
    """A vector field as step methods see it, counting its evaluations.

    Args:
        parameters: every tensor that the field depends on and that may need a gradient; None if nobody said.
        counts: where to count; its own by default.
    """

    def __init__(self, parameters: Sequence[Tensor] | None = None, counts: Counts | None = None) -> None:
        self.parameters = None if parameters is None else tuple(parameters)
        self.counts = counts or Counts()

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

    @abstractmethod
    def fresh(self) -> "Term":
        """The same vector field with counts of zero."""


class ODETerm(Term):
    """dy/dt = f(t, y).

    Args:
        field: f(t, y) with t a 0-d tensor of y's dtype and device; returns a tensor like y.
        parameters: every tensor that f depends on and that may need a gradient; those of f if it is an `nn.Module` and
            None is given. Only adjoints that evaluate f again need to know them; the tape does not.
    """

    def __init__(self, field: VectorField, parameters: Sequence[Tensor] | None = None) -> None:
        if parameters is None and isinstance(field, nn.Module):
            parameters = tuple(field.parameters())
        super().__init__(parameters)
        self.field = field

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
        if not isinstance(dydt, Tensor):
            raise InputError(
                f"vector field returned a {type(dydt).__name__}, allowed: a tensor of shape {tuple(y.shape)}, like its "
                "state"
            )
        if dydt.shape != y.shape or dydt.dtype != y.dtype or dydt.device != y.device:
            raise InputError(
                f"vector field returned shape {tuple(dydt.shape)} of {dydt.dtype} on {dydt.device}, allowed: "
                f"{tuple(y.shape)} of {y.dtype} on {y.device}, like its state; reshape, cast or move its output"
            )
        return dydt

    def fresh(self) -> "ODETerm":
        """The same vector field with counts of zero."""
        return ODETerm(self.field, self.parameters)
