"""A process of its own that reads a Parquet file: pyarrow ends its whole process at some damaged ones.

    python -P parquet_worker.py FILE KINDS RESULT

KINDS is JSON: column -> text, number or time. Standard output is the names of the file's columns, as JSON. RESULT is an
.npz file: of the column asked for as number i the array "i" (numbers), or "i.codes", "i.texts" and "i.ends" (each text
once, in UTF-8). What is wrong with the file is one line on standard error, with exit code 3.
"""

import json
import resource
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

WRONG, NO_PYARROW = 3, 4
_MOST_MEMORY = 2**33  # bytes of address space, of which pyarrow reserves more than it uses
_MOST_BYTES = 2**30  # unpacked
_MOST_ROWS = _MOST_BYTES // 32  # a row is some text and two numbers
_MOST_STRUCTURE = 2**22  # bytes and entries of a file's own description of itself

try:
    import pyarrow as pa
    from pyarrow import parquet as pq
except ImportError:
    sys.exit(NO_PYARROW)


class _Refused(Exception):
    """The file is not to be read."""


def main(path: str, kinds: dict[str, str], result: str) -> None:
    """Read, and write the result."""
    limits = {"thrift_string_size_limit": _MOST_STRUCTURE, "thrift_container_size_limit": _MOST_STRUCTURE}
    with pq.ParquetFile(path, page_checksum_verification=True, **limits) as file:
        there = file.schema_arrow.names
        print(json.dumps(there), flush=True)
        if any(there.count(name) != 1 for name in kinds):
            return
        _check(file.metadata)
        table = file.read(columns=list(kinds), use_threads=False)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for i, (name, kind) in enumerate(kinds.items()):
        arrays |= _arrays(str(i), table[name], kind)
    with open(result, "wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _check(data: Any) -> None:
    """Refuse what is too large before it is unpacked."""
    groups = [data.row_group(i) for i in range(data.num_row_groups)]
    n_rows = max(data.num_rows, sum(group.num_rows for group in groups))
    n_bytes = sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))
    if not 0 <= n_rows <= _MOST_ROWS or not 0 <= n_bytes <= _MOST_BYTES:
        raise _Refused(
            f"says that it holds {n_rows:,} rows of {n_bytes:,} bytes, allowed: {_MOST_ROWS:,} and {_MOST_BYTES:,}"
        )


def _arrays(key: str, column: Any, kind: str) -> dict[str, npt.NDArray[Any]]:
    is_date = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    if kind == "number" or (kind == "time" and not is_date and not pa.types.is_string(column.type)):
        return {key: column.cast(pa.float64()).to_numpy(zero_copy_only=False)}
    if is_date:
        column = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)))
    coded = column.cast(pa.string()).fill_null("").dictionary_encode().combine_chunks()
    texts = [text.encode() for text in coded.dictionary.to_pylist()]
    return {
        f"{key}.codes": coded.indices.to_numpy(zero_copy_only=False),
        f"{key}.texts": np.frombuffer(b"".join(texts), dtype=np.uint8),
        f"{key}.ends": np.cumsum([len(text) for text in texts], dtype=np.int64),
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    try:
        main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
    except _Refused as error:
        sys.exit(print(error, file=sys.stderr) or WRONG)
    except (pa.ArrowException, OSError, MemoryError, UnicodeError, OverflowError) as error:
        first = str(error).partition("\n")[0][:200]
        sys.exit(print(f"cannot be read as Parquet ({first}); it may be damaged or foreign", file=sys.stderr) or WRONG)
