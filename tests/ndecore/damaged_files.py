"""Damaged copies of a good file, and what a reader may do with them: refuse in one line, or read what is allowed."""

import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ndecore.datasets.series import IrregularSeries
from ndecore.errors import InputError

MOST_MIB = 64


def damaged(good: bytes, n: int, seed: int = 0) -> Iterator[bytes]:
    """Truncations, flipped bits, bytes and runs of bytes exchanged, removed or repeated."""
    draw = random.Random(seed)
    for _ in range(n):
        data = bytearray(good)
        for _ in range(draw.choice((1, 1, 2, 8))):
            i = draw.randrange(len(data)) if data else 0
            j = min(len(data), i + draw.choice((1, 2, 4, 64)))
            kind = draw.randrange(6)
            if kind == 0:
                del data[i:]
            elif kind == 1:
                data[i:j] = bytes(draw.randrange(256) for _ in range(j - i))
            elif kind == 2:
                data[i:j] = bytes(byte ^ (1 << draw.randrange(8)) for byte in data[i:j])
            elif kind == 3:
                del data[i:j]
            elif kind == 4:
                data[i:i] = data[i:j] * draw.choice((1, 3, 100))
            else:
                data[i:j] = draw.choice((b"\0", b"\xff" * 4, b"nan", b"1e999", b"-", b",", b":", b"\n", b"99999999"))
        yield bytes(data)


def read_all(read: Callable[[Path], Any], path: Path, good: bytes, n: int = 200) -> int:
    """Read `n` damaged copies of a good file; check each outcome; return how many were refused."""
    refused = 0
    tracemalloc.start()
    try:
        for data in damaged(good, n):
            path.write_bytes(data)
            found = outcome(read, path)
            if isinstance(found, InputError):
                refused += 1
                check_message(str(found), path)
            elif isinstance(found, IrregularSeries):
                check_series(found)
        assert tracemalloc.get_traced_memory()[1] < MOST_MIB * 2**20
    finally:
        tracemalloc.stop()
    return refused


def outcome(read: Callable[[Path], Any], path: Path) -> Any:
    """What was read, or the one kind of error that is allowed."""
    try:
        return read(path)
    except InputError as error:
        return error


def check_message(message: str, path: Path) -> None:
    """One line of readable length that names the file, or the record that it holds."""
    assert "\n" not in message
    assert path.name.partition(".")[0] in message
    assert len(message) < 2 * len(str(path)) + 400


def check_series(series: IrregularSeries) -> None:
    """What every reader promises."""
    n, width, _ = series.values.shape
    assert n == len(series) == len(series.lengths) == len(series.names) > 0
    assert series.values.isfinite().all()
    assert series.times.isfinite().all()
    assert (series.values[~series.mask] == 0).all()
    assert series.lengths.min() >= 1
    assert series.lengths.max() == width
    within = torch.arange(width) < series.lengths[:, None]
    assert not series.mask[~within].any()
    steps = series.times.diff(dim=1)
    assert (steps[within[:, 1:]] > 0).all()
    assert (steps[~within[:, 1:]] == 0).all()
    if series.targets is not None:
        assert series.targets.isfinite().all()
