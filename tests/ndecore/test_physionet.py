"""Records as the PhysioNet challenge of 2012 writes them; the ones here are made up."""

from pathlib import Path

import pytest
import torch
from damaged_files import check_series, read_all

from ndecore.datasets.physionet import CHANNELS, DESCRIPTORS, read_physionet
from ndecore.errors import InputError

FIRST = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,-1
00:07,GCS,15
00:07,HR,73
00:37,HR,77
00:37,HR,78
47:45,Weight,80.5
"""
SECOND = FIRST.replace("132539", "132540").replace("Height,-1", "Height,175.3").partition("00:37")[0] + "01:00,,3\n"
OUTCOMES = """RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death
132539,6,1,5,-1,0
132540,16,8,8,-1,1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "132540.txt").write_text(SECOND)
    (tmp_path / "set-a" / "132539.txt").write_text(FIRST)
    (tmp_path / "Outcomes-a.txt").write_text(OUTCOMES)
    return tmp_path


def test_records_become_series_in_hours(folder: Path) -> None:
    series = read_physionet(folder / "set-a", folder / "Outcomes-a.txt")
    check_series(series)
    assert series.names == ("132539", "132540")
    assert series.channels == CHANNELS
    assert len(set(CHANNELS)) == 37
    assert series.lengths.tolist() == [4, 2]
    assert torch.allclose(series.times[0], torch.tensor([0, 7 / 60, 37 / 60, 47.75]))
    rate, weight = series.values[0, :, CHANNELS.index("HR")], series.mask[0, :, CHANNELS.index("Weight")]
    assert rate.tolist() == [0, 73, 78, 0]  # of the two at 00:37 the last
    assert weight.tolist() == [False, False, False, True]  # -1 was not taken
    assert series.targets is not None
    assert series.targets.tolist() == [0, 1]
    assert series.classes == ("survived", "died")


def test_descriptors_stand_apart(folder: Path) -> None:
    series = read_physionet(folder / "set-a")
    assert series.static_channels == DESCRIPTORS
    assert series.static is not None
    assert series.static_mask is not None
    assert torch.allclose(series.static, torch.tensor([[54, 0, 0, 4], [54, 0, 175.3, 4]]))
    assert series.static_mask.tolist() == [[True, True, False, True], [True] * 4]
    assert series.targets is None
    assert series.tensors().keys() == {"values", "times", "mask", "lengths", "static", "static_mask"}
    assert series.take([1]).tensors()["static"].tolist() == series.static[1:].tolist()


WRONG = {
    "head": ("Time;Parameter;Value\n", "begins with 'Time;Parameter;Value'"),
    "empty": ("", "begins with ''"),
    "time": (FIRST + "07:60,HR,3\n", "line 13: got '07:60' as the time"),
    "parameter": (FIRST + "07:00,Heart,3\n", "line 13: unknown parameter: got 'Heart'"),
    "value": (FIRST + "07:00,HR,fast\n", "line 13: got 'fast', allowed: a number"),
    "fields": (FIRST + "07:00,HR\n", "line 13: got 2 fields, allowed: 3"),
    "name": (SECOND, "its RecordID is '132540', not the file's name"),
    "cut": ("\n".join(FIRST.splitlines()[:5]), "has no observation; it is truncated"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_record_takes_one_line(kind: str, folder: Path) -> None:
    text, message = WRONG[kind]
    path = folder / "set-a" / "132539.txt"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_physionet(folder / "set-a")
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_wrong_outcomes_are_refused(folder: Path) -> None:
    outcomes = folder / "Outcomes-a.txt"
    outcomes.write_text(OUTCOMES.replace("132540", "132541"))
    with pytest.raises(InputError, match="has no outcome for 1 of the records, the first is 132540"):
        read_physionet(folder / "set-a", outcomes)
    outcomes.write_text(OUTCOMES.replace("-1,1", "-1,2"))
    with pytest.raises(InputError, match="line 3: In-hospital_death: got '2', allowed: 0 or 1"):
        read_physionet(folder / "set-a", outcomes)


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_folder_without_records_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no record"):
        read_physionet(tmp_path / name)


def test_damaged_records_and_outcomes_are_read_or_refused(folder: Path) -> None:
    record, outcomes = folder / "set-a" / "132539.txt", folder / "Outcomes-a.txt"
    assert read_all(lambda path: read_physionet(path.parent), record, FIRST.encode()) > 50
    record.write_text(FIRST)
    assert read_all(lambda path: read_physionet(folder / "set-a", path), outcomes, OUTCOMES.encode()) > 50
