"""What a terminal shows: tables that fit, colours where they are wanted, differences, completion."""

import io
import json
import re
import subprocess
from dataclasses import replace

import pytest
import yaml
from large_study import large_study
from rich.console import Console
from test_progress import study, trial

from reports.records import TrialStatus
from studies.cli import main
from studies.cli.front_plot import front_plot
from studies.cli.front_table import print_study
from studies.ledger import Ledger


@pytest.mark.cluster
@pytest.mark.parametrize(
    "command", [["ls"], ["show", "small"], ["diff", "small:0", "small:1"]], ids=lambda args: args[0]
)
@pytest.mark.parametrize("width", [40, 80, 160])
def test_tables_fit_the_terminal_and_have_no_colours_in_a_file(command, width, at_home, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(command) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= width for line in out.splitlines() if not line.startswith("trial 2 diverged"))
    assert "\x1b" not in out


@pytest.mark.parametrize(("width", "is_shown"), [(60, False), (120, True)])
def test_the_front_has_the_other_searched_keys_where_there_is_room(width, is_shown):
    out = Console(file=io.StringIO(), width=width)
    same = {"epochs": 10, "regularizer": "none", "solver": "tsit5", "rtol": 1e-3}
    rates = {"learning_rate": 0.01, "momentum": 0.9}, {"learning_rate": 0.00333, "momentum": 0.5}
    trials = [replace(trial(n, 10, TrialStatus.COMPLETE), config=same | own) for n, own in enumerate(rates)]
    print_study(study(*trials), out)
    rows = [line.split() for line in out.file.getvalue().splitlines()]
    (head,) = (row for row in rows if row[:1] == ["trial"] and "penalty" in row)
    assert ("learning_rate" in head) is is_shown
    assert any("0.00333" in row for row in rows) is is_shown


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("env", "is_coloured"), [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)]
)
def test_no_color_is_heard(env, is_coloured, at_home, capsys, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False) if is_coloured else None
    assert main(["show", "small"]) == 0
    colours = re.findall(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", capsys.readouterr().out)
    assert bool(colours) is is_coloured


@pytest.mark.cluster
def test_diff_of_two_trials_tells_what_was_asked_and_what_came(at_home, capsys):
    assert main(["diff", "small:0", "small:1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"]["regularizer"] == ["none", "error"]
    assert told["settings"]["momentum"][1] == 0.8
    assert "rtol" not in told["settings"]
    trials = Ledger(at_home.folder).record().trials
    nfe = [trials[number].epochs[-1].nfe for number in (0, 1)]
    assert told["results"].get("nfe", [nfe[0]] * 2) == nfe


@pytest.mark.cluster
def test_diff_of_a_study_with_itself_an_exported_config_and_a_spec(at_home, tmp_path, capsys):
    assert main(["diff", "small", "small"]) == 0
    assert capsys.readouterr().out == "no difference\n"
    path = tmp_path / "node.yaml"
    main(["export", "small", "-o", str(path)])
    number = yaml.safe_load(path.read_text())["trial"]
    capsys.readouterr()
    assert main(["diff", f"small:{number}", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"settings": {}, "results": {"status": ["complete", None]}}
    (tmp_path / "other.yaml").write_text((at_home.home / "small.yaml").read_text().replace("trials: 6", "trials: 7"))
    assert main(["diff", "small", str(tmp_path / "other.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == {"trials": [6, 7]}


@pytest.mark.cluster
@pytest.mark.parametrize("side", ["small:99", "small:x", "none.yaml", "smell"])
def test_diff_with_what_is_not_there_is_refused(side, at_home, capsys):
    assert main(["diff", "small", side]) == 2
    assert capsys.readouterr().err.startswith("nde-study: ")


def test_completion_knows_every_command_and_the_names_of_studies(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "nde-runs" / "mine").mkdir(parents=True)
    (tmp_path / "nde-runs" / "mine" / "events.jsonl").touch()
    code = """
source ./script
function=$(complete -p nde-study | sed 's/.*-F \\([^ ]*\\).*/\\1/')
complete_words() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    $function
    echo "${COMPREPLY[@]}"
}
complete_words nde-study sh
complete_words nde-study show mi
complete_words nde-study show --js
"""
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["show", "mine", "--json"]


def test_a_plot_of_equal_values_is_drawn_around_them():
    trials = tuple(replace(each, epochs=each.epochs[:1]) for each in large_study(3).trials)
    plot = front_plot(replace(large_study(3), trials=trials), 80)
    assert "validation accuracy against NFE" in plot
    same = tuple(replace(each, epochs=trials[0].epochs) for each in trials)
    labels = [
        line.split("┤")[0] for line in front_plot(replace(large_study(3), trials=same), 80).splitlines() if "┤" in line
    ]
    accuracy = trials[0].epochs[0].scores["accuracy"]
    assert {round(float(label) / accuracy, 1) for label in labels if label.strip()} <= {0.9, 1.0, 1.1}
