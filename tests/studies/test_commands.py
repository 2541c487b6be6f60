"""The commands that read a study: fast, and the same from the ledger and from MLflow."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module

import pytest
import yaml
from command_line import nde_study
from large_study import large_ledger

from reports.pareto import front, study_hypervolume
from studies.cli import COMMANDS, main
from studies.ledger import Ledger
from studies.locks import locked

IMPORTED = """
import sys
from studies.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command, capsys):
    if command == "bench":
        pytest.importorskip("studies.cli.bench")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"nde-study {command}" in capsys.readouterr().out.partition("examples:")[2]


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {command}" in out for command in COMMANDS)


def test_an_unknown_command_is_refused_with_a_suggestion(capsys):
    assert main(["exprot"]) == 2
    assert "did you mean 'export'?" in capsys.readouterr().err


def loaded_by(args, cwd):
    done = subprocess.run([sys.executable, "-c", IMPORTED, *args], cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("args", [["--help"], ["validate", "quickstart"]], ids=["help", "validate"])
def test_commands_that_only_read_text_load_nothing_slow(args, tmp_path):
    assert not loaded_by(args, tmp_path) & {"torch", "ray", "mlflow", "optuna", "plotly"}


@pytest.mark.cluster
@pytest.mark.parametrize(
    "args",
    [["ls"], ["show", "small"], ["export", "small", "-o", "x.yaml"], ["validate", "small.yaml"]],
    ids=lambda args: args[0],
)
def test_commands_that_only_read_a_study_do_not_load_torch_or_ray(args, small):
    loaded = loaded_by(args, small.home)
    (small.home / "x.yaml").unlink(missing_ok=True)
    assert not loaded & {"torch", "ray"}


@pytest.mark.cluster
def test_validate_finds_the_front_that_a_spec_starts_from(at_home, tmp_path, capsys):
    text = "name: next\ntask: digits_node\nspace: {learning_rate: {log_float: [1e-6, 10]}}\n"
    spec = tmp_path / "next.yaml"
    spec.write_text(text + "start_from: [{front_of: small}]\n")
    assert main(["validate", str(spec)]) == 0
    assert "valid" in capsys.readouterr().out
    spec.write_text(text + "start_from: [{front_of: other}]\n")
    assert main(["validate", str(spec)]) == 2
    assert "no study 'other'" in capsys.readouterr().err


@pytest.mark.cluster
def test_ls_lists_the_study_with_how_far_it_came(at_home, capsys):
    assert main(["ls", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    study = Ledger(at_home.folder).record()
    assert (row["study"], row["complete"], row["other"], row["asked for"]) == ("small", 5, 1, 6)
    assert (row["status"], row["hypervolume"]) == ("finished", study_hypervolume(Ledger(at_home.folder).record()))
    with locked(at_home.folder / "events.jsonl", "small"):
        assert Ledger(at_home.folder).state == "running"
    assert row["front"] == len(front(study))
    assert main(["ls"]) == 0
    assert re.search(r"small +digits_node +finished +5 of 6", capsys.readouterr().out)


@pytest.mark.cluster
def test_show_from_mlflow_alone_is_show_from_the_ledger(at_home, tmp_path, capsys):
    assert main(["show", "small", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert [row["trial"] for row in ours["front"]] == [t.number for t in front(Ledger(at_home.folder).record())]
    assert main(["show", "small", "--json", "--root", str(tmp_path), "--tracking-uri", at_home.uri]) == 0
    assert json.loads(capsys.readouterr().out) == ours
    assert not list(tmp_path.iterdir())


@pytest.mark.cluster
def test_show_tells_why_a_trial_is_missing(at_home, capsys):
    assert main(["show", "small"]) == 0
    out = capsys.readouterr().out
    assert "◆ knee" in out
    reason = Ledger(at_home.folder).record().trials[2].reason
    assert f"trial 2 diverged: {reason}\n" in out
    assert "validation accuracy against NFE" in out


@pytest.mark.cluster
def test_report_writes_the_files_that_mlflow_has(at_home, tmp_path, capsys):
    assert main(["report", "small", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'report.html'}\n"
    (published,) = (at_home.root / "artifacts" / "small").glob("*/artifacts/report.html")
    ours = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*")}
    theirs = {path.relative_to(published.parent) for path in published.parent.rglob("*.*")}
    assert ours == {path for path in theirs if path.parts[0] != "configs"}
    assert (tmp_path / "out" / "report.md").read_text() == (published.parent / "report.md").read_text()
    assert "| knee |" in (tmp_path / "out" / "report.md").read_text()  # the solver's way through the trained weights
    assert main(["report", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["study"] == "small"


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["smell", "../small", "."])
def test_a_study_that_is_not_there_is_refused_with_those_that_are(name, at_home, capsys):
    assert main(["show", name]) == 2
    assert capsys.readouterr().err.startswith(f"nde-study: no study {name!r} under nde-runs, there are: small;")


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("rule", "role"),
    [
        ([], "knee"),
        (["--top", "knee"], "knee"),
        (["--best", "accuracy"], "best accuracy"),
        (["--bound", "accuracy >= 0.5"], "least nfe with accuracy >= 0.5"),
        (["--top", "ideal"], "ideal"),
    ],
    ids=["default", "top", "best", "bound", "ideal"],
)
def test_export_writes_the_config_of_a_rule(rule, role, at_home, tmp_path, capsys):
    path = tmp_path / "node.yaml"
    assert main(["export", "small", *rule, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    written = yaml.safe_load(path.read_text())
    study = Ledger(at_home.folder).record()
    trial = study.trials[written["trial"]]
    assert trial in front(study)
    assert written["role"] == role
    assert written["config"] == trial.config
    assert written["expected"]["train_work"] == trial.epochs[-1].train_work


@pytest.mark.cluster
def test_export_of_all_writes_a_file_for_each_member_of_the_front(at_home, tmp_path, capsys):
    assert main(["export", "small", "--all", "-o", str(tmp_path / "front")]) == 0
    assert len(list((tmp_path / "front").iterdir())) == len(front(Ledger(at_home.folder).record()))


@pytest.mark.cluster
@pytest.mark.parametrize("rule", [["--bound", "accuracy"], ["--bound", "accuracy >= 1"]], ids=["no bound", "none"])
def test_export_of_what_is_not_there_is_refused(rule, at_home, tmp_path, capsys):
    assert main(["export", "small", *rule, "-o", str(tmp_path / "node.yaml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.cluster
def test_an_exported_config_trains_to_the_same_numbers(at_home, tmp_path, capsys, threads_restored):
    path = tmp_path / "node.yaml"
    main(["export", "small", "--best", "accuracy", "-o", str(path)])
    expected = yaml.safe_load(path.read_text())["expected"]
    capsys.readouterr()
    assert main(["train", str(path)]) == 0
    assert "reproduced: everything but the seconds is the same to the last digit" in capsys.readouterr().out
    assert main(["train", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["scores"] == {"accuracy": expected["accuracy"], "loss": expected["loss"]}
    for name in ("nfe", "train_work", "solver_gap"):
        assert record[name] == expected[name]


def test_every_command_module_has_what_the_command_line_needs():
    for command in COMMANDS:
        if command != "bench":
            module = import_module(f"studies.cli.{command}")
            assert module.__doc__
            assert module.EXAMPLES
            assert callable(module.configure)
            assert callable(module.main)


def test_export_to_a_file_of_another_kind_is_refused(at_home, tmp_path, capsys):
    assert main(["export", "small", "-o", str(tmp_path / "node.json")]) == 2
    assert "allowed: a file ending in .yaml, or a folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough_meets_no_traceback(at_home):
    """`show --json | head`: the pipe is closed before the front is printed."""
    code = "import sys; from studies.cli import main; sys.exit(main(['show', 'small', '--json']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.slow
def test_a_study_of_a_thousand_trials_is_read_within_three_seconds(tmp_path):
    """Two tries each: another program may be busy during one."""
    large_ledger(tmp_path / "nde-runs", 1000)
    for args in (["ls"], ["show", "large"], ["export", "large", "-o", "node.yaml", "--overwrite"]):
        tries = [nde_study(*args, cwd=tmp_path) for _ in range(2)]
        assert [each.code for each in tries] == [0, 0], tries[0].err
        assert min(each.seconds for each in tries) < 3, args
