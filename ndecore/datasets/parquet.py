"""Columns of a Parquet file, read in a process of its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ndecore.errors import InputError

_WORKER = Path(__file__).parent / "parquet_worker.py"
_WRONG, _NO_PYARROW = 3, 4  # exit codes of the worker
_PATIENCE_S = 600


@dataclass(frozen=True)
class ParquetColumns:
    """The names of all columns of a file; and those that were asked for, if each is there once."""

    there: list[str]
    read: dict[str, list[str] | npt.NDArray[np.float64]]


def parquet_columns(path: Path, kinds: Mapping[str, Literal["text", "number", "time"]]) -> ParquetColumns:
    """The named columns of a Parquet file; see `ndecore.datasets.columns.read_columns`.

    Raises:
        InputError: pyarrow is not installed; no Parquet file, or a damaged one; too large; a column of another kind.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    with tempfile.TemporaryDirectory(prefix="nde-parquet-") as folder:
        result = Path(folder) / "columns.npz"
        command = [sys.executable, "-P", str(_WORKER), str(path.resolve()), json.dumps(dict(kinds)), str(result)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False)
        except subprocess.TimeoutExpired:
            raise InputError(f"{path}: takes more than {_PATIENCE_S} s to read; split it") from None
        if done.returncode != 0:
            raise InputError(f"{path}: {_reason(done)}")
        there: list[str] = json.loads(done.stdout)
        if not result.exists():
            return ParquetColumns(there, {})
        with np.load(result, allow_pickle=False) as arrays:
            return ParquetColumns(there, {name: _column(dict(arrays), str(i)) for i, name in enumerate(kinds)})


def _reason(done: "subprocess.CompletedProcess[bytes]") -> str:
    if done.returncode == _NO_PYARROW:
        return "reading Parquet needs pyarrow; pip install pyarrow, or give a CSV file"
    if done.returncode == _WRONG:
        return done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"pyarrow ends at it (exit code {done.returncode}); it is damaged: get it again, or give a CSV file"


def _column(arrays: Mapping[str, npt.NDArray[Any]], key: str) -> list[str] | npt.NDArray[np.float64]:
    if key in arrays:
        return arrays[key].astype(np.float64)
    ends = arrays[f"{key}.ends"].tolist()
    joined = arrays[f"{key}.texts"].tobytes()
    texts = [joined[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
    return [texts[code] for code in arrays[f"{key}.codes"].tolist()]
