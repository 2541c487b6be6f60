"""A Brownian path of which only the seed is known yet, or not even that."""

from typing import Any

import torch

from ndecore.brownian import BrownianPath, BrownianTree, Increment
from ndecore.errors import InputError

_LEVELS, _BITS = 20, 32  # the halvings of a cell, and what cells and halvings may come to in all


class UndrawnPath(BrownianPath):
    """A path that `solve` draws when it begins, over the span that is solved, whose end a penalty may move.

    Args:
        shape: of W.
        dtype: of W and H.
        device: where they are drawn.
        seed: of the `BrownianTree`; None leaves it to who observes the solve, or else to torch's default generator.
        cells: of the tree; constant steps are fastest on as many.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int | None = None, cells: int = 1
    ) -> None:
        self.shape, self.dtype, self.device = tuple(shape), dtype, device
        self.seed, self.cells = seed, cells

    def over(self, t0: float, t1: float, seed: int, n: int = 0) -> BrownianTree:
        """The n-th path of a seed over [t0, t1], counted from 0."""
        if n:
            seed = BrownianTree(seed, self.shape, t0, t1).apart(n, t0, t1).seed
        levels = min(_LEVELS, _BITS - self.cells.bit_length())
        kind: dict[str, Any] = {"dtype": self.dtype, "device": self.device}
        return BrownianTree(seed, self.shape, t0, t1, cells=self.cells, levels=levels, **kind)

    def increment(self, t0: float, t1: float) -> Increment:
        """Raise `InputError`: there is none yet."""
        raise InputError(
            "path: got one that is not drawn yet, allowed: in a `solve`, which draws it; or a BrownianTree"
        )

    def step_end(self, t: float, dt: float) -> float:
        """t + dt."""
        return t + dt

    def apart(self, n: int, t0: float, t1: float) -> BrownianTree:
        """Raise `InputError`: there is none to be apart from yet."""
        raise InputError(
            "path: got one that is not drawn yet, allowed: in a `solve`, which draws it; or a BrownianTree"
        )
