"""What is integrated along a solution beside it: costs that a penalty is made of."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from ndecore.terms import ODETerm, Term
from ndecore.types import Scalar, State, VectorField


class Charged(NamedTuple):
    """A slope, and what it costs to be there."""

    slope: State  # f(t, y)
    costs: Tensor  # [n_costs], per unit of time


class RunningCost(ABC):
    """g(t, y) along a solution, of which a solve returns the integral; no step size depends on it."""

    n_costs: int

    @abstractmethod
    def __call__(self, field: VectorField, t: Scalar, y: State) -> Charged:
        """f(t, y) and g(t, y); each call of `field` counts as an evaluation."""


class ChargedTerm(Term):
    """d/dt (y, q) = (f(t, y), g(t, y)) as one vector [n + n_costs]; it counts where the term of f counts.

    Args:
        term: of f.
        cost: g.
        shape: of y.
    """

    def __init__(self, term: ODETerm, cost: RunningCost, shape: torch.Size) -> None:
        super().__init__(term.parameters, term.counts)
        self.n_calls = 0  # in each of which a cost may evaluate f more than once
        self._term, self._cost, self._shape = term, cost, shape

    def start(self, y0: State) -> Tensor:
        """The joint state [n + n_costs] of y0 and of no costs yet."""
        return torch.cat([y0.reshape(-1), y0.new_zeros(self._cost.n_costs)])

    def parts(self, joint: Tensor) -> tuple[State, Tensor]:
        """The state [..., *shape] and the costs [..., n_costs] in a joint state [..., n + n_costs]."""
        n = self._shape.numel()
        return joint[..., :n].reshape(*joint.shape[:-1], *self._shape), joint[..., n:]

    def __call__(self, t: float, y: State) -> State:
        """Evaluate both at once."""
        return self.at(torch.full((), t, dtype=y.dtype, device=y.device), y)

    def at(self, t: Scalar, y: State) -> State:
        """The same, where the time is a tensor already."""
        self.n_calls += 1
        taped = self.counts.n_taped
        joint = self._joined(self._term.at, t, y)
        if not torch.is_grad_enabled():  # `torch.func.vjp` enables gradients for itself alone: nothing stays on a tape
            self.counts.n_taped = taped
        return joint

    def field(self, t: Scalar, y: State) -> State:
        """The same, not counted."""
        return self._joined(self._term.field, t, y)

    def fresh(self) -> "ChargedTerm":
        """The same with counts of zero."""
        return ChargedTerm(self._term.fresh(), self._cost, self._shape)

    def _joined(self, field: VectorField, t: Scalar, y: State) -> State:
        slope, costs = self._cost(field, t, self.parts(y)[0])
        return torch.cat([slope.reshape(-1), costs])
