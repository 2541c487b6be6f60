"""Long tables: the same series from CSV and Parquet, whatever the order of rows; and what is no such table."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_files import check_series, read_all
from hypothesis import given
from hypothesis import strategies as st

from ndecore.datasets import parquet as parquet_door
from ndecore.datasets.long_table import LongColumns, read_long
from ndecore.datasets.series import IrregularSeries
from ndecore.errors import InputError

CSV = """series,time,channel,value,outcome
b,2.5,heart,60,7.5
b,0.5,heart,61,7.5
b,0.5,breath,,7.5
a,10,breath,12,-1
a,11,heart,NaN,-1
"""
TARGET = LongColumns(target="outcome")


def read(text: str, folder: Path, columns: LongColumns | None = None) -> IrregularSeries:
    path = folder / "table.csv"
    path.write_text(text)
    series = read_long(path, columns)
    check_series(series)
    return series


def parquet(folder: Path, columns: dict[str, object], name: str = "table.parquet", **options: object) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), folder / name, **options)
    return folder / name


def test_rows_become_series(tmp_path: Path) -> None:
    series = read(CSV, tmp_path, TARGET)
    assert series.names == ("b", "a")
    assert series.channels == ("breath", "heart")
    assert series.times.tolist() == [[0.5, 2.5], [10, 11]]
    assert series.values.tolist() == [[[0, 61], [0, 60]], [[12, 0], [0, 0]]]
    assert series.mask.tolist() == [[[False, True], [False, True]], [[True, False], [False, False]]]
    assert series.targets is not None
    assert series.targets.tolist() == [7.5, -1]


def test_labels_become_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    series = read(CSV.replace("7.5\n", "sick\n").replace("-1\n", "healthy\n"), tmp_path, LongColumns(label="outcome"))
    assert series.classes == ("healthy", "sick")
    assert series.targets is not None
    assert series.targets.tolist() == [1, 0]
    assert series.targets.dtype == torch.int64


def test_columns_have_the_names_that_one_gives_and_the_channel_may_be_missing(tmp_path: Path) -> None:
    text = "id,when,temp\n1,2024-05-01T00:01:00,2\n1,2024-05-01,1\n2,2024-05-02 06:00:00Z,3\n"
    series = read(text, tmp_path, LongColumns(series="id", time="when", channel=None, value="temp"))
    assert series.channels == ("temp",)
    assert series.times.tolist() == [[0, 60], [0, 0]]
    assert series.values[..., 0].tolist() == [[1, 2], [3, 0]]


@given(st.permutations(range(5)))
def test_the_order_of_rows_does_not_matter_but_for_that_of_series(tmp_path_factory, order) -> None:
    folder = tmp_path_factory.mktemp("tables")
    head, *rows = CSV.splitlines()
    mixed = read("\n".join([head, *(rows[i] for i in order)]), folder)
    whole = read(CSV, folder)
    same = mixed.take([mixed.names.index(name) for name in whole.names])
    assert all(torch.equal(tensor, same.tensors()[name]) for name, tensor in whole.tensors().items())


def test_parquet_and_packed_csv_give_what_csv_gives(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        {
            "series": ["b", "b", "b", "a", "a"],
            "time": [2.5, 0.5, 0.5, 10, 11],
            "channel": ["heart", "heart", "breath", "breath", "heart"],
            "value": [60.0, 61.0, None, 12.0, float("nan")],
            "outcome": [7.5, 7.5, 7.5, -1.0, -1.0],
        },
    )
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    expected = read(CSV, tmp_path, TARGET)
    for other in (path, packed):
        found = read_long(other, TARGET)
        assert (found.names, found.channels) == (expected.names, expected.channels)
        assert all(torch.equal(found.tensors()[name], tensor) for name, tensor in expected.tensors().items())


def test_parquet_with_dates_whole_numbers_and_dictionaries(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    times = np.array(["2024-05-01T00:00:00", "2024-05-01T00:00:01.5", "2024-05-03"], dtype="datetime64[ns]")
    path = parquet(
        tmp_path,
        {
            "series": [3, 3, 12],
            "time": times,
            "channel": pa.array(["x", "y", "x"]).dictionary_encode(),
            "value": pa.array([1, 2, 3], pa.int32()),
        },
    )
    series = read_long(path)
    check_series(series)
    assert series.names == ("3", "12")
    assert series.times.tolist() == [[0, 1.5], [0, 0]]
    assert series.values.tolist() == [[[1, 0], [0, 2]], [[3, 0], [0, 0]]]


WRONG = {
    "empty": ("", "needs one column 'series', got: ''"),
    "head only": ("series,time,channel,value\n", "holds no series"),
    "column": ("series,time,channel\n", "needs one column 'value', got: 'series, time, channel'"),
    "two columns": ("series,time,channel,value,value\n", "needs one column 'value'"),
    "fields": ("series,time,channel,value\na,1,x\n", "row 1: got 3 fields, allowed: 4"),
    "number": ("series,time,channel,value\na,1,x,much\n", "got 'much', allowed: a number"),
    "time": ("series,time,channel,value\na,1,x,1\na,late,x,2\n", "as a time, allowed: numbers alone"),
    "no time": ("series,time,channel,value\na,,x,1\n", "got a missing time"),
    "no series": ("series,time,channel,value\n,1,x,1\n", "got a row without its series"),
    "no channel": ("series,time,channel,value\na,1,,1\n", "got a row without its channel"),
    "twice": ("series,time,channel,value\na,1,x,1\na,1,x,2\n", "series 'a' has channel 'x' twice at time 1"),
    "float32": ("series,time,channel,value\na,1,x,1e39\n", "beyond float32"),
    "long field": ("series,time,channel,value\na,1,x," + "1" * 200_000 + "\n", "is no table of commas"),
    "epoch": ("series,time,channel,value\na,1700000000,x,1\na,1700000001,x,1\n", "float32 cannot tell apart"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_table_takes_one_line(kind: str, tmp_path: Path) -> None:
    text, message = WRONG[kind]
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_long(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (TARGET, "outcome: series 'b' has '7.5' and '8.0', allowed: one of them"),
        (LongColumns(label="outcome"), "outcome: series 'b' has '7.5' and '8', allowed: one of them"),
        (LongColumns(label="outcome", target="outcome"), "a label or a target: got both"),
    ],
)
def test_targets_that_change_within_a_series_are_refused(columns: LongColumns, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(CSV.replace("61,7.5", "61,8"), tmp_path, columns)


def test_a_target_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outcome: got a target that is missing"):
        read(CSV.replace(",7.5\n", ",\n"), tmp_path, TARGET)
    with pytest.raises(InputError, match="outcome: series 'b' has no label"):
        read(CSV.replace(",7.5\n", ",\n"), tmp_path, LongColumns(label="outcome"))


def test_many_times_and_many_channels_are_refused_before_they_are_padded(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("series,time,channel,value\n" + "".join(f"a,{i},c{i},1\n" for i in range(20_000)))
    with pytest.raises(InputError, match="the series take 2,000,000,000 bytes, allowed"):
        read_long(path)


def test_a_parquet_file_that_unpacks_to_more_than_is_read_is_refused(tmp_path: Path) -> None:
    """34 million rows of one value, in a few kB."""
    pa = pytest.importorskip("pyarrow")
    n = 34_000_000
    same = pa.repeat(pa.scalar(1, pa.int8()), n)
    path = parquet(tmp_path, {"series": same, "time": same, "channel": same, "value": same})
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match=r"table\.parquet: says that it holds 34,000,000 rows"):
        read_long(path)


@pytest.mark.parametrize("name", ["absent.parquet", "absent.csv"])
def test_a_file_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_long(tmp_path / name)


def test_damaged_tables_are_read_or_refused(tmp_path: Path) -> None:
    assert read_all(lambda path: read_long(path, TARGET), tmp_path / "table.csv", CSV.encode()) > 30


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"compression": "none", "use_dictionary": False}], ids=["snappy", "plain"])
def test_damaged_parquet_files_are_read_or_refused(options: dict[str, object], tmp_path: Path) -> None:
    good = parquet(
        tmp_path,
        {
            "series": [f"patient {i % 4}" for i in range(40)],
            "time": [float(i) for i in range(40)],
            "channel": ["x", "y"] * 20,
            "value": [i / 3 for i in range(40)],
        },
        "good.parquet",
        **options,
    ).read_bytes()
    assert read_all(read_long, tmp_path / "table.parquet", good, 15) > 5


def test_a_parquet_file_at_which_its_reader_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pyarrow 25 does at some damaged ones: it aborts, and would take the whole process with it."""
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    (tmp_path / "worker.py").write_text("import os; os.abort()")
    monkeypatch.setattr(parquet_door, "_WORKER", tmp_path / "worker.py")
    with pytest.raises(InputError, match=r"table\.parquet: pyarrow ends at it \(exit code -6\); it is damaged"):
        read_long(path)


def test_without_pyarrow_parquet_is_refused_with_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(InputError, match="reading Parquet needs pyarrow; pip install pyarrow"):
            read_long(path)


def test_column_names_may_be_anything(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"a/b": ["x"], "../t": [1.5], "0": ["c"], "": [2.5]})
    series = read_long(path, LongColumns(series="a/b", time="../t", channel="0", value=""))
    assert (series.names, series.channels, series.values.tolist()) == (("x",), ("c",), [[[2.5]]])
