"""Columns of a table by name, from CSV or Parquet: texts, numbers, or times, which may be either."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from ndecore.datasets.numerals import numbers
from ndecore.datasets.opening import opened_text
from ndecore.datasets.parquet import parquet_columns
from ndecore.datasets.series import Array
from ndecore.errors import InputError

Kind: TypeAlias = Literal["text", "number", "time"]
Column: TypeAlias = list[str] | Array


def read_columns(path: str | Path, kinds: Mapping[str, Kind]) -> dict[str, Column]:
    """The named columns of a table: texts as they stand, numbers with NaN for missing ones, times as either.

    Raises:
        InputError: no table of commas with a head or Parquet, a column that is not there, what is no number.
    """
    if Path(path).suffix.lower() in (".parquet", ".pq"):
        columns = parquet_columns(Path(path), kinds)
        _check_names(columns.there, kinds, path)
        return columns.read
    with opened_text(path) as stream:
        try:
            return _csv_columns(enumerate(csv.reader(stream)), kinds, path)
        except csv.Error as error:
            raise InputError(f"{path}: is no table of commas ({error})") from None


def _check_names(there: Sequence[str], wanted: Iterable[str], path: str | Path) -> None:
    lacking = [name for name in wanted if there.count(name) != 1]
    if lacking:
        raise InputError(
            f"{path}: needs one column {lacking[0]!r}, got: {', '.join(there)[:100]!r}; name the columns as they are"
        )


def _csv_columns(
    rows: Iterator[tuple[int, list[str]]], kinds: Mapping[str, Kind], path: str | Path
) -> dict[str, Column]:
    head = [name.strip() for name in next(rows, (0, list[str]()))[1]]
    _check_names(head, kinds, path)
    where = {name: head.index(name) for name in kinds}
    texts: dict[str, list[str]] = {name: [] for name in kinds}
    for i, row in rows:
        if row and len(row) != len(head):
            raise InputError(f"{path}, row {i}: got {len(row)} fields, allowed: {len(head)}, as in its head")
        for name, column in where.items() if row else ():
            texts[name].append(row[column])
    try:
        return {name: numbers(texts[name]) if kind == "number" else texts[name] for name, kind in kinds.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
