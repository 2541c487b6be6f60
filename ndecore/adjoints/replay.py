"""What adjoints share that evaluate the vector field again: its parameters, and vector-Jacobian products."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ndecore.errors import InputError
from ndecore.graphs import unknown_leaf
from ndecore.integrate import Adjoint
from ndecore.terms import Term
from ndecore.types import State


def known_parameters(term: Term, adjoint: Adjoint) -> tuple[Tensor, ...]:
    """The parameters of the vector field that need a gradient; raise `InputError` if nobody said which there are."""
    if term.parameters is None:
        raise InputError(
            f"parameters: got none for a vector field that is no nn.Module, and {type(adjoint).__name__} has to know "
            "them; allowed: every tensor that it depends on, `()` if there is none; or the adjoint tape"
        )
    # Each once: a gradient that is handed out twice would be counted twice.
    return tuple({id(each): each for each in term.parameters if each.requires_grad}.values())


@contextmanager
def buffers_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Evaluate again without counting again: running statistics (batch norm) are then as they were before."""
    kept = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    yield
    for buffer, before in kept:
        buffer.data.copy_(before)  # of which graphs that have saved the buffer are not to hear


class Bars(NamedTuple):
    """Cotangents; None for what nothing depends on."""

    states: list[Tensor | None]
    parameters: list[Tensor | None]


class Products:
    """Vector-Jacobian products of what a vector field is evaluated for.

    Args:
        term: the vector field, which counts what is evaluated here.
        parameters: of the vector field, those that need a gradient.
    """

    def __init__(self, term: Term, parameters: Sequence[Tensor]) -> None:
        self.term, self.parameters = term, tuple(parameters)
        self._is_checked = False

    def check(self, slope: State, *inputs: Tensor) -> None:
        """Raise `InputError` if f(inputs) depends on a leaf that is not known: its gradient would be lost. Once."""
        if self._is_checked:
            return
        self._is_checked = True
        leaf = unknown_leaf(slope, (*inputs, *self.parameters))
        if leaf is not None:
            raise InputError(
                f"parameters: the vector field depends on a tensor of shape {tuple(leaf.shape)} that is not among "
                "them, or on what was computed from it, and its gradient would be lost; name with `parameters` "
                "everything that the field depends on, or use the adjoint tape"
            )

    def pull(
        self,
        made: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
        states: Sequence[Tensor],
        retain_graph: bool = False,
    ) -> Bars:
        """The cotangents of `states` and of the parameters from those of what was made of them."""
        pairs = zip(made, cotangents, strict=True)
        live = [(one, bar) for one, bar in pairs if bar is not None and one.requires_grad]
        inputs = (*states, *self.parameters)
        if not live:
            return Bars([None] * len(states), [None] * len(self.parameters))
        ones, bars = zip(*live, strict=True)
        found = torch.autograd.grad(ones, inputs, bars, retain_graph=retain_graph, allow_unused=True)
        return Bars(list(found[: len(states)]), list(found[len(states) :]))


def add(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    """The sum of two cotangents. A new tensor: autograd may have given the same one to several inputs."""
    return right if left is None else left if right is None else left + right


def gathered(ys_bar: Tensor | None, outputs: range) -> Tensor | None:
    """The cotangent of a state from those of the outputs [times, *state] that are copies of it."""
    return None if ys_bar is None or not outputs else ys_bar[outputs.start : outputs.stop].sum(0)
