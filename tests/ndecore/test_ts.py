"""`.ts` files of the UEA and UCR archives: lengths, missing values, time stamps, targets; and what is no such file."""

import gzip
from pathlib import Path

import pytest
import torch
from damaged_files import check_series, read_all

from ndecore.datasets.series import IrregularSeries
from ndecore.datasets.ts import read_ts
from ndecore.errors import InputError

HEAD = """# A description é with a letter beyond ASCII
@problemName Made
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""
UNEQUAL = HEAD + "1,2.5,3:-1,?,NaN:up\n\n4,5:6,7:down\n-1e-3,2:,1:UP\n"
STAMPED = """@problemName Stamps
@timestamps true
@univariate false
@targetlabel true
@data
(2024-05-01 12:00:00,1.5),(2024-05-01 12:00:30,2.5):(2024-05-01 12:00:10,-1):7.25
(2024-06-01 00:00:00,3):(2024-06-01 00:00:00,?),(2024-06-01 00:01:00,4):-2
"""


def read(text: str, folder: Path) -> IrregularSeries:
    path = folder / "made.ts"
    path.write_text(text, encoding="utf-8")
    series = read_ts(path)
    check_series(series)
    return series


def test_unequal_lengths_missing_values_and_classes(tmp_path: Path) -> None:
    series = read(UNEQUAL, tmp_path)
    assert series.values.tolist()[:2] == [[[1, -1], [2.5, 0], [3, 0]], [[4, 6], [5, 7], [0, 0]]]
    assert series.mask.tolist()[0] == [[True, True], [True, False], [True, False]]
    assert series.mask.tolist()[2] == [[True, False], [True, True], [False, False]]
    assert series.lengths.tolist() == [3, 2, 2]
    assert series.times.tolist() == [[0, 1, 2], [0, 1, 1], [0, 1, 1]]
    assert series.classes == ("up", "down")
    assert series.targets is not None
    assert series.targets.tolist() == [0, 1, 0]
    assert series.targets.dtype == torch.int64


def test_time_stamps_of_channels_are_joined_and_count_from_the_series_first(tmp_path: Path) -> None:
    series = read(STAMPED, tmp_path)
    assert series.times.tolist() == [[0, 10, 30], [0, 60, 60]]
    assert series.values.tolist() == [[[1.5, 0], [0, -1], [2.5, 0]], [[3, 0], [0, 4], [0, 0]]]
    assert series.targets is not None
    assert series.targets.tolist() == [7.25, -2]
    assert series.targets.dtype == torch.float32
    assert series.classes == ()


def test_numeric_time_stamps_stay_as_they_are(tmp_path: Path) -> None:
    series = read("@timeStamps true\n@classLabel false\n@data\n(0.5,1), (2,3)\n", tmp_path)
    assert series.times.tolist() == [[0.5, 2]]
    assert series.targets is None
    assert series.tensors().keys() == {"values", "times", "mask", "lengths"}


def test_padding_by_missing_values_at_the_end_is_dropped(tmp_path: Path) -> None:
    series = read(HEAD + "1,NaN,3,NaN,NaN:1,2,?,?,?:up\nNaN,NaN:?,?:down\n", tmp_path)
    assert series.lengths.tolist() == [3, 1]
    assert not series.mask[1].any()


def test_gzip_and_windows_lines_and_a_byte_order_mark_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "made.ts.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + UNEQUAL.replace("\n", "\r\n").encode("utf-8")))
    assert torch.equal(read_ts(path).values, read(UNEQUAL, tmp_path).values)


WRONG = {
    "empty": ("", "no line @data"),
    "csv": ("series,time\n1,2\n", "line 1: is no .ts file: got 'series,time"),
    "no data": (HEAD.replace("@data\n", ""), "no line @data"),
    "no series": (HEAD, "holds no series"),
    "class": (HEAD + "1:1:left\n", "line 9: got the class 'left', the header says up, down"),
    "no class": (HEAD + "1:1\n", "line 9: got the class '1', the header says up, down"),
    "no pair": ("@timeStamps true\n@data\n(1,2),(3)\n", "line 3: got '3', allowed: (time,value)"),
    "channels": (HEAD + "1:1:1:up\n", "line 9: got 3 channels, the header says 2"),
    "lengths": (HEAD + "1,2:1:up\n", "line 9: got channels of 1 to 2 values"),
    "number": (HEAD + "1,x:1,2:up\n", "line 9: got 'x', allowed: a number"),
    "infinite": (HEAD + "1,inf:1,2:up\n", "line 9: got 'inf', allowed: a finite number"),
    "float32": (HEAD + "1,1e39:1,2:up\n", "beyond float32"),
    "switch": ("@timeStamps maybe\n@data\n1:1\n", "line 1: @timeStamps: got 'maybe', allowed: true or false"),
    "classes": ("@classLabel true a A\n@data\n1:a\n", "line 1: @classLabel: got 'a A'"),
    "count": ("@dimensions 99999999999999\n@data\n1:1\n", "line 1: @dimensions: got '99999999999999'"),
    "series length": ("@seriesLength 3\n@data\n1,2,3\n1,2\n", "line 4: got 2 times, the header says 3"),
    "changing channels": ("@data\n1:2\n1\n", "line 3: got 1 channels, earlier 2"),
    "stamps": ("@timeStamps true\n@data\n(1,2),(x,3)\n", "line 3: got '1' as a time"),
    "no bracket": ("@timeStamps true\n@data\n(1,2),3\n", "line 3: got '1,2)' as a time"),
    "no target": ("@targetLabel true\n@data\n1,2:\n", "as the target"),
    "close stamps": (
        "@timeStamps true\n@data\n(1700000000,2),(1700000001,3)\n",
        "times that float32 cannot tell apart",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_file_takes_one_line(kind: str, tmp_path: Path) -> None:
    text, message = WRONG[kind]
    path = tmp_path / "made.ts"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_ts(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_long_series_among_many_short_ones_is_refused_before_it_is_padded(tmp_path: Path) -> None:
    """Padded, 200 kB of text would take 1.5 GB."""
    path = tmp_path / "made.ts"
    path.write_text("@classLabel false\n@data\n" + "1," * 100_000 + "1\n" + "1\n" * 3_000)
    with pytest.raises(InputError, match=r"padded to one length, the series take 1,500,515,005 bytes"):
        read_ts(path)


@pytest.mark.parametrize("text", [UNEQUAL, STAMPED], ids=["unequal", "stamped"])
def test_damaged_files_are_read_or_refused(text: str, tmp_path: Path) -> None:
    assert read_all(read_ts, tmp_path / "made.ts", text.encode("utf-8")) > 30
    assert read_all(read_ts, tmp_path / "made.ts.gz", gzip.compress(text.encode("utf-8"), mtime=0)) > 70
