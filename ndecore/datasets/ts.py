"""`.ts`, the format of the UEA and UCR archives of time series."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ndecore.datasets.numerals import instants, number, numbers
from ndecore.datasets.opening import check_cells, opened_text
from ndecore.datasets.series import IrregularSeries, Observed, labelled, on_grid, padded
from ndecore.errors import InputError

_SWITCHES = {"true": True, "false": False}
_STAMPED_END = re.compile(r"\)\s*:")  # a date has colons too
_BETWEEN_PAIRS = re.compile(r"\)\s*,\s*\(")


@dataclass(frozen=True)
class _Header:
    """What the lines before @data say."""

    has_times: bool = False
    n_channels: int | None = None
    length: int | None = None
    classes: tuple[str, ...] = ()
    has_number: bool = False

    @property
    def has_target(self) -> bool:
        return bool(self.classes) or self.has_number


def read_ts(path: str | Path) -> IrregularSeries:
    """The series of a `.ts` file, gzip or not: unequal lengths, missing values, time stamps, classes or numbers.

    Times are 0, 1, 2, ... where the file has no time stamps; numbers as they stand; dates in seconds since the
    series' own first. Channels with time stamps of their own share the union of them. Times at the end of a series
    at which nothing was observed are padding, and dropped. Classes are in the order of the header.

    Raises:
        InputError: another format, a line that does not fit the header or the other lines, a damaged file, too large.

    Reference: aeon, ".ts file format"; Bagnall et al., The UEA multivariate time series classification archive, 2018.
    """
    with opened_text(path) as stream:
        lines = enumerate(stream, start=1)
        header = _header(lines, path)
        found: list[Observed] = []
        targets: list[str] = []
        for i, line in lines:
            if line.strip() and not line.startswith(("#", "%")):
                try:
                    case, target = _case(line.strip(), header)
                    if found and case.values.shape[1] != found[0].values.shape[1]:
                        raise InputError(f"got {case.values.shape[1]} channels, earlier {found[0].values.shape[1]}")
                except InputError as error:
                    raise InputError(f"{path}, line {i}: {error}") from None
                found.append(case)
                targets.append(target)
    n_channels = found[0].values.shape[1] if found else 0
    series = padded(found, [str(channel) for channel in range(n_channels)], path)
    return _with_targets(series, targets, header)


def _with_targets(series: IrregularSeries, targets: list[str], header: _Header) -> IrregularSeries:
    if header.has_number:
        return replace(series, targets=torch.tensor([float(target) for target in targets], dtype=torch.float32))
    if header.classes:
        return replace(series, targets=labelled(targets, header.classes), classes=header.classes)
    return series


def _header(lines: Iterable[tuple[int, str]], path: str | Path) -> _Header:
    header = _Header()
    for i, line in lines:
        words = line.split()
        if not words or words[0].startswith(("#", "%")):
            continue
        if not words[0].startswith("@"):
            raise InputError(f"{path}, line {i}: is no .ts file: got {line[:30]!r} before @data")
        if words[0].lower() == "@data":
            return header
        try:
            header = _extended(header, words[0][1:].lower(), words[1:])
        except InputError as error:
            raise InputError(f"{path}, line {i}: {words[0]}: {error}") from None
    raise InputError(f"{path}: is no .ts file, or a truncated one: it has no line @data")


def _extended(header: _Header, key: str, words: list[str]) -> _Header:
    """The header with one line more; lines that say nothing about how to read are left alone."""
    if key == "timestamps":
        return replace(header, has_times=_switch(words))
    if key in ("univariate", "equallength"):
        return replace(header, n_channels=1) if key == "univariate" and _switch(words) else header
    if key in ("dimension", "dimensions"):
        return replace(header, n_channels=_count(words))
    if key == "serieslength":
        return replace(header, length=_count(words))
    if key == "targetlabel":
        return replace(header, has_number=_switch(words))
    if key == "classlabel" and _switch(words):
        classes = tuple(words[1:])
        if not classes or len({name.lower() for name in classes}) < len(classes):
            raise InputError(f"got {' '.join(classes)[:60]!r}, allowed: true and the name of each class, once")
        return replace(header, classes=classes)
    return header


def _switch(words: list[str]) -> bool:
    if not words or words[0].lower() not in _SWITCHES:
        raise InputError(f"got {' '.join(words)[:30]!r}, allowed: true or false")
    return _SWITCHES[words[0].lower()]


def _count(words: list[str]) -> int:
    if not words or not words[0].isascii() or not words[0].isdigit() or not 0 < len(words[0]) < 10:
        raise InputError(f"got {' '.join(words)[:30]!r}, allowed: a whole number")
    return int(words[0])


def _case(line: str, header: _Header) -> tuple[Observed, str]:
    """One line of data: the series, and its target or nothing."""
    *channels, last = _STAMPED_END.split(line) if header.has_times else line.split(":")
    if header.has_target:
        target = _target(last.strip(), header)
    else:
        channels.append(last)
        target = ""
    if not channels or header.n_channels not in (None, len(channels)):
        raise InputError(f"got {len(channels)} channels, the header says {header.n_channels or 'at least 1'}")
    case = _stamped(channels) if header.has_times else _plain(channels)
    if header.length is not None and len(case.times) != header.length:
        raise InputError(f"got {len(case.times)} times, the header says {header.length}")
    seen = np.flatnonzero(~np.isnan(case.values).all(axis=1))
    n = seen[-1] + 1 if len(seen) else 1
    return Observed(case.times[:n], case.values[:n]), target


def _target(text: str, header: _Header) -> str:
    """The target as the header spells it."""
    if header.has_number:
        if not abs(number(text)) <= float(np.finfo(np.float32).max):
            raise InputError(f"got {text[:30]!r} as the target, allowed: a number of float32")
        return text
    spelt = {name.lower(): name for name in header.classes}
    if text.lower() not in spelt:
        raise InputError(f"got the class {text[:30]!r}, the header says {', '.join(header.classes)[:60]}")
    return spelt[text.lower()]


def _plain(channels: list[str]) -> Observed:
    columns = [numbers(channel.split(",")) for channel in channels]
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise InputError(f"got channels of {min(lengths)} to {max(lengths)} values, allowed: as many in each channel")
    return Observed(np.arange(len(columns[0]), dtype=np.float64), np.stack(columns, axis=1))


def _stamped(channels: list[str]) -> Observed:
    """Channels of (time,value) pairs, each with times of its own."""
    times: list[str] = []
    values: list[str] = []
    which: list[int] = []
    for i, channel in enumerate(channels):
        for pair in _BETWEEN_PAIRS.split(channel.strip().removeprefix("(").removesuffix(")")):
            time, comma, value = pair.rpartition(",")
            if not comma:
                raise InputError(f"got {pair[:30]!r}, allowed: (time,value)")
            times.append(time)
            values.append(value)
            which.append(i)
    instant, dated = instants(times)
    check_cells(len(np.unique(instant)) * len(channels), "the series")
    return on_grid(instant - instant.min() if dated else instant, np.array(which), numbers(values), len(channels))
