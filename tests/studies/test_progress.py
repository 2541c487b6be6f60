"""What a person sees of a running study, on a terminal of any width and in a file."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ndecore.metrics import METRICS, EpochRecord
from reports.records import StudyRecord, TrialRecord, TrialStatus
from studies.cli.progress import StudyProgress
from studies.silence import Silence


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def epoch(number, **more):
    zero = dict.fromkeys(("penalty", "weight", "accepted", "rejected", "nfe_train", "accepted_train"), 0.0)
    return EpochRecord(
        epoch=number,
        scores={"accuracy": 0.9, "loss": 0.3},
        train_loss=0.3,
        nfe=26.0,
        rejected_train=0.0,
        train_s=1.0,
        predict_s=0.1,
        train_work=100.0,
        **zero,
        **more,
    )


def trial(number, n_epochs, status=TrialStatus.RUNNING, reason=""):
    gap = {"solver_gap": 0.001} if status is TrialStatus.COMPLETE else {}
    epochs = tuple(epoch(i + 1) for i in range(n_epochs - 1)) + ((epoch(n_epochs, **gap),) if n_epochs else ())
    return TrialRecord("s", number, {"epochs": 10}, status, reason, "vanilla" if number == 0 else "", epochs)


def study(*trials):
    return StudyRecord("s", "digits_node", (METRICS["accuracy"], METRICS["nfe"]), 0.01, 4, trials)


def console(**options):
    return Console(file=io.StringIO(), **options)


def said(progress_console):
    return progress_console.file.getvalue()


def test_in_a_file_each_ended_trial_is_one_line_with_the_best_so_far_and_the_time_left():
    out, clock = console(), Clock()
    with StudyProgress(out, clock) as progress:
        progress(study(trial(0, 0)))
        clock.now += 10
        progress(study(trial(0, 5)))
        clock.now += 10
        progress(study(trial(0, 10, TrialStatus.COMPLETE), trial(1, 0)))
        progress(study(trial(0, 10, TrialStatus.COMPLETE), trial(1, 2, TrialStatus.DIVERGED, "step underflow")))
    first, second = said(out).splitlines()
    assert first == (
        "[1/4] trial 0 vanilla: accuracy 90.00 %, nfe 26 | "
        "front of 1, hypervolume x 1.00 of the baseline's, best validation accuracy 90.00 % (trial 0), "
        "best NFE 26 (trial 0) | about 60 s left"
    )
    assert second.startswith(
        "[2/4] trial 1: diverged: step underflow | front of 1, hypervolume x 1.00 of the baseline's, best"
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_a_silent_trial_is_told_with_its_place_and_without_a_live_view_once(terminal):
    out = console(width=120, force_terminal=terminal)
    with StudyProgress(out, Clock()) as progress:
        for seconds in (0, 61, 121):
            reason = str(Silence(seconds, "my_task.py:41 (__getitem__)")) if seconds else ""
            progress(study(trial(0, 3, reason=reason)))
    text = said(out)
    assert "no epoch for 121 s" in text if terminal else text.count("trial 0") == 1
    assert "no epoch for 61 s, now in my_task.py:41 (__getitem__)" in text or terminal


def test_time_left_counts_running_trials_by_their_epochs_and_earlier_sessions_not_at_all():
    done = trial(0, 10, TrialStatus.COMPLETE)
    out, clock = console(), Clock()
    with StudyProgress(out, clock) as progress:
        progress(study(done, trial(1, 0), trial(2, 0)))
        clock.now += 30
        progress(study(done, trial(1, 10, TrialStatus.COMPLETE), trial(2, 5)))
    assert said(out).splitlines()[-1].endswith("about 30 s left")  # 1.5 trials in 30 s, 1.5 to go


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_on_a_terminal_of_any_width_the_view_is_drawn(width):
    out = console(force_terminal=True, width=width)
    with StudyProgress(out, Clock()) as progress:
        progress(study(trial(0, 0)))
        progress(study(trial(0, 10, TrialStatus.COMPLETE), trial(1, 3)))
        progress._live.refresh()
    words = "".join(said(out).split())
    assert "hypervolumex1.00ofthebaseline's" in words
    assert "trial1:epoch3of10" in words


def test_a_reason_in_brackets_is_shown_as_it_is():
    out = console()
    with StudyProgress(out, Clock()) as progress:
        progress(study())
        progress(study(replace(trial(0, 0), status=TrialStatus.FAILED, reason="[red]no[/red] [Errno 28]")))
    assert "failed: [red]no[/red] [Errno 28] | no trial on the front yet" in said(out)
