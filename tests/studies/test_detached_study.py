"""A study in a process of its own, as a person runs it: begun, followed, stopped, gone on with, killed."""

import os
import re
import signal
import time
from typing import NamedTuple

import pytest
from command_line import SPACE, Ended, alive, descendants, interrupt, nde_study, of_kind, start, until

from studies.ledger import Ledger

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STUDY = f"""
name: alone
task: digits_node
objectives: [accuracy, nfe, train_work]
trials: 6
workers: 2
{SPACE}
fixed: {{epochs: 12, threads: 1, seed: 0}}
"""
GONE_S = 10.0


class Driver:
    """The detached process of a command that began one."""

    def __init__(self, ended: Ended) -> None:
        assert ended.code == 0, ended.err
        self.out = ended.out
        self.pid = int(re.search(r"runs in process (\d+)", ended.out)[1])
        self.session = os.getsid(self.pid)
        self.below = descendants(self.pid)


def left_of(driver):
    """What still runs of a driver and all it had started, once they had time to end."""
    pids = {driver.pid: "the driver", **driver.below}
    end = time.monotonic() + GONE_S
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.1)
    return [pids[pid] for pid in alive(pids)]


class Course(NamedTuple):
    """One study: begun, followed until Ctrl-C, stopped, gone on with, killed, gone on with to its end."""

    began: Driver
    view: Ended
    after_view: list[int]
    stopped: Ended
    left_by_stop: list[str]
    state_after_stop: str
    again: Ended
    killed: Driver
    left_by_kill: list[str]
    state_after_kill: str
    last: Driver
    to_the_end: Ended
    left_at_the_end: list[str]
    output: str
    ledger: Ledger


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    home = tmp_path_factory.mktemp("detached")
    folder = home / "nde-runs" / "alone"
    (home / "alone.yaml").write_text(STUDY)
    began = Driver(nde_study("run", "alone.yaml", "--detach", cwd=home))
    view = start("attach", "alone", cwd=home)
    until(lambda: of_kind(folder, "ended"))
    time.sleep(1.5)  # the viewer looks twice a second
    interrupt(view)
    seen, after_view = Ended(view), alive([began.pid])
    began.below |= descendants(began.pid)
    stopped = nde_study("stop", "alone", cwd=home)
    left_by_stop, state_after_stop = left_of(began), Ledger(folder).state
    again = nde_study("attach", "alone", cwd=home)
    killed = Driver(nde_study("resume", "alone", "--detach", cwd=home))
    os.kill(killed.pid, signal.SIGKILL)
    left_by_kill, state_after_kill = left_of(killed), Ledger(folder).state
    last = Driver(nde_study("resume", "alone", "--detach", cwd=home))
    to_the_end = nde_study("attach", "alone", cwd=home)
    output = (folder / "driver.log").read_text()
    return Course(
        began,
        seen,
        after_view,
        stopped,
        left_by_stop,
        state_after_stop,
        again,
        killed,
        left_by_kill,
        state_after_kill,
        last,
        to_the_end,
        left_of(last),
        output,
        Ledger(folder),
    )


def test_a_detached_study_runs_in_a_session_of_its_own_and_the_command_says_what_follows(course):
    assert course.began.session == course.began.pid
    for command in ("attach", "stop", "show"):
        assert f"nde-study {command} alone\n" in course.began.out
    assert "what it says: nde-runs/alone/driver.log" in course.began.out


def test_ctrl_c_ends_the_view_and_not_the_study(course):
    assert course.view.code == 130
    assert "/6] trial" in course.view.out
    assert "alone goes on; to follow it again: nde-study attach alone" in course.view.out
    assert course.after_view


def test_stop_keeps_what_is_finished_and_leaves_nothing_running(course):
    assert course.stopped.code == 0
    assert re.search(r"study alone stopped: [1-5] of 6 trials ended and are kept", course.stopped.out)
    assert "to go on: nde-study resume alone" in course.stopped.out
    assert (course.left_by_stop, course.state_after_stop) == ([], "interrupted")
    assert course.again.code == 1
    assert "not running: interrupted" in course.again.out


def test_ten_seconds_after_a_kill_of_a_detached_driver_nothing_is_left(course):
    assert len(course.killed.below) > 3
    assert (course.left_by_kill, course.state_after_kill) == ([], "interrupted")


def test_a_view_ends_with_the_study_and_with_its_exit_code(course):
    assert course.to_the_end.code == 0, course.to_the_end.err
    assert "nde-study export alone" in course.to_the_end.out
    assert course.ledger.state == "finished"
    assert not course.left_at_the_end


def test_every_session_of_a_driver_has_said_what_it_did_in_the_studys_folder(course):
    for driver in (course.began, course.killed, course.last):
        assert f", process {driver.pid}\n" in course.output
    assert "[6/6] trial" in course.output


def test_a_cluster_that_does_not_answer_is_told_before_a_detached_study_begins(tmp_path):
    (tmp_path / "alone.yaml").write_text(STUDY)
    ended = nde_study("run", "alone.yaml", "--detach", "--address", "127.0.0.1:9", cwd=tmp_path)
    assert ended.code == 1
    assert "Ray at 127.0.0.1:9 cannot be used" in ended.err
    assert not (tmp_path / "nde-runs").exists()
