"""IDX files: every type and shape comes back as written, and what is no such file is refused in one line."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from damaged_files import read_all

from ndecore.datasets.idx import read_idx
from ndecore.errors import InputError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    kind = array.dtype.str[1:]
    head = struct.pack(">BBBB", 0, 0, CODES[kind], array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (0, 2)])
def test_what_was_written_is_read(kind: str, shape: tuple[int, ...], packed: bool, tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(-100, 100, shape).astype(kind)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    found = read_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


GOOD = idx(IMAGES)
WRONG = {
    "empty": (b"", "is no IDX file: begins with nothing"),
    "png": (b"\x89PNG\r\n\x1a\n" * 9, "is no IDX file: begins with 89 50 4e 47"),
    "type": (b"\0\0\x07\x01" + GOOD[4:], "is no IDX file"),
    "no axes": (b"\0\0\x08\x00" + GOOD[4:], "is no IDX file"),
    "header cut": (GOOD[:9], "ends within its header"),
    "data cut": (GOOD[:-1], "asks for 140 bytes, the file has 139; it is truncated"),
    "data too long": (GOOD + b"\0", "asks for 140 bytes, the file has more"),
    "overflow": (b"\0\0\x0e\x08" + b"\xff" * 32, "its header asks for"),
    "4 GiB": (b"\0\0\x08\x01\xff\xff\xff\xff" + b"\0" * 9, "asks for 4,294,967,295 bytes, allowed: 1,073,741,824"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_file_takes_one_line(kind: str, packed: bool, tmp_path: Path) -> None:
    data, message = WRONG[kind]
    path = tmp_path / "images.idx"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [1, 4, 8, 20, -1, -5])
def test_cut_gzip_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "images.idx.gz"
    path.write_bytes(gzip.compress(GOOD)[:cut])
    with pytest.raises(InputError, match=r"images\.idx\.gz"):
        read_idx(path)


def test_a_gzip_file_that_expands_without_end_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """100 MB of zeros in 100 kB: the header fits them."""
    size = 100 * 2**20
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(b"\0\0\x08\x01" + struct.pack(">I", size))
        for _ in range(size // 2**20):
            stream.write(bytes(2**20))
    with pytest.raises(InputError, match=r"bomb\.gz: holds more than 16,777,216 bytes"):
        read_idx(path)


def test_a_folder_or_nothing_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="no such file"):
            read_idx(path)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_damaged_files_are_read_or_refused(packed: bool, tmp_path: Path) -> None:
    good = gzip.compress(GOOD, mtime=0) if packed else GOOD
    assert read_all(read_idx, tmp_path / "images", good) > 70
