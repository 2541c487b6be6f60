"""Series of unequal lengths, observed at times of their own and not always in every channel: padded, with a mask."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from ndecore.datasets.opening import check_cells
from ndecore.errors import InputError

Array: TypeAlias = npt.NDArray[np.float64]
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class IrregularSeries:
    """`n` series as rectangular arrays. No entry is NaN: `mask` and `lengths` say what was observed.

    Attributes:
        values: in the file's units; 0 where `mask` is False.
        times: strictly increasing up to a series' length; after it the last time again.
        mask: where a value was observed.
        lengths: times of each series, at least 1.
        targets: class of each series [n], int64 and an index of `classes`; or a number [n], float32; or None.
        static: what does not change with time, one row per series; 0 where `static_mask` is False; or None.
        channels: names, of the last axis of `values`.
        classes: names of the classes; none where targets are numbers.
        names: one per series.
        static_channels: names, of the last axis of `static`.
    """

    values: Float32[Tensor, "n times channels"]
    times: Float32[Tensor, "n times"]
    mask: Bool[Tensor, "n times channels"]
    lengths: Int64[Tensor, " n"]
    targets: Int64[Tensor, " n"] | Float32[Tensor, " n"] | None = None
    static: Float32[Tensor, "n static"] | None = None
    static_mask: Bool[Tensor, "n static"] | None = None
    channels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    static_channels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, series along the first axis of each; those that are None are left out."""
        names = ("values", "times", "mask", "lengths", "targets", "static", "static_mask")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def take(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> "IrregularSeries":
        """Some of the series, in that order, padded as before."""
        where = torch.as_tensor(indices, dtype=torch.int64)
        parts: dict[str, Any] = {name: tensor[where] for name, tensor in self.tensors().items()}
        return replace(self, **parts, names=tuple(self.names[i] for i in where.tolist()) if self.names else ())


@dataclass(frozen=True)
class Observed:
    """One series as it was read: times [times], values [times, channels] with NaN where nothing was observed."""

    times: Array
    values: Array


def on_grid(times: Array, channels: npt.NDArray[np.int64], values: Array, n_channels: int) -> Observed:
    """Observations (time, channel, value) of one series as a grid of its distinct times; of doubles the last holds.

    Its size is the caller's to check.
    """
    grid, rows = np.unique(times, return_inverse=True)
    cells = np.full((len(grid), n_channels), np.nan)
    cells[rows, channels] = values
    return Observed(grid, cells)


def padded(
    series: Sequence[Observed],
    channels: Sequence[str],
    where: object,
    names: Sequence[str] = (),
) -> IrregularSeries:
    """Series as read, padded to the longest, without targets.

    Args:
        series: at least one; each with a row per time and a column per channel.
        channels: their names.
        where: the file, for messages.
        names: of the series; their numbers if empty.

    Raises:
        InputError: no series; too large; a number beyond float32; times that do not increase, or not in float32.
    """
    if not series or not channels:
        raise InputError(f"{where}: holds no series; give a file with at least one observation")
    names = tuple(names) or tuple(map(str, range(len(series))))
    width = max(len(each.times) for each in series)
    check_cells(len(series) * width * len(channels), where)
    values = np.zeros((len(series), width, len(channels)), dtype=np.float32)
    mask = np.zeros(values.shape, dtype=bool)
    times = np.zeros(values.shape[:2], dtype=np.float32)
    for i, each in enumerate(series):
        n = len(each.times)
        seen = ~np.isnan(each.values)
        if np.any(np.abs(each.values[seen]) > _LARGEST_FLOAT):
            raise InputError(f"{where}: series {names[i]!r} has a value beyond float32 (3.4e38); correct or scale it")
        mask[i, :n] = seen
        values[i, :n][seen] = each.values[seen]
        times[i, :n] = _single(each.times, f"{where}: series {names[i]!r}")
        times[i, n:] = times[i, n - 1]
    lengths = torch.tensor([len(each.times) for each in series])
    tensors = (torch.from_numpy(values), torch.from_numpy(times), torch.from_numpy(mask), lengths)
    return IrregularSeries(*tensors, channels=tuple(channels), names=names)


def _single(times: Array, where: str) -> npt.NDArray[np.float32]:
    """Times in float32, strictly increasing."""
    if not np.all(np.abs(times) <= _LARGEST_FLOAT):
        raise InputError(f"{where} has a time that is no number of float32; correct it")
    single = times.astype(np.float32)
    if np.any(np.diff(times) <= 0):
        raise InputError(f"{where} has times that do not increase; sort them, one row per time")
    if np.any(np.diff(single) <= 0):
        raise InputError(
            f"{where} has times that float32 cannot tell apart; subtract the first time or change the unit"
        )
    return single


def labelled(labels: Sequence[str], classes: Sequence[str]) -> Int64[Tensor, " n"]:
    """The classes of series as indices of `classes`, all of which are there."""
    index = {name: i for i, name in enumerate(classes)}
    return torch.tensor([index[label] for label in labels], dtype=torch.int64)


def concatenated(parts: Sequence[IrregularSeries]) -> IrregularSeries:
    """The series of several files as one, padded to the longest of all.

    Raises:
        InputError: the parts have other channels or classes, or only some have targets or static features.
    """
    for one, other in pairwise(parts):
        for what in ("channels", "classes", "static_channels"):
            if getattr(one, what) != getattr(other, what):
                raise InputError(f"{what} of the parts differ: {getattr(one, what)} and {getattr(other, what)}")
        if one.tensors().keys() != other.tensors().keys():
            raise InputError("only some of the parts have targets or static features; give all or none")
    width = max(part.times.shape[1] for part in parts)
    check_cells(sum(map(len, parts)) * width * parts[0].values.shape[2], "the parts together")
    wide = [_widened(part, width).tensors() for part in parts]
    tensors: dict[str, Any] = {name: torch.cat([each[name] for each in wide]) for name in wide[0]}
    return replace(parts[0], **tensors, names=tuple(name for part in parts for name in part.names))


def _widened(series: IrregularSeries, width: int) -> IrregularSeries:
    more = width - series.times.shape[1]
    return replace(
        series,
        values=torch.nn.functional.pad(series.values, (0, 0, 0, more)),
        mask=torch.nn.functional.pad(series.mask, (0, 0, 0, more)),
        times=torch.cat((series.times, series.times[:, -1:].expand(-1, more)), dim=1),
    )
