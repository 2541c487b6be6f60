"""A study of a task and other members in files of the user's: it keeps copies, and runs, moves and exports these."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import events, nde_study, of_kind
from test_members import FILES, SPEC

from ndecore.errors import InputError
from ndecore.member_files import copied_from, copy_text, load_file
from ndecore.metrics import EpochRecord
from reports.records import Cause, TrialStatus
from search_spaces.member_names import files_in, located, relative, renamed
from studies.build import build
from studies.code_files import changed, check_trusted, copies, originals_of, packed, send
from studies.earlier import front_configs
from studies.ledger import Ledger, Origin
from studies.sameness import check_same_spec
from studies.search import propose
from studies.spec import StudySpec, load_spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the user."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "own.yaml").write_text(SPEC)
    return tmp_path


def spec_in(folder: Path) -> StudySpec:
    return load_spec(str(folder / "own.yaml"))


@pytest.fixture
def ledger(folder: Path) -> Iterator[Ledger]:
    (folder / "runs").mkdir()
    with Ledger.create(folder / "runs" / "own", spec_in(folder), Origin()).writing() as writing:
        yield writing


def test_names_of_files_are_found_and_changed_in_texts_sums_and_keys() -> None:
    data = {"task": "a.py:One", "regularizer": "error+b.py", "b.py.weight": [1, "c.py"], "optimizer.name": "x"}
    assert [str(path) for path in files_in(data)] == ["a.py", "b.py", "b.py", "c.py"]
    here = located(data, Path("/study"))
    assert here == {
        "task": "/study/a.py:One", "regularizer": "error+/study/b.py", "/study/b.py.weight": [1, "/study/c.py"],
        "optimizer.name": "x",
    }  # fmt: skip
    assert relative(here, Path("/study")) == data
    assert renamed(("e", 1.5, None), lambda path: path) == ("e", 1.5, None)
    assert located(data, None) is data


def test_a_copy_says_where_it_is_from_and_finds_what_lies_beside_the_original(tmp_path: Path) -> None:
    original, copy = tmp_path / "mine.py", tmp_path / "code" / "mine.py"
    original.write_text("from pathlib import Path\nrow = Path(__file__).with_name('data.csv').read_text()\n")
    (tmp_path / "data.csv").write_text("1,2")
    copy.parent.mkdir()
    copy.write_text(copy_text(original))
    assert copied_from(copy) == original
    assert copied_from(original) is None
    assert load_file(copy).row == "1,2"
    (tmp_path / "data.csv").unlink()
    copy.write_text(copy.read_text())
    copy.touch()
    with pytest.raises(InputError, match=f"^{original}:2: FileNotFoundError: "):  # in the original, with the same lines
        load_file(copy)
    original.write_text("\n")
    with pytest.raises(InputError, match=f"^{copy}:2: FileNotFoundError: "):
        load_file(copy)


def test_a_changed_file_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    assert load_file(path) is load_file(path)
    path.write_text("x = 'two'\n")
    assert load_file(path).x == "two"


def test_a_study_keeps_copies_and_names_them_from_its_folder(ledger: Ledger, folder: Path) -> None:
    assert {path.name for path in (ledger.folder / "code").iterdir()} == set(FILES)
    assert (ledger.spec.task, ledger.spec.sampler) == ("code/turns.py", "code/mine.py")
    assert ledger.spec.fixed["solver"] == "code/ralston.py"
    assert ledger.spec.start[1].config["regularizer"] == "code/length.py"
    assert packed(spec_in(folder)).spec.to_data() == ledger.spec.to_data()
    assert str(folder) not in (ledger.folder / "spec.yaml").read_text()
    proposal = propose(ledger)
    assert (proposal.config["solver"], proposal.config["depth"]) == ("code/ralston.py", 3)
    ledger.started(proposal.number, proposal.label, proposal.config)
    second = propose(ledger)
    assert second.config["regularizer"] == "code/length.py"
    assert second.config["schedule"] == "code/halving.py"
    assert str(folder) not in json.dumps(events(ledger.folder))


def test_a_moved_study_runs_its_copies_without_the_originals(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    proposal = propose(ledger)
    ledger.started(proposal.number, proposal.label, proposal.config)
    moved = tmp_path / "elsewhere" / "own"
    moved.parent.mkdir()
    shutil.copytree(ledger.folder, moved)
    shutil.rmtree(ledger.folder)
    for name in FILES:
        (folder / name).unlink()
    again = Ledger(moved)
    plan = build(again.spec.task, again.trial(0).config, folder=moved)
    assert (type(plan.task).__name__, type(plan.settings.solver).__name__) == ("Turns", "Ralston")
    (moved / "proposals.log").unlink()
    with again.writing():  # Optuna's part is made again, by the sampler in its file
        assert propose(again).number == 1


def test_two_files_of_one_name_are_two_copies(folder: Path) -> None:
    (folder / "more").mkdir()
    shutil.copy(folder / "length.py", folder / "more" / "turns.py")
    (folder / "own.yaml").write_text(SPEC.replace("length.py", "more/turns.py"))
    kept = packed(spec_in(folder))
    assert {str(name): path for name, path in kept.originals.items()}["code/turns_2.py"] == folder / "more" / "turns.py"
    assert kept.spec.start[1].config["regularizer"] == "code/turns_2.py"


def complete(ledger: Ledger, status: TrialStatus) -> int:
    proposal = propose(ledger)
    ledger.started(proposal.number, proposal.label, proposal.config, proposal.parent)
    cause = Cause.ERROR if status is TrialStatus.FAILED else Cause.NONE
    if status is TrialStatus.COMPLETE:
        record = EpochRecord(1, {"closeness": 0.5, "mse": 1.0}, *[1.0] * 12, solver_gap=0.0, is_last=True)
        ledger.epoch(proposal.number, record)
    ledger.ended(proposal.number, status, "my.py:3: ValueError: x" if cause is Cause.ERROR else "", cause)
    return proposal.number


def test_a_changed_file_is_taken_until_a_trial_is_complete(ledger: Ledger, folder: Path) -> None:
    assert check_same_spec(spec_in(folder), ledger) == {}
    turns = folder / "turns.py"
    turns.write_text(turns.read_text() + "\n# fixed\n")
    complete(ledger, TrialStatus.FAILED)
    recoded = check_same_spec(spec_in(folder), ledger)
    assert recoded == {Path("code/turns.py"): turns}
    ledger.recoded(recoded)
    assert check_same_spec(spec_in(folder), ledger) == {}
    assert ledger.record().repairs == ("turns.py was changed: trials from 1 on run it so",)
    complete(ledger, TrialStatus.COMPLETE)
    turns.write_text(turns.read_text() + "\n# and again\n")
    with pytest.raises(
        InputError, match=rf"^{turns}: was changed since study 'own' began, and 1 trials? .*--retry-failed"
    ):
        check_same_spec(spec_in(folder), ledger)
    assert changed(ledger.folder, originals_of(ledger.folder)) == recoded


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 3", "trials: 5", "trials: got 5, began with 3; `nde-study resume own --trials .2` adds trials; give"),
        ("epochs: 1,", "epochs: 2,", r"another spec: fixed: got {.*began with {.*}?; give this one another name"),
        ("trials: 3", "trials: 2", "trials: got 2, began with 3; give this one another name"),
        ("sampler: mine.py", "sampler: tpe", "sampler: got 'tpe', began with 'code/mine.py'"),
    ],
)
def test_a_changed_spec_is_told_by_its_keys(ledger: Ledger, folder: Path, old: str, new: str, message: str) -> None:
    (folder / "own.yaml").write_text(SPEC.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        check_same_spec(spec_in(folder), ledger)
    assert "\n" not in str(caught.value)


def test_the_front_of_a_study_of_own_code_names_the_user_s_files(ledger: Ledger, folder: Path) -> None:
    complete(ledger, TrialStatus.COMPLETE)
    (start,) = front_configs(ledger.folder.parent, "own")
    assert start.config["solver"] == str(folder / "ralston.py")
    (folder / "ralston.py").unlink()
    (start,) = front_configs(ledger.folder.parent, "own")
    assert start.config["solver"] == str(ledger.folder / "code" / "ralston.py")


def test_failed_trials_are_asked_for_again_as_new_ones_once(ledger: Ledger) -> None:
    failed = complete(ledger, TrialStatus.FAILED)
    kept = complete(ledger, TrialStatus.COMPLETE)
    assert ledger.failed == (failed,)
    ledger.retried()
    assert (ledger.failed, ledger.n_trials) == ((), 4)
    again = propose(ledger)
    assert (again.parent, again.config, again.label) == (
        failed,
        ledger.trial(failed).config,
        ledger.trial(failed).label,
    )
    ledger.started(again.number, again.label, again.config, again.parent)
    ledger.ended(again.number, TrialStatus.FAILED, "my.py:3: ValueError: x", Cause.ERROR)
    assert ledger.failed == (again.number,)
    assert ledger.trial(kept).status is TrialStatus.COMPLETE


def test_code_that_comes_with_a_config_is_sent_whole_and_asked_for(ledger: Ledger, tmp_path: Path) -> None:
    data = ["code/turns.py", {"solver": "code/ralston.py", "regularizer": "none"}]
    target = tmp_path / "out"
    assert send(data, ledger.folder, target, "knee.code") == [
        "knee.code/turns.py", {"solver": "knee.code/ralston.py", "regularizer": "none"},
    ]  # fmt: skip
    assert (target / "knee.code" / "turns.py").read_text() == (ledger.folder / "code" / "turns.py").read_text()
    with pytest.raises(
        InputError, match=r"code: got .*turns.py, .*ralston.py, which comes with the config, allowed with --run-code"
    ):
        check_trusted(data, ledger.folder, is_trusted=False)
    check_trusted(data, ledger.folder, is_trusted=True)
    check_trusted(["digits_node", {"solver": "tsit5"}], ledger.folder, is_trusted=False)
    (ledger.folder / "code" / "ralston.py").unlink()
    with pytest.raises(InputError, match=r"ralston.py: is not there, which the study's code is"):
        send(data, ledger.folder, target)
    assert Path("code/turns.py") in copies(ledger.folder)


FAULTY = (
    FILES["turns.py"]
    + """
    def loss(self, output, batch, moment):
        if self.depth == 1:
            return {}["column"]
        return super().loss(output, batch, moment)
"""
)
SHORT = """
name: short
task: turns.py
trials: 2
workers: 1
objectives: [closeness, nfe]
max_solver_gap: 1.0
fixed: {epochs: 2, rtol: 0.01}
space: {depth: {int: [1, 3]}}
start_from:
  - {label: vanilla, depth: 3}
  - {label: flat, depth: 1}
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_a_trial_that_fails_in_the_user_s_code_says_where_and_is_run_again_after_a_fix(tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(FAULTY)
    (tmp_path / "rows.csv").write_text("1,2")
    (tmp_path / "short.yaml").write_text(SHORT)
    ended = nde_study("run", "short.yaml", cwd=tmp_path)
    line = 1 + FAULTY[: FAULTY.index('{}["column"]')].count("\n")
    study = tmp_path / "nde-runs" / "short"
    assert ended.code == 0, ended.out + ended.err
    done, failed = of_kind(study, "ended")
    assert (failed["status"], failed["reason"]) == ("failed", f"turns.py:{line}: KeyError: 'column'")
    assert done["status"] == "complete"
    assert ended.code == 0, ended.err
    assert "1 trial failed, tracebacks: nde-runs/short/trials/*/error.txt; after a fix: nde-study resume" in ended.out
    assert f'turns.py", line {line}, in loss' in (study / "trials" / "0001" / "error.txt").read_text()
    (tmp_path / "turns.py").write_text(FILES["turns.py"])
    assert nde_study("run", "short.yaml", cwd=tmp_path).code == 2
    again = nde_study("resume", "short", "--retry-failed", cwd=tmp_path)
    assert again.code == 0, again.err
    assert [each["status"] for each in of_kind(study, "ended")] == ["complete", "failed", "complete"]
    assert (of_kind(study, "started")[-1]["parent"], of_kind(study, "started")[-1]["label"]) == (1, "flat")
    over = nde_study("resume", "short", "--retry-failed", cwd=tmp_path)
    assert (over.code, over.err.count("\n")) == (2, 1)


@pytest.mark.slow
def test_a_mistake_in_a_task_costs_one_line_before_anything_is_created(tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(FILES["turns.py"].replace("1 / (1 + mse)", "1 / (1 + msee)"))
    (tmp_path / "short.yaml").write_text(SHORT)
    ended = nde_study("run", "short.yaml", "--debug", cwd=tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "turns.py:" in ended.err
    assert "NameError: name 'msee' is not defined" in ended.err
    assert "Traceback" in ended.out
    assert not (tmp_path / "nde-runs").exists()
