"""Brownian paths that any steps may be taken along: one seed, one path.

W is the increment over [s, t], h = t - s; H = (1/h) int_s^t (W_{s,u} - (u - s)/h W) du is its space-time Levy area.
They are independent, W ~ N(0, h) and H ~ N(0, h/12), and int_s^t W_{s,u} du = h (W/2 + H).
"""

import math
from abc import ABC, abstractmethod
from functools import lru_cache, partial
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.types import State

_BITS = 32  # of a node's number: what torch's generator on the CPU takes of a seed
_LOW = 2**_BITS - 1
_STEP_QUANTA = 8  # an adaptive step is this many to twice as many quanta of time
_KEPT = 64  # halves of intervals that are kept, where queries jump about


class Increment(NamedTuple):
    """Of a Brownian motion over an interval of time."""

    W: State  # unit of time^(1/2)
    H: State  # space-time Levy area, unit of time^(1/2)


class BrownianPath(ABC):
    """One path of a Brownian motion, each element of its shape independent of the others."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    resolution: float = 0.0  # times are taken to the nearest multiple of it from t0, unit of time

    @abstractmethod
    def increment(self, t0: float, t1: float) -> Increment:
        """W and H over [t0, t1], without gradient: the same numbers whatever was asked before."""

    @abstractmethod
    def step_end(self, t: float, dt: float) -> float:
        """Where an adaptive step of at most `dt` from t ends cheaply: in (t, t + dt], not far below t + dt."""

    @abstractmethod
    def apart(self, n: int, t0: float, t1: float) -> "BrownianPath":
        """The n-th path over [t0, t1] that has nothing to do with this one, and repeats with it."""


class BrownianTree(BrownianPath):
    """A virtual Brownian tree: nothing of the path is stored, every increment is drawn again from the seed.

    The span is cut into equal cells of independent increments, and a cell into halves of halves down to the resolution.
    Given (W, H) of an interval of length h, with X1, X2 ~ N(0, 1), those of its halves are

        W1, W2 = W/2 +- (3/2 H + sqrt(h)/4 X1),   H1, H2 = H/4 - sqrt(h)/8 X1 +- sqrt(h/48) X2,

    and adjacent intervals join to W = W1 + W2, h H = h1 H1 + h2 H2 + (h2 W1 - h1 W2)/2. Times in between are taken to
    the resolution. Steps that are whole cells cost two normals for each element, and others two more for each halving
    down to their ends; the halves around the last query are kept. So a solve in n constant steps is fastest on n cells,
    and an adaptive one ends its steps where few halvings lead (`step_end`): two solves of different tolerances follow
    one path exactly, nothing is interpolated.

    Args:
        seed: any integer; with the span, the cells and the levels it decides the path. Not torch's global seed.
        shape: of W: that of the state for diagonal noise.
        t0: start, in units of time.
        t1: end, after t0.
        cells: the independent parts of the span.
        levels: the halvings of a cell; cells * 2^levels <= 2^32. The resolution is (t1 - t0) / cells / 2^levels.
        dtype: of W and H.
        device: where they are drawn, without copies from the host. Each kind of device has its own path for a seed.

    Reference: Foster, Lyons, Oberhauser, An optimal polynomial approximation of Brownian motion, SIAM J. Numer. Anal.
    58 (2020), for W and H given those of a larger interval; Kidger, On neural differential equations, PhD thesis,
    Oxford (2021, arXiv 2202.02435), 5.5, for trees of them; Gaines, Lyons, SIAM J. Appl. Math. 57 (1997), for the tree.
    """

    def __init__(
        self,
        seed: int,
        shape: tuple[int, ...],
        t0: float,
        t1: float,
        *,
        cells: int = 1,
        levels: int = 20,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not (math.isfinite(t0) and math.isfinite(t1) and t0 < t1):
            raise InputError(f"t0, t1: got {t0!r}, {t1!r}, allowed: finite numbers, the start before the end")
        if not (cells >= 1 and levels >= 0 and cells << levels <= 1 << _BITS):
            raise InputError(
                f"cells, levels: got {cells!r}, {levels!r}, allowed: cells >= 1, levels >= 0 and cells * 2^levels "
                f"<= 2^{_BITS}; ask for fewer"
            )
        self.seed, self.shape, self.t0, self.t1 = seed, tuple(shape), float(t0), float(t1)
        self.cells, self.levels, self.dtype, self.device = cells, levels, dtype, torch.device(device)
        self._n_units = cells << levels
        self.resolution = (self.t1 - self.t0) / self._n_units
        self._generator = torch.Generator(self.device)
        self._lock = Lock()  # a query changes what is kept
        first = _mixed64(seed)
        self._keys = first, _mixed64(first)
        self._of_whole, self._of_noise = _bridge(self.dtype, self.device)
        self._halves_kept: dict[tuple[int, int], Tensor] = {}
        self._cell_kept: tuple[int, Tensor] | None = None
        self._free: list[Tensor] = []  # memory of halves: fresh one costs more than the arithmetic in it
        self._noise: Tensor | None = None

    def increment(self, t0: float, t1: float) -> Increment:
        """W and H over [t0, t1]; see `BrownianPath.increment`. Raise `InputError` outside the span."""
        start, end = self._unit(t0), self._unit(t1)
        if not 0 <= start <= end <= self._n_units:
            raise InputError(
                f"t0, t1: got {t0!r}, {t1!r}, allowed: times in order within the path's span from {self.t0!r} to "
                f"{self.t1!r}; make a path over the span of the solve"
            )
        # Halves behind the query will not be asked for again, unless a solve is made again from its end.
        with self._lock, torch.no_grad():
            is_full = len(self._halves_kept) > _KEPT
            for at, level in list(self._halves_kept):
                if is_full or at + (1 << level) <= start:
                    self._free.append(self._halves_kept.pop((at, level)))
            return self._joined(self._parts(start, end), start, end)

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(BrownianTree, cells=self.cells, levels=self.levels, dtype=self.dtype, device=self.device)
        return make, (self.seed, self.shape, self.t0, self.t1)

    def step_end(self, t: float, dt: float) -> float:
        """A multiple of a quantum of time, which is the largest power of two times the resolution below dt / 8."""
        units = int(dt / self.resolution)
        finest = max(1, units // _STEP_QUANTA)
        quantum = 1 << min(finest.bit_length() - 1, self.levels)
        return self._time((self._unit(t) + units) // quantum * quantum)

    def apart(self, n: int, t0: float, t1: float) -> "BrownianTree":
        """A tree whose seed is drawn from this one's; see `BrownianPath.apart`."""
        seed = _mixed64(self._keys[0] ^ _mixed64(n + 1))
        return BrownianTree(seed, self.shape, t0, t1, dtype=self.dtype, device=self.device)

    def _unit(self, t: float) -> int:
        return round((t - self.t0) / self.resolution)

    def _time(self, unit: int) -> float:
        return self.t1 if unit == self._n_units else self.t0 + unit * self.resolution

    def _parts(self, start: int, end: int) -> list[tuple[int, int]]:
        """The fewest intervals of the tree that make up [start, end]: where each begins, and its level."""
        found = []
        while start < end:
            aligned = self.levels if start == 0 else min(self.levels, (start & -start).bit_length() - 1)
            level = min(aligned, (end - start).bit_length() - 1)
            found.append((start, level))
            start += 1 << level
        return found

    def _joined(self, parts: list[tuple[int, int]], start: int, end: int) -> Increment:
        """W = sum W_i;  h H = sum (h_i H_i + (h_i/2 + h after i) W_i) - h W/2."""
        if len(parts) == 1 and parts[0][1] == self.levels:
            return Increment(*self._cell(parts[0][0]))  # which nothing is written to any more
        W, H = torch.zeros((2, *self.shape), dtype=self.dtype, device=self.device)
        for at, level in parts:
            own = 1 << level
            w, area = self._values(at, level)
            after = end - at - own
            W.add_(w)
            H.add_(area, alpha=own / (end - start)).add_(w, alpha=(own / 2 + after) / (end - start) - 0.5)
        return Increment(W, H)

    def _values(self, at: int, level: int) -> Tensor:
        """W and H of an interval of the tree: [2, *shape]."""
        if level == self.levels:
            return self._cell(at)
        above = at >> (level + 1) << (level + 1)
        halves = self._halves(above, level + 1)
        return halves[:2] if at == above else halves[2:]

    def _halves(self, at: int, level: int) -> Tensor:
        """W and H of both halves of an interval: [4, *shape]."""
        found = self._halves_kept.get((at, level))
        if found is None:
            whole = self._values(at, level)
            if self._noise is None:
                self._noise = torch.empty_like(whole)
            self._generator.manual_seed(self._seed_of(at + (1 << level >> 1)))
            self._noise.normal_(generator=self._generator)
            found = self._free.pop() if self._free else whole.new_empty(4, *self.shape)
            root = math.sqrt(self.resolution * (1 << level))
            torch.mm(self._of_whole, whole.view(2, -1), out=found.view(4, -1))
            found.view(4, -1).addmm_(self._of_noise, self._noise.view(2, -1), alpha=root)
            self._halves_kept[at, level] = found
        return found

    def _cell(self, at: int) -> Tensor:
        if self._cell_kept is None or self._cell_kept[0] != at:
            h = (self.t1 - self.t0) / self.cells
            values = torch.empty((2, *self.shape), dtype=self.dtype, device=self.device)
            self._generator.manual_seed(self._seed_of(at))
            values[0].normal_(0.0, math.sqrt(h), generator=self._generator)
            values[1].normal_(0.0, math.sqrt(h / 12), generator=self._generator)
            self._cell_kept = at, values
        return self._cell_kept[1]

    def _seed_of(self, number: int) -> int:
        """A seed for a node: two nodes of one path never share one, those of different paths by chance alone.

        A node's number is the middle of its interval, which is that of no other; a cell's is where it begins.
        """
        # Torch's generator on the CPU takes the lower 32 bits alone, so these are a permutation of the numbers.
        first, second = self._keys
        return (first >> 32 << 32) | _mixed32(_mixed32(number ^ (first & _LOW)) ^ (second & _LOW))


@lru_cache
def _bridge(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The weights of (W, H) and of sqrt(h) (X1, X2) in W1, H1, W2, H2: [4, 2] each."""
    skew, spread = 1 / 8, 1 / math.sqrt(48)
    of_whole = [[0.5, 1.5], [0.0, 0.25], [0.5, -1.5], [0.0, 0.25]]
    of_noise = [[0.25, 0.0], [-skew, spread], [-0.25, 0.0], [-skew, -spread]]
    whole, noise = (torch.tensor(each, dtype=dtype, device=device) for each in (of_whole, of_noise))
    return whole, noise


def _mixed32(x: int) -> int:
    """A permutation of 32 bits that leaves no likeness between neighbours: the finalizer of Appleby's MurmurHash3."""
    x = ((x ^ x >> 16) * 0x85EBCA6B) & _LOW
    x = ((x ^ x >> 13) * 0xC2B2AE35) & _LOW
    return x ^ x >> 16


def _mixed64(x: int) -> int:
    """The same of 64 bits, from any integer: a step of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) % 2**64
    return x ^ x >> 31


class ForeignPath(BrownianPath):
    """The path of an object like `torchsde.BrownianInterval`, called as `motion(t0, t1, return_U=True)` for (W, U).

    U = int_s^t W_{s,u} du = h (W/2 + H). A `BrownianInterval` needs `levy_area_approximation="space-time"`, and keeps
    its path for any steps with `halfway_tree=True` alone.

    Args:
        motion: the object.
        seed: of the paths `apart` from it.

    Reference: torchsde, https://github.com/google-research/torchsde; Kidger, PhD thesis (arXiv 2202.02435), 5.5.
    """

    def __init__(self, motion: Any, seed: int = 0) -> None:
        if getattr(motion, "levy_area_approximation", "none") == "none":
            raise InputError(
                f"motion: got {motion!r} without space-time Levy area, allowed: one with it, such as "
                'BrownianInterval(..., levy_area_approximation="space-time")'
            )
        self.motion, self.seed, self.shape = motion, seed, tuple(motion.shape)
        self.dtype, self.device = motion.dtype, torch.device(motion.device)

    def increment(self, t0: float, t1: float) -> Increment:
        """W and H over [t0, t1]; see `BrownianPath.increment`."""
        with torch.no_grad():
            W, U = self.motion(t0, t1, return_U=True)
            return Increment(W, U / (t1 - t0) - W / 2)

    def step_end(self, t: float, dt: float) -> float:
        """t + dt: no time is cheaper than another."""
        return t + dt

    def apart(self, n: int, t0: float, t1: float) -> BrownianTree:
        """A tree of its own seed; see `BrownianPath.apart`."""
        return BrownianTree(_mixed64(self.seed), self.shape, t0, t1, dtype=self.dtype, device=self.device).apart(
            n, t0, t1
        )
