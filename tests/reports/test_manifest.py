"""A list of files with checksums: what it lets pass, and what it refuses in one line."""

import json
import os

import pytest

from ndecore.errors import InputError
from reports.manifest import MANIFEST, check_manifest, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_bytes(b"one")
    (tmp_path / "deep" / "b.bin").write_bytes(bytes(range(256)))
    write_manifest(tmp_path)
    return tmp_path


def edit(folder, change):
    path = folder / MANIFEST
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_what_was_listed_passes_wherever_it_is_moved(folder, tmp_path_factory):
    check_manifest(folder)
    moved = tmp_path_factory.mktemp("other") / "place"
    folder.rename(moved)
    check_manifest(moved)
    assert set(json.loads((moved / MANIFEST).read_text())["files"]) == {"a.txt", "deep/b.bin"}


def listed(name):
    def change(data):
        data["files"][name] = data["files"]["a.txt"]

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "a.txt").write_bytes(b"two"), "a.txt: was changed"),
        (lambda f: (f / "deep/b.bin").write_bytes(bytes(255)), "b.bin: got 255 bytes, allowed: 256"),
        (lambda f: (f / "a.txt").unlink(), "a.txt: is missing"),
        (lambda f: (f / "deep/c").write_bytes(b""), "deep/c: is not in the manifest"),
        (lambda f: (f / MANIFEST).unlink(), "got no plain file"),
        (lambda f: os.truncate(f / MANIFEST, 40), "no JSON: it was cut off"),
        (lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe"), "no JSON"),
        (lambda f: (f / MANIFEST).write_text("[]"), "got another format"),
        (lambda f: edit(f, lambda data: data.update(format=2)), "got another format"),
        (lambda f: edit(f, lambda data: data["files"]["a.txt"].update(sha256="0")), "a.txt: was changed"),
        (lambda f: edit(f, listed("../a.txt")), r"got the file '../a.txt'; allowed are files inside"),
        (lambda f: edit(f, listed("/etc/passwd")), "got the file '/etc/passwd'"),
        (lambda f: edit(f, lambda data: data["files"].update({"a.txt": 3})), "got the file 'a.txt'"),
        (lambda f: ((f / "a.txt").unlink(), (f / "a.txt").symlink_to(f / "deep/b.bin")), "got a link"),
        (lambda f: ((f / "a.txt").unlink(), (f / "a.txt").mkdir()), "a.txt: is missing"),
    ],
    ids=range(15),
)
def test_what_was_damaged_is_refused_with_its_name(damage, message, folder):
    damage(folder)
    with pytest.raises(InputError, match=message) as refusal:
        check_manifest(folder)
    assert "\n" not in str(refusal.value)
