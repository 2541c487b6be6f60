"""The files of the user's that a study runs: it keeps copies below its folder, names these, and runs these alone.

A study with its copies can be moved, run on a cluster, and exported with what its models need.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ndecore.errors import InputError
from ndecore.member_files import copied_from, copy_text
from search_spaces.document import Document
from search_spaces.member_names import files_in, located, renamed
from studies.spec import StudySpec, read_spec

FOLDER = "code"  # below a study, and below an export


class Packed(NamedTuple):
    """A spec as a study keeps it."""

    spec: StudySpec  # which names the files of members as `code/NAME.py`
    originals: Mapping[Path, Path]  # that name -> the file of the user's


def packed(spec: StudySpec) -> Packed:
    """The spec with its files renamed to what their copies are called in a study."""
    data = {key: value for key, value in spec.to_data().items() if key not in ("storage", "tracking_uri")}
    names: dict[Path, Path] = {}
    for original in files_in(data):
        if original.is_absolute() and original.is_file():
            names.setdefault(original, _free_name(original, names.values()))
    if not names:
        return Packed(spec, {})
    document = Document(spec.name, renamed(spec.to_data(), lambda path: names.get(path, path)), {})
    kept = read_spec(document, is_stored=True)
    return Packed(kept, {copy: original for original, copy in names.items()})


def write_copies(folder: Path, originals: Mapping[Path, Path]) -> None:
    """Copy files into a study, each with a last line that tells where it is from; raise OSError where that fails."""
    for name, original in originals.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(copy_text(original), encoding="utf-8")


def changed(folder: Path, originals: Mapping[Path, Path]) -> dict[Path, Path]:
    """Those originals that are not what the study has of them, by the names of its copies."""
    return {
        name: original
        for name, original in originals.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != copy_text(original)
    }


def originals_of(folder: Path) -> dict[Path, Path]:
    """The copies that a study has, by their names, with what they were made of, where that is still there."""
    return {name: original for name, original in copies(folder).items() if original.is_file()}


def copies(folder: Path) -> dict[Path, Path]:
    """All copies that a study has, by their names, with what they were made of."""
    found = {path.relative_to(folder): copied_from(path) for path in (folder / FOLDER).glob("*.py")}
    return {name: original for name, original in found.items() if original is not None}


def names_in(data: Any) -> tuple[Path, ...]:
    """The files that a study's or an export's data names by their place below its folder."""
    return tuple(dict.fromkeys(path for path in files_in(data) if not path.is_absolute()))


def send(data: Any, folder: Path, target: Path, name: str = FOLDER) -> Any:
    """Copy the files that data names, as a study keeps them, to another folder.

    Args:
        data: whose texts name files below `folder`.
        folder: of the study.
        target: the folder from which the result names them.
        name: of the folder in it where they go.

    Returns:
        The data with the new names.

    Raises:
        InputError: a file is not there.
        OSError: one cannot be written.
    """
    moved = {path: Path(name) / path.relative_to(FOLDER) for path in names_in(data) if path.parts[0] == FOLDER}
    for path, there in moved.items():
        if not (folder / path).is_file():
            raise InputError(f"{folder / path}: is not there, which the study's code is; allowed: the study whole")
        (target / there).parent.mkdir(parents=True, exist_ok=True)
        (target / there).write_bytes((folder / path).read_bytes())
    return renamed(data, lambda path: moved.get(path, path))


def check_trusted(data: Any, folder: Path, is_trusted: bool) -> None:
    """Code that comes with a config is run when that was asked for, and never else.

    Raises:
        InputError: it was not; the message names the files.
    """
    files = [str(path) for path in dict.fromkeys(files_in(located(data, folder)))]
    if files and not is_trusted:
        raise InputError(
            f"code: got {', '.join(files)}, which comes with the config, allowed with --run-code: it runs with your "
            "rights, so read it first"
        )


def _free_name(original: Path, taken: Any) -> Path:
    stem = original.stem.replace("+", "_")
    names: Iterator[Path] = (Path(FOLDER) / f"{stem}{n}.py" for n in ("", *(f"_{i}" for i in range(2, 1000))))
    return next(name for name in names if name not in taken)
