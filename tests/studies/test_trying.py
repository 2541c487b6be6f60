"""Task files that misbehave: each is told of in one line, with the place in the user's file."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studies import tried
from studies.cli import USER_MISTAKE, main
from studies.suggestion import task_file
from studies.trying import Done, Raised, TaskFails, try_task

TEXT = task_file(Path("mine.py"))
LOSS, PART = 'return nn.functional.mse_loss(output, batch["targets"])\n', 'return {"inputs": start'
TIMES, SCORES = "TIMES = torch", 'return {"mse": nn'
# Where it goes wrong: what is replaced, by what, and what is told after the place.
RAISING = {
    "import": (TIMES, f"{{}}['column']\n{TIMES}", "KeyError: 'column'"),
    "syntax": (TIMES, "TIMES = = torch", "SyntaxError: invalid syntax"),
    "exit at import": (TIMES, f"raise SystemExit(3)\n{TIMES}", "SystemExit: 3"),
    "splits": ("return Splits(*", "return {}['column'] or Splits(*", "KeyError: 'column'"),
    "model": ("return Model(self.width)", "return Model(self.height)", "AttributeError: "),
    "field": ("return self.layers(y)", "return self.layers(y[:, :1])", "RuntimeError: mat1 and mat2 "),
    "loss": (LOSS, "return output - batch['target']\n", "KeyError: 'target'"),
    "scores": (SCORES, f"raise OSError('disk')\n        {SCORES}", "OSError: disk"),
    "exit in scores": (SCORES, f"raise SystemExit(4)\n        {SCORES}", "SystemExit: 4"),
}
# The same without a place: what is wrong is told in words.
WRONG = {
    "a NaN in the data": (PART, f"start[3] = torch.nan\n    {PART}", "train: got 2 values of 'inputs' that are NaN"),
    "a loss that is NaN": (LOSS, "return (output * torch.nan).mean()\n", "loss: got loss = nan of fresh parameters"),
    "a loss of each example": (
        LOSS,
        "return output - batch['targets']\n",
        r"loss: got loss of shape \[8, 21, 2\], allowed: a 0-d tensor",
    ),
    "a score of another name": (
        'return {"mse": nn',
        'return {"mae": nn',
        "scores: got mae of Mine, allowed: every .*: mse",
    ),
    "no task": ("(Task):", ":", "which defines 0 classes derived from Task"),
}


class Answers:
    """The end of a pipe, in the same process."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)


def tried_here(path: Path) -> list[Any]:
    answers: Any = Answers()
    tried.work("plan_of_task", (str(path), {}), answers)
    return answers.sent


def written(folder: Path, old: str, new: str) -> Path:
    assert TEXT.count(old) >= 1
    path = folder / "mine.py"
    path.write_text(TEXT.replace(old, new))
    return path


def test_what_new_writes_is_found_to_be_sound(tmp_path: Path) -> None:
    *found, last = tried_here(written(tmp_path, "TIMES", "TIMES"))
    assert last == Done()
    assert {each.what for each in found} >= {"metrics", "data", "model", "solves", "loss", "gradients", "checkpoint"}
    assert not [each for each in found if each.is_doubtful]


@pytest.mark.parametrize("case", RAISING)
def test_an_error_in_a_task_is_told_with_its_line(case: str, tmp_path: Path) -> None:
    old, new, message = RAISING[case]
    path = written(tmp_path, old, new)
    lines = path.read_text().splitlines()
    changed = next(
        i for i, (ours, theirs) in enumerate(zip(lines, TEXT.splitlines(), strict=False), 1) if ours != theirs
    )
    (*_, last) = tried_here(path)
    assert isinstance(last, Raised)
    assert last.told.startswith(f"{path}:{changed}: {message}")
    assert "\n" not in last.told
    assert "Traceback" in last.trace


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_task_is_told_in_words(case: str, tmp_path: Path) -> None:
    old, new, message = WRONG[case]
    (*_, last) = tried_here(written(tmp_path, old, new))
    assert isinstance(last, Raised)
    with pytest.raises(TaskFails, match=message):
        raise TaskFails(last.told)
    assert "\n" not in last.told


def test_what_torch_warns_of_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, LOSS, LOSS.replace("output,", "output[..., :1],"))
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "output[..., :1]" in text)
    *found, last = tried_here(path)
    assert last == Done()
    (warned,) = {each.told for each in found if each.what == "warning"}
    assert warned.startswith(f"{path}:{line}: Using a target size (torch.Size([8, 21, 2])) that is different")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("import os; os._exit(7)", r"mine.py: its code ended the process \(exit code 7\) after the part 'start'"),
        ("import time; time.sleep(1000)", r"mine.py: got no answer for \d+ s after the part 'start', .*does it hang"),
        ("import os; os.kill(os.getpid(), 11)", r"mine.py: its code ended the process \(exit code -11\)"),
    ],
)
def test_code_that_ends_or_hangs_its_process_harms_nobody_else(new: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, "TIMES = torch", f"{new}\nTIMES = torch")
    patience_s = 40.0 if "_exit" in new or "kill" in new else 10.0
    with pytest.raises(TaskFails, match=message):
        list(try_task(str(path), {}, patience_s))


@pytest.mark.slow
def test_a_flood_is_not_seen_and_check_says_what_it_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flood = "import os, sys\nfor _ in range(20000):\n    print('x' * 100, file=sys.stderr)\nos.write(1, b'raw')\n"
    path = written(tmp_path, "TIMES = torch", f"{flood}TIMES = torch")
    assert main(["check", str(path)]) == 0
    seen = capfd.readouterr()
    assert "xxx" not in seen.out + seen.err
    assert "raw" not in seen.out
    assert "can be studied" in seen.out
    path.write_text(TEXT.replace("return Model(self.width)", "return Model(self.height)"))
    assert main(["check", str(path), "--debug"]) == USER_MISTAKE
    seen = capfd.readouterr()
    assert "Traceback" in seen.out
    assert seen.err.count("\n") == 1
    assert f"{path.name}:" in seen.err


def test_whoever_asks_for_a_try_imports_no_torch() -> None:

    program = "import sys, studies.trying, studies.cli.check; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
