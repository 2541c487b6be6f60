"""A list of an export's files with their checksums: whether it is whole, and nothing beside it.

It tells what was damaged on its way. It is no signature: who can write the folder can write the list.
"""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from ndecore.errors import InputError

MANIFEST = "manifest.json"
_FORMAT = 1
_MAX_BYTES = 1 << 20


def write_manifest(folder: Path) -> None:
    """List all files below a folder but the list itself."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: _facts(folder / name) for name in names if name != MANIFEST}
    text = json.dumps({"format": _FORMAT, "files": files}, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def manifest_digest(folder: Path) -> str:
    """The SHA-256 of the list: told over another way than the folder, it stands for all that is in it."""
    return str(_facts(folder / MANIFEST)["sha256"])


def check_manifest(folder: Path) -> None:
    """Read every file of an export once.

    Raises:
        InputError: the list cannot be read, or a file is missing, added, changed, cut off or no plain file; one line
            that names it.
    """
    files = _read(folder)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name, path in sorted(found.items()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: got a link or a device; allowed are plain files. {_REMEDY}")
        if path.is_file() and name not in {*files, MANIFEST}:
            raise InputError(f"{path}: is not in the manifest: it was added after the export. {_REMEDY}")
    for name, facts in files.items():
        if name not in found or not found[name].is_file():
            raise InputError(f"{folder / name}: is missing. {_REMEDY}")
        got = _facts(found[name])
        if got["bytes"] != facts.get("bytes"):
            raise InputError(f"{folder / name}: got {got['bytes']} bytes, allowed: {facts.get('bytes')}. {_REMEDY}")
        if got != facts:
            raise InputError(f"{folder / name}: was changed: its checksum is another one. {_REMEDY}")


_REMEDY = "Copy the export again, or export it anew"


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: got no plain file; allowed is one that `nde-study export` wrote. {_REMEDY}")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: got {path.stat().st_size} bytes, allowed: at most {_MAX_BYTES}. {_REMEDY}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; allowed is a folder that was exported") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON: it was cut off or changed. {_REMEDY}") from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT or not isinstance(data.get("files"), dict):
        raise InputError(f"{path}: got another format; allowed is {_FORMAT}, of this version of nde-study")
    files: dict[str, dict[str, Any]] = data["files"]
    for name, facts in files.items():
        parts = PurePosixPath(name).parts
        is_inside = parts and not name.startswith("/") and ".." not in parts and "\\" not in name
        if not is_inside or not isinstance(facts, dict):
            raise InputError(f"{path}: got the file {name!r}; allowed are files inside the folder. {_REMEDY}")
    return files
