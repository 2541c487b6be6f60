"""`nde-study keys`: what a config of a task may say."""

import json
from pathlib import Path

import pytest

from studies.cli import USER_MISTAKE, main
from studies.suggestion import task_file


def listed(*args: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert main(["keys", *args, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = {row["key"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_the_keys_of_a_task_in_a_file_have_its_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(task_file(Path("mine.py")))
    keys = listed(str(tmp_path / "mine.py"), capsys=capsys)
    assert (keys["width"]["of"], keys["width"]["default"], keys["width"]["allowed"]) == (
        "task",
        32,
        "a whole number >= 1",
    )
    assert (keys["optimizer"]["of"], keys["optimizer"]["default"]) == ("training", "adam")
    assert keys["rtol"]["of"] == "solving"
    assert "a file such as my_regularizer.py" in str(keys["regularizer"]["allowed"])
    assert "constant" in str(keys["weight"]["of"])


def test_they_are_shown_under_who_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "digits_node"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [lines.index(head) for head in ("choice", "training", "solving")] == sorted(
        lines.index(head) for head in ("choice", "training", "solving")
    )
    assert any(line.startswith("learning_rate") for line in lines)


def test_an_unknown_task_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "digit_node"]) == USER_MISTAKE
    assert "task: got 'digit_node', allowed: cities_flow, digits_node, " in capsys.readouterr().err
