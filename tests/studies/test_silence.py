"""A worker tells where it is while an epoch does not end."""

import time
from pathlib import Path

from studies.silence import Silence, silence, told_if_silent
from studies.trial_files import DIRECT


def loaded(folder: Path) -> Silence:
    deadline = time.monotonic() + 10
    while (found := silence(folder)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_block_that_takes_long_is_told_with_its_line_and_forgotten_at_its_end(tmp_path: Path) -> None:
    with told_if_silent(tmp_path / "attempt-1", patience_s=0.05, files=DIRECT):
        found = loaded(tmp_path / "attempt-1")
    assert found.seconds >= 0.05
    name, _, rest = found.place.partition(":")
    assert name == "test_silence.py"
    assert rest.endswith("(loaded)")
    assert silence(tmp_path / "attempt-1") is None
    assert list((tmp_path / "attempt-1").iterdir()) == []


def test_a_block_that_ends_in_time_leaves_nothing(tmp_path: Path) -> None:
    with told_if_silent(tmp_path / "attempt-1", patience_s=30.0, files=DIRECT):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_message_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "silent.json").write_text('{"seconds": "many"}')
    assert silence(tmp_path) is None
