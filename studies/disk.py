"""What a study takes of the disk."""

import os
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 512  # bytes, of which `stat` counts
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def study_bytes(folder: Path) -> int:
    """Bytes of the disk that a study takes: its folder, and its files in the MLflow store beside it."""
    return sum(_bytes(folder)) + sum(_bytes(folder.parent / "artifacts" / folder.name))


def _bytes(folder: Path) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                if entry.is_dir(follow_symlinks=False):
                    yield from _bytes(Path(entry.path))
    except OSError:
        return  # moved or removed meanwhile, as a running study does, or another user's


def bytes_text(n_bytes: float) -> str:
    """Bytes as a person reads them: 1.5 MiB."""
    unit = 0
    while n_bytes >= 1024 and unit < len(_UNITS) - 1:
        n_bytes, unit = n_bytes / 1024, unit + 1
    return f"{n_bytes:.1f} {_UNITS[unit]}" if unit else f"{n_bytes:.0f} B"
