"""Files of a study and of an export, damaged at random: told of in a line, and never believed."""

import random
import shutil

import pytest
from trained_study import trained_ledger

from ndecore.errors import InputError, NDEError
from reports.export import choose
from reports.manifest import manifest_digest, write_manifest
from reports.records import TrialStatus
from studies.cli import main
from studies.ledger import Ledger
from studies.locks import HOLDER
from studies.models import export_model
from studies.reading import SPEC
from studies.search import propose
from studies.trial_files import WEIGHTS

pytestmark = pytest.mark.slow

EVENTS = "events.jsonl"


def flipped(path, rng):
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def cut(path, rng):
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def inserted(path, rng):
    content, place = path.read_bytes(), rng.randrange(path.stat().st_size)
    path.write_bytes(content[:place] + rng.randbytes(rng.choice((1, 8, 500))) + content[place:])


def doubled_line(path, rng):
    lines = path.read_bytes().splitlines(keepends=True)
    place = rng.randrange(len(lines))
    path.write_bytes(b"".join([*lines[: place + 1], *lines[place:]]))


def lost_line(path, rng):
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def emptied(path, rng):
    path.write_bytes(b"")


def removed(path, rng):
    path.unlink()


def made_a_folder(path, rng):
    path.unlink()
    path.mkdir()


WAYS = (flipped, cut, inserted, doubled_line, lost_line, emptied, removed, made_a_folder)


def said(capsys, *words):
    """The exit code; a complaint takes a line or two, and no traceback."""
    code = main(list(words))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert code in (0, 1, 2), words
    assert "Traceback" not in err + out, (words, err)
    assert len(lines) <= 2, (words, err)
    assert code == 0 or all(line.startswith("nde-study: ") for line in lines), (words, err)
    return code


def check_line(error):
    assert "\n" not in str(error)


def read(folder):
    """The study, or None where one line says why not."""
    try:
        return Ledger(folder)
    except NDEError as error:
        check_line(error)
        return None


def taken_up(ledger):
    """Whether the next trial can be proposed; if not, one line says why."""
    try:
        with ledger.writing():
            propose(ledger)
    except NDEError as error:
        check_line(error)
        return False
    return True


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_study_is_told_of_in_a_line_and_there_is_a_way_on(seed, small, tmp_path, capsys):
    rng, folder = random.Random(seed), tmp_path / "root" / "small"
    shutil.copytree(small.folder, folder)
    expected = {trial.number: trial for trial in Ledger(folder).record().trials}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size > 1]
    damaged = folder / EVENTS if rng.random() < 0.4 else rng.choice(files)
    rng.choice(WAYS)(damaged, rng)
    at = ("--root", str(folder.parent))
    said(capsys, "ls", *at)
    said(capsys, "show", "small", *at)
    ledger = read(folder)
    if ledger is None:
        if said(capsys, "repair", "small", "--write", *at) != 0:
            assert damaged.name == EVENTS
            return  # the line that created the study is lost, and that is said
        ledger = Ledger(folder)
    for trial in ledger.record().trials:  # what is shown was measured
        known = expected[trial.number]
        assert trial.config == known.config
        assert [epoch for epoch in trial.epochs if epoch not in known.epochs] == []
        assert trial.status is not TrialStatus.COMPLETE or trial.epochs[-1] == known.epochs[-1]
    assert taken_up(ledger) or damaged.name in (SPEC, HOLDER)
    if damaged.name == WEIGHTS:
        with pytest.raises(InputError):
            ledger.whole_weights(int(damaged.parent.name))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    ledger = trained_ledger(tmp_path_factory.mktemp("searched"))
    folder = tmp_path_factory.mktemp("exports") / "knee"
    export_model(ledger, choose(ledger.record())[0], folder)
    return folder


@pytest.mark.parametrize("seed", range(50))
def test_a_damaged_export_is_refused_and_one_that_is_listed_anew_told_by_its_digest(seed, exported, tmp_path, capsys):
    rng, folder = random.Random(seed), shutil.copytree(exported, tmp_path / "knee")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    rng.choice(WAYS)(rng.choice([path for path in files if path.stat().st_size > 1]), rng)
    assert said(capsys, "verify", str(folder)) == 2
    write_manifest(folder)
    said(capsys, "verify", str(folder))
    assert said(capsys, "verify", str(folder), "--sha256", manifest_digest(exported)) == 2
