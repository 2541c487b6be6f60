"""Where data sets are looked for, and whether what is there is what it should be. Imports no torch."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from ndecore.datasets.catalogue import DataFile, DataSet, Manager, Package, data_set
from ndecore.datasets.opening import opened
from ndecore.errors import InputError

VARIABLE = "NDE_DATA"
_EMBEDDED = Path(__file__).parent / "files"
_CHUNK = 2**20


class FileState(Enum):
    """What a check found."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "no sum is known"


@dataclass(frozen=True)
class CheckedFile:
    """A file on the disk, and what it turned out to be."""

    path: Path
    state: FileState
    reason: str = ""


def data_folder() -> Path:
    """The folder of fetched data sets, one folder each: $NDE_DATA, or ~/.cache/nde-study/data."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "nde-study" / "data"


def places(wanted: DataSet) -> Iterator[Path]:
    """The folders in which a data set is looked for, in this order.

    $NDE_DATA/NAME, ~/.cache/nde-study/data/NAME, the files that come with ndecore, an installed package that has it.
    """
    yield data_folder() / wanted.name
    if VARIABLE in os.environ:
        yield Path.home() / ".cache" / "nde-study" / "data" / wanted.name
    yield _EMBEDDED / wanted.name
    if wanted.package is not None:
        yield from _installed(wanted.package)


def find(wanted: DataSet) -> Path | None:
    """The first place that has all files of a data set; None if there is none. Their sums are not looked at."""
    for folder in places(wanted):
        has_files = all(file_in(folder, each) is not None for each in wanted.files)
        if has_files and all((folder / each).is_dir() for each in wanted.folders):
            return folder
    return None


def folder_of(name: str) -> Path:
    """The folder of a data set of that name; raise `InputError` with the command that brings it if it is nowhere."""
    wanted = data_set(name)
    found = find(wanted)
    if found is None:
        raise InputError(f"data set {name!r} is not here; {how_to_get(wanted)}; `nde-study data` lists the places")
    return found


def how_to_get(wanted: DataSet) -> str:
    """One phrase: the command that brings a data set, or how a person does."""
    folder = data_folder() / wanted.name
    if wanted.package is None:
        return f"{wanted.by_hand} in {folder}"
    return f"`nde-study data {wanted.name} --fetch` brings it ({wanted.package.command}, into {folder})"


def path_of(name: str, file: str) -> Path:
    """A file of a data set, packed or not, wherever it is; raise `InputError` if the set is nowhere."""
    found = file_in(folder_of(name), DataFile(file))
    if found is None:
        raise InputError(
            f"data set {name!r} has no file {file!r}, got: {', '.join(each.name for each in data_set(name).files)}"
        )
    return found


def file_in(folder: Path, file: DataFile) -> Path | None:
    """The file in a folder, as it is or packed."""
    return next((path for path in (folder / file.name, folder / f"{file.name}.gz") if path.is_file()), None)


def check(folder: Path, file: DataFile) -> CheckedFile:
    """Read a file that is there, and compare its size and SHA-256, unpacked, with the catalogue's."""
    path = file_in(folder, file)
    if path is None:
        return CheckedFile(folder / file.name, FileState.WRONG, "is not there")
    if file.sha256 is None or file.n_bytes is None:
        return CheckedFile(path, FileState.UNKNOWN)
    digest, n_bytes = hashlib.sha256(), 0
    try:
        with opened(path, file.n_bytes) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                n_bytes += len(chunk)
    except InputError as error:
        return CheckedFile(path, FileState.WRONG, str(error).removeprefix(f"{path}: "))
    if digest.hexdigest() != file.sha256:
        reason = (
            f"got {n_bytes:,} bytes of SHA-256 {digest.hexdigest()[:12]}, wanted {file.n_bytes:,} of {file.sha256[:12]}"
        )
        return CheckedFile(path, FileState.WRONG, reason)
    return CheckedFile(path, FileState.RIGHT)


def _installed(package: Package) -> Iterator[Path]:
    if package.manager is Manager.APT:
        yield Path("/") / package.folder
    elif package.manager is Manager.PIP:
        # Asking where a package lies does not run it.
        spec = find_spec(package.name)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield Path(folder).parent / package.folder
