"""Output at times that differ between samples: one grid for all of them, and a gather."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ndecore.errors import InputError


class UnionGrid(NamedTuple):
    """All times of a batch, each once, and where each sample's are among them."""

    times: tuple[float, ...]  # ascending: `ts` of a solve, or `t` of a block
    places: Int[Tensor, "batch n"]

    def gather(self, states: Float[Tensor, "times batch *state"]) -> Float[Tensor, "batch n *state"]:
        """Each sample's states at its own times, of a solution at all of them."""
        sample = torch.arange(len(self.places), device=states.device).unsqueeze(1)
        return states[self.places.to(states.device), sample]


def union_grid(times: Float[Tensor, "batch n"], mask: Tensor | None = None) -> UnionGrid:
    """The union of all samples' times: one solve serves the batch, at the price of an output at each of them.

    Dense output gives the states, so no step is shortened for a time. NFE does not depend on how many there are.

    Args:
        times: of each sample, in any order, unit of time.
        mask: [batch, n], False where a time is padding: what is gathered there is the state at the earliest time.

    Raises:
        InputError: a time that is not finite, or no time at all.
    """
    valid = torch.ones_like(times, dtype=torch.bool) if mask is None else mask.bool()
    chosen = times[valid]
    if not len(chosen) or not bool(torch.isfinite(chosen).all()):
        raise InputError("times: got none or such that are not finite, allowed: at least one finite time in a batch")
    union = torch.unique(chosen)
    places = torch.searchsorted(union, torch.where(valid, times, union[0]))
    return UnionGrid(tuple(union.tolist()), places)
