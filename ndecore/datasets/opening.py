"""Files that may be anything: gzip or not, truncated, foreign, or made to expand without end."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ndecore.errors import InputError

LARGEST = 2**30  # bytes, of a file's content and of a data set in memory
_DENSEST = 100  # bytes out of one byte of gzip; text and images of real data stay below 20
_SMALL = 2**24  # bytes up to which any density will do: series of zeros
_PIECE = 2**20
_GZIP = b"\x1f\x8b"


@contextmanager
def opened(path: str | Path, limit: int = LARGEST) -> Iterator[io.BufferedReader]:
    """A file's content as a stream of bytes, unpacked if the file begins as gzip does (its name does not matter).

    Args:
        path: of a regular file.
        limit: of the content, in bytes.

    Raises:
        InputError: here or while the stream is read: no regular file, damaged gzip, more content than `limit`, or than
            100 times what lies on the disk.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            allowed = min(limit, max(_SMALL, _DENSEST * path.stat().st_size)) if packed else limit
            source = gzip.GzipFile(fileobj=raw) if packed else raw
            yield io.BufferedReader(_Bounded(source, allowed, path))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); it may be truncated or damaged: get it again") from error


def read_most(stream: io.BufferedReader, most: int) -> bytearray:
    """Up to so many bytes. In pieces: a stream that is asked for a gigabyte takes that much memory before it looks."""
    data = bytearray()
    while piece := stream.read(min(_PIECE, most - len(data))):
        data += piece
    return data


@contextmanager
def opened_text(path: str | Path, limit: int = LARGEST) -> Iterator[io.TextIOWrapper]:
    """The same as UTF-8 text, with or without a byte order mark. Bytes that are no UTF-8 become U+FFFD."""
    with opened(path, limit) as stream:
        yield io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline=None)


class _Bounded(io.RawIOBase):
    """A stream that complains when more than so many bytes have come out of it."""

    def __init__(self, source: io.BufferedReader | gzip.GzipFile, limit: int, path: Path) -> None:
        self._source = source
        self._limit = self._left = limit
        self._path = path

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill the buffer; raise `InputError` past the limit."""
        n = self._source.readinto(buffer)
        self._left -= n
        if self._left < 0:
            raise InputError(
                f"{self._path}: holds more than {self._limit:,} bytes, which is more than is read; split it"
            )
        return n


def check_cells(n: int, where: object) -> None:
    """Refuse an array of so many float32 numbers and their mask, before it is made."""
    if 5 * n > LARGEST:
        raise InputError(
            f"{where}: padded to one length, the series take {5 * n:,} bytes, allowed: {LARGEST:,}; "
            "read fewer series or channels, or cut the longest"
        )
