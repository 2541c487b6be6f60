"""What a tensor was computed from, and how its graph is passed."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge


def unknown_leaf(made: Tensor, known: Iterable[Tensor]) -> Tensor | None:
    """A leaf whose gradient `made` has, by a way that does not lead through one of the `known` tensors; else None."""
    if not made.requires_grad:
        return None
    # Edges and not tensors: a known one may be computed from others, and what was made may be a leaf.
    seen = {_edge(tensor) for tensor in known if tensor.requires_grad}
    waiting = [_edge(made)]
    while waiting:
        edge = waiting.pop()
        if edge[0] is None or edge in seen:
            continue
        seen.add(edge)
        leaf: Tensor | None = getattr(edge[0], "variable", None)  # of the nodes that end a graph
        if leaf is not None:
            return leaf
        waiting.extend(edge[0].next_functions)
    return None


def is_batched() -> bool:
    """Whether several backward passes go on at once (`is_grads_batched`)."""
    level: int = torch._C._vmapmode_increment_nesting()
    torch._C._vmapmode_decrement_nesting()
    return level > 1


def _edge(tensor: Tensor) -> tuple[Any, int]:
    """Where the gradient of a tensor goes."""
    edge = get_gradient_edge(tensor)
    return edge.node, edge.output_nr
