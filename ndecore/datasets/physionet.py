"""Records of the PhysioNet/CinC challenge of 2012: the first 48 hours of 12,000 stays in intensive care."""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ndecore.datasets.numerals import number
from ndecore.datasets.opening import check_cells, opened_text
from ndecore.datasets.series import IrregularSeries, Observed, on_grid, padded
from ndecore.errors import InputError

DESCRIPTORS = ("Age", "Gender", "Height", "ICUType")  # taken once, at admission
CHANNELS = (
    *("Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS"),
    *("Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP", "NISysABP"),
    *("PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine"),
    *("WBC", "Weight"),
)
OUTCOME = "In-hospital_death"
_UNKNOWN = -1.0  # how a descriptor or a weight says that it was not taken
_LARGEST_RECORD = 2**22  # bytes; the real ones have some 10 kB
_TIME = re.compile(r"(\d{1,3}):([0-5]\d)")
_INDEX = {name: i for i, name in enumerate(CHANNELS)}


@dataclass(frozen=True)
class _Record:
    number: str
    static: tuple[float, ...]
    series: Observed


def read_physionet(folder: str | Path, outcomes: str | Path | None = None) -> IrregularSeries:
    """The records of a folder such as set-a: 37 channels in the challenge's units, times in hours, 4 descriptors.

    A channel measured twice at one time has its last value. A weight or descriptor of -1 was not taken: missing.
    Series are in the order of their records' numbers.

    Args:
        folder: of files NUMBER.txt, each with the lines "Time,Parameter,Value".
        outcomes: a file such as Outcomes-a.txt; its In-hospital_death (0 or 1) becomes the target.

    Raises:
        InputError: no record; a file of another format, truncated or damaged; a record without outcome.

    Reference: Silva et al., Predicting in-hospital mortality of ICU patients, Computing in Cardiology 39 (2012).
    """
    paths = sorted(Path(folder).glob("*.txt")) if Path(folder).is_dir() else []
    if not paths:
        raise InputError(f"{folder}: holds no record; give the folder of the files NUMBER.txt, such as set-a")
    records = [_record(path) for path in paths]
    series = padded([each.series for each in records], CHANNELS, folder, [each.number for each in records])
    static = np.array([each.static for each in records])
    seen = ~np.isnan(static)
    series = replace(
        series,
        static=torch.tensor(np.where(seen, static, 0.0), dtype=torch.float32),
        static_mask=torch.from_numpy(seen),
        static_channels=DESCRIPTORS,
    )
    if outcomes is None:
        return series
    died = _deaths(Path(outcomes))
    lacking = [name for name in series.names if name not in died]
    if lacking:
        raise InputError(f"{outcomes}: has no outcome for {len(lacking)} of the records, the first is {lacking[0]}")
    return replace(series, targets=torch.tensor([died[name] for name in series.names]), classes=("survived", "died"))


def _record(path: Path) -> _Record:
    rows = _rows(path, ["Time", "Parameter", "Value"])
    static: dict[str, float] = {}
    observations: list[tuple[float, int, float]] = []
    name = ""
    for line, (time, parameter, text) in rows:
        where = f"{path}, line {line}"
        value = _number(text, where)
        if parameter == "RecordID":
            name = text.strip()
        elif parameter in DESCRIPTORS:
            static[parameter] = np.nan if value == _UNKNOWN else value
        elif parameter in _INDEX:
            unknown = parameter == "Weight" and value == _UNKNOWN
            observations.append((_hours(time, where), _INDEX[parameter], np.nan if unknown else value))
        elif parameter:  # some records have rows without one
            raise InputError(
                f"{where}: unknown parameter: got {parameter[:30]!r}, allowed: those of the challenge of 2012"
            )
    if name != path.name.partition(".")[0]:
        raise InputError(f"{path}: its RecordID is {name[:30]!r}, not the file's name; the files are mixed up")
    if not observations:
        raise InputError(f"{path}: has no observation; it is truncated: get it again")
    times, channels, values = map(np.array, zip(*observations, strict=True))
    check_cells(len(np.unique(times)) * len(CHANNELS), path)
    grid = on_grid(times, channels, values, len(CHANNELS))
    return _Record(name, tuple(static.get(each, np.nan) for each in DESCRIPTORS), grid)


def _deaths(path: Path) -> dict[str, int]:
    """0 or 1 by the record's number."""
    head = ["RecordID", "SAPS-I", "SOFA", "Length_of_stay", "Survival", OUTCOME]
    found = {}
    for line, row in _rows(path, head):
        if row[-1].strip() not in ("0", "1"):
            raise InputError(f"{path}, line {line}: {OUTCOME}: got {row[-1][:30]!r}, allowed: 0 or 1")
        found[row[0].strip()] = int(row[-1])
    return found


def _rows(path: Path, head: list[str]) -> list[tuple[int, list[str]]]:
    """The lines below the head, numbered."""
    with opened_text(path, _LARGEST_RECORD) as stream:
        try:
            lines = list(enumerate(csv.reader(stream), start=1))
        except csv.Error as error:
            raise InputError(f"{path}: is no table of commas ({error})") from None
    if not lines or [word.strip() for word in lines[0][1]] != head:
        got = ",".join(lines[0][1])[:60] if lines else ""
        raise InputError(f"{path}: begins with {got!r}, allowed: {','.join(head)!r}; is it of the challenge of 2012?")
    rows = [(i, row) for i, row in lines[1:] if row]
    wrong = [(i, len(row)) for i, row in rows if len(row) != len(head)]
    if wrong:
        i, n = wrong[0]
        raise InputError(f"{path}, line {i}: got {n} fields, allowed: {len(head)}; the file is truncated or damaged")
    return rows


def _hours(text: str, where: str) -> float:
    found = _TIME.fullmatch(text.strip())
    if not found:
        raise InputError(f"{where}: got {text[:30]!r} as the time, allowed: hours and minutes, as 07:35")
    return int(found[1]) + int(found[2]) / 60


def _number(text: str, where: str) -> float:
    try:
        value = number(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return value
