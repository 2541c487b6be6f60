"""What adjoints share that evaluate the vector field again: its parameters, and vector-Jacobian products."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ndecore.errors import InputError
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
    return tuple(parameter for parameter in term.parameters if parameter.requires_grad)


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

    def check(self, slope: State, state: State) -> None:
        """Raise `InputError` if f(t, state) depends on a leaf that is not known: its gradient would be lost. Once."""
        if self._is_checked:
            return
        self._is_checked = True
        known = {id(tensor) for tensor in (state, *self.parameters)}
        waiting, seen = [slope.grad_fn], set()
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)  # of the nodes that end a graph
            if leaf is not None and id(leaf) not in known:
                raise InputError(
                    f"parameters: the vector field depends on a tensor of shape {tuple(leaf.shape)} that is not among "
                    "them, or on what was computed from it, and its gradient would be lost; name with `parameters` "
                    "everything that the field depends on, or use the adjoint tape"
                )
            waiting.extend(before for before, _ in node.next_functions)

    def pull(
        self,
        made: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
        states: Sequence[State],
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
