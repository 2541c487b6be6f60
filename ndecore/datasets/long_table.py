"""Irregular series in long form: one observation a row, with its series, time, channel and value."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ndecore.datasets.columns import Column, Kind, read_columns
from ndecore.datasets.numerals import instants
from ndecore.datasets.opening import check_cells
from ndecore.datasets.series import Array, IrregularSeries, Observed, labelled, on_grid, padded
from ndecore.errors import InputError

_Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LongColumns:
    """The names of a long table's columns; None where there is no such column.

    Attributes:
        series: which series a row belongs to.
        time: numbers, or dates (ISO 8601).
        channel: without it there is one channel, with the name of the value's column.
        value: a number; empty, ? or NaN where nothing was observed.
        label: class of the series, the same in all its rows.
        target: number of the series, the same in all its rows; a table has a label or a target.
    """

    series: str = "series"
    time: str = "time"
    channel: str | None = "channel"
    value: str = "value"
    label: str | None = None
    target: str | None = None

    def kinds(self) -> dict[str, Kind]:
        """The columns to read, and as what."""
        kinds: dict[str, Kind] = {"time": "time", "value": "number", "target": "number"}
        names = [(getattr(self, each.name), kinds.get(each.name, "text")) for each in fields(self)]
        return {name: kind for name, kind in names if name is not None}


@dataclass(frozen=True)
class _Rows:
    """A table's rows, sorted by series and time, each series in the order of its first row."""

    series: _Codes
    names: tuple[str, ...]
    times: Array
    channels: _Codes
    channel_names: tuple[str, ...]
    values: Array


def read_long(path: str | Path, columns: LongColumns | None = None) -> IrregularSeries:
    """The series of a CSV (gzip or not, with a head) or Parquet file (.parquet, .pq) in long form.

    Series are in the order of their first rows, channels and classes in that of their names. Rows may be in any
    order. Dates become seconds since the series' own first; numbers stay as they are.

    Args:
        path: of the file.
        columns: their names; series, time, channel and value if None.

    Raises:
        InputError: a damaged or foreign file; a column that is not there; two rows of one series, time and channel; a
            label or target that changes within a series; too large.
    """
    columns = columns or LongColumns()
    if columns.label is not None and columns.target is not None:
        raise InputError("a table has a label or a target: got both; give one of them")
    read = read_columns(path, columns.kinds())
    try:
        rows = _rows(read, columns)
        series = padded(_cut(rows), rows.channel_names, "the table", rows.names)
        return _with_targets(series, read, columns, rows)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _rows(read: dict[str, Column], columns: LongColumns) -> _Rows:
    series, names = _codes(read[columns.series], "series", first_met=True)
    time = read[columns.time]
    times, dated = instants(time) if isinstance(time, list) else (time, False)
    values = np.asarray(read[columns.value], dtype=np.float64)
    if np.isnan(times).any() or np.isinf(times).any() or np.isinf(values).any():
        raise InputError("got a time that is missing or a number that is not finite; correct the row")
    channel = [columns.value] * len(series) if columns.channel is None else read[columns.channel]
    channels, channel_names = _codes(channel, "channel")
    if dated:
        times = times - _first(series, times, len(names))[series]
    order = np.lexsort((channels, times, series))
    rows = _Rows(series[order], names, times[order], channels[order], channel_names, values[order])
    _check_once(rows)
    return rows


def _codes(column: Column, what: str, first_met: bool = False) -> tuple[_Codes, tuple[str, ...]]:
    """Each text as the index of its name; names sorted, or in the order in which they are met."""
    names = dict.fromkeys(str(text).strip() for text in column)
    if "" in names:
        raise InputError(f"got a row without its {what}; fill it in, or remove the row")
    ordered = tuple(names) if first_met else tuple(sorted(names))
    index = {name: i for i, name in enumerate(ordered)}
    return np.array([index[str(text).strip()] for text in column], dtype=np.int64), ordered


def _first(series: _Codes, times: Array, n: int) -> Array:
    """Each series' first time."""
    found = np.full(n, np.inf)
    np.minimum.at(found, series, times)
    return found


def _check_once(rows: _Rows) -> None:
    same = (np.diff(rows.series) == 0) & (np.diff(rows.times) == 0) & (np.diff(rows.channels) == 0)
    if same.any():
        i = int(np.flatnonzero(same)[0])
        raise InputError(
            f"series {rows.names[rows.series[i]][:30]!r} has channel {rows.channel_names[rows.channels[i]][:30]!r} "
            f"twice at time {rows.times[i]:g}; keep one row, or their mean"
        )


def _cut(rows: _Rows) -> list[Observed]:
    """One grid per series."""
    n_times = np.count_nonzero((np.diff(rows.series, prepend=-1) != 0) | (np.diff(rows.times, prepend=np.nan) != 0))
    n_channels = len(rows.channel_names)
    check_cells(int(n_times) * n_channels, "the table")
    starts = np.flatnonzero(np.diff(rows.series)) + 1
    parts = zip(*(np.split(each, starts) for each in (rows.times, rows.channels, rows.values)), strict=True)
    return [on_grid(times, channels, values, n_channels) for times, channels, values in parts if len(times)]


def _with_targets(
    series: IrregularSeries, read: dict[str, Column], columns: LongColumns, rows: _Rows
) -> IrregularSeries:
    name = columns.label or columns.target
    if name is None:
        return series
    codes, _ = _codes(read[columns.series], "series", first_met=True)
    per_series = _constant(codes, [str(each).strip() for each in read[name]], rows.names, name)
    if columns.target is not None:
        numbers = np.array(per_series, dtype=np.float64)
        if not np.all(np.abs(numbers) <= np.finfo(np.float32).max):
            raise InputError(f"{name}: got a target that is missing or beyond float32; each series needs one")
        return replace(series, targets=torch.tensor(numbers, dtype=torch.float32))
    if "" in per_series:
        raise InputError(
            f"{name}: series {rows.names[per_series.index('')][:30]!r} has no label; each series needs one"
        )
    classes = tuple(sorted(set(per_series)))
    return replace(series, targets=labelled(per_series, classes), classes=classes)


def _constant(series: _Codes, column: Sequence[str], names: tuple[str, ...], what: str) -> list[str]:
    """What a column says of each series, which is the same in all its rows."""
    found: dict[int, str] = {}
    for code, text in zip(series.tolist(), column, strict=True):
        if found.setdefault(code, text) != text:
            raise InputError(
                f"{what}: series {names[code][:30]!r} has {found[code][:30]!r} and {text[:30]!r}, allowed: one of them"
            )
    return [found[code] for code in range(len(names))]
