"""IDX, the format of MNIST: a few bytes of header, then one array."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ndecore.datasets.opening import LARGEST, opened, read_most
from ndecore.errors import InputError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> npt.NDArray[Any]:
    """The array of an IDX file, gzip or not, of the type that the file names.

    Two bytes of zero, one for the type, one for the number d of axes, d sizes as big-endian uint32, and the numbers,
    big-endian, last axis fastest.

    Raises:
        InputError: another format, sizes that do not fit the file, a truncated or damaged file, more than 1 GiB.

    Reference: LeCun, Cortes, Burges, The MNIST database of handwritten digits (1998), "File formats".
    """
    with opened(path) as stream:
        dtype, shape = _header(stream, path)
        size = math.prod(shape) * dtype.itemsize
        if size > LARGEST:
            raise InputError(f"{path}: its header asks for {size:,} bytes, allowed: {LARGEST:,}; is it the right file?")
        data = read_most(stream, size + 1)  # one more: nothing may follow; and at its end gzip checks its sum
    if len(data) != size:
        found = "more" if len(data) > size else f"{len(data):,}"
        raise InputError(
            f"{path}: its header {shape} asks for {size:,} bytes, the file has {found}; it is truncated or damaged: "
            "get it again"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _header(stream: io.BufferedReader, path: str | Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 8:
        raise InputError(
            f"{path}: is no IDX file: begins with {magic.hex(' ') or 'nothing'}, allowed: 00 00, a type of "
            f"{', '.join(f'{each:02x}' for each in _TYPES)}, and 01 to 08 axes"
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise InputError(f"{path}: ends within its header; it is truncated: get it again")
    return np.dtype(_TYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())
