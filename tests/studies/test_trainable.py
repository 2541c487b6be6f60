"""What a worker does with a trial; without Ray, which only calls it."""

import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import hypothesis
import pytest
import sqlalchemy
import torch
from hypothesis import strategies as st

from ndecore.errors import NDEError
from reports.records import Cause
from studies.build import complete
from studies.calibration import calibrate
from studies.deadline import TimedOut, deadline
from studies.messages import Diverged, EpochDone, Order, Unwritable
from studies.secret import has_password, redacted, without_password
from studies.trainable import TrialTrainable
from studies.trial_files import digest

CONFIG = {"regularizer": "none", "rtol": 1e-2, "epochs": 4, "batch_size": 512, "learning_rate": 0.1}
SECONDS = ("train_s", "predict_s")


def worker(
    folder, checkpoint=None, *, timeout_s=None, checkpoint_every=1, solvers=(), rtols=(), gap_epochs=(), **config
):
    found = TrialTrainable.__new__(TrialTrainable)
    found.setup(
        {
            "order": Order(
                number=0,
                task="digits_node",
                config=complete("digits_node", CONFIG | config),
                study=folder.parent,
                folder=folder,
                checkpoint=checkpoint,
                checkpoint_every=checkpoint_every,
                timeout_s=timeout_s,
                solvers=solvers,
                rtols=rtols,
                gap_epochs=gap_epochs,
            )
        }
    )
    return found


def measured(result):
    return replace(result.record, **dict.fromkeys(SECONDS, 0.0))


def test_a_trial_that_goes_on_from_a_checkpoint_is_the_one_that_was_never_stopped(tmp_path, threads_restored):
    whole = worker(tmp_path / "attempt-1")
    expected = [whole._epoch() for _ in range(4)]
    first = worker(tmp_path / "attempt-2")
    results = [first._epoch() for _ in range(2)]
    second = worker(tmp_path / "attempt-3", checkpoint=tmp_path / results[-1].checkpoint)
    results += [second._epoch() for _ in range(2)]
    assert list(map(measured, results)) == list(map(measured, expected))
    assert results[-1].record.is_last
    assert results[-1].weights == digest((tmp_path / "attempt-3" / "weights.pt").read_bytes())
    weights = [torch.load(tmp_path / f"attempt-{n}" / "weights.pt", weights_only=True) for n in (1, 3)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_checkpoint_is_there_before_it_is_told_of_and_two_are_kept(tmp_path, threads_restored):
    trial = worker(tmp_path / "attempt-1", checkpoint_every=2, epochs=9)
    names = [trial._epoch().checkpoint for _ in range(8)]
    assert names == [f"attempt-1/epoch-{n:06d}.pt" if n % 2 == 0 else "" for n in range(1, 9)]
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pt")}
    assert left == {"attempt-1/epoch-000006.pt", "attempt-1/epoch-000008.pt"}


def test_the_solver_gap_is_estimated_where_a_rule_looks_and_training_stays_as_it_was(tmp_path, threads_restored):
    plain, watched = worker(tmp_path / "attempt-1", epochs=3), worker(tmp_path / "attempt-2", gap_epochs=(2,), epochs=3)
    expected, found = ([each._epoch() for _ in range(3)] for each in (plain, watched))
    assert [each.record.solver_gap is None for each in found] == [True, False, False]
    assert measured(found[2]) == measured(expected[2])
    exact = found[2].record.solver_gap
    assert exact / 10 < found[1].record.solver_gap < 10 * exact  # of an epoch earlier


def test_a_trial_that_takes_too_long_has_timed_out_in_the_middle_of_an_epoch(tmp_path, threads_restored):
    trial = worker(tmp_path, timeout_s=0.05, batch_size=8, rtol=1e-6)
    result = trial._epoch()
    told = "timeout: trained for 0.05 s; raise the study's timeout_s, or loosen the tolerances"
    assert result == Diverged(told, Cause.TIMEOUT)


@pytest.mark.parametrize(
    ("config", "cause"),
    [({"max_steps": 2, "rtol": 1e-4}, Cause.STEP_LIMIT), ({"learning_rate": 1e12, "max_steps": 200}, None)],
    ids=["step limit", "learning rate"],
)
def test_a_trial_that_diverges_says_what_ran_away(config, cause, tmp_path, threads_restored):
    trial = worker(tmp_path, **config)
    result = trial._epoch()
    while isinstance(result, EpochDone) and not result.record.is_last:
        result = trial._epoch()
    assert isinstance(result, Diverged)
    assert result.cause in ([cause] if cause else [Cause.NOT_FINITE, Cause.STEP_UNDERFLOW, Cause.STEP_LIMIT])


def test_a_disk_that_cannot_be_written_interrupts_the_trial(tmp_path, threads_restored):
    trial = worker(Path("/proc/nowhere/attempt-1"))
    result = trial._epoch()
    assert isinstance(result, Unwritable)
    assert result.reason.startswith("/proc/nowhere/attempt-1: cannot be written: ")


def test_out_of_memory_is_told_and_what_filled_it_is_let_go(tmp_path, monkeypatch, threads_restored):
    def no_memory(*_, folder):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 GiB")

    trial = worker(tmp_path)
    monkeypatch.setattr("studies.trainable.build", no_memory)
    result = trial._epoch()
    assert result == Diverged("out of memory: CUDA out of memory. Tried to allocate", Cause.MEMORY)
    assert trial._state is None


def test_code_that_asks_to_end_the_process_is_told_apart_from_a_worker_that_is_asked_to_end(tmp_path, monkeypatch):
    asked = SystemExit(1)
    monkeypatch.setattr("studies.trainable.build", Mock(side_effect=asked))
    with pytest.raises(NDEError, match="its code asked to end the process: SystemExit: 1"):
        worker(tmp_path)._epoch()
    asked.ray_terminate_msg = "The process receives a SIGTERM."  # as Ray's handler does
    with pytest.raises(SystemExit):
        worker(tmp_path)._epoch()


def test_a_deadline_leaves_what_is_in_time_alone():
    with deadline(60.0):
        done = sum(range(10))
    assert done == 45
    with pytest.raises(TimedOut), deadline(0.01):
        time.sleep(10)


def test_a_calibration_is_of_milliseconds(threads_restored):
    assert 1e-4 < calibrate(1, "cpu") < 1.0


@pytest.mark.parametrize(
    ("uri", "shown", "kept"),
    [
        ("postgresql://me:p%40ss@host:5432/db", "postgresql://me:***@host:5432/db", "postgresql://me@host:5432/db"),
        ("https://me:a@b@host/x", "https://me:***@host/x", "https://me@host/x"),
        ("postgresql://host/db?password=abc&port=1", "postgresql://host/db?password=***&port=1", None),
        ("postgresql://u:pa/ss@h/db", "postgresql://u:***@h/db", "postgresql://u@h/db"),
        ("postgresql://u:pa ss@h/db", "postgresql://u:***@h/db", "postgresql://u@h/db"),
        (
            "postgresql://u@h/db?sslpassword=abc&sslmode=require",
            "postgresql://u@h/db?sslpassword=***&sslmode=require",
            None,
        ),
        ("https://host/x?api_key=abc&port=1", "https://host/x?api_key=***&port=1", "https://host/x?api_key=&port=1"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_passwords_are_neither_shown_nor_kept(uri, shown, kept):
    assert redacted(f"got {uri}, no answer") == f"got {shown}, no answer"
    assert kept is None or without_password(uri) == kept
    assert has_password(uri) == (shown != uri)


def test_a_trained_model_is_solved_once_more_in_the_ways_that_are_asked_for(tmp_path, threads_restored):
    trial = worker(tmp_path, epochs=2, rtol=1e-3, solvers=("tsit5", "bosh3"), rtols=(1e-5, 1e-1))
    assert trial._epoch().points == ()
    last = trial._epoch()
    points = last.points
    assert [(p.deployment.solver, p.deployment.rtol) for p in points] == [
        ("tsit5", 1e-5), ("tsit5", 1e-1), ("bosh3", 1e-5), ("bosh3", 1e-1),
    ]  # fmt: skip
    tight, loose = points[:2]
    assert tight.nfe > last.record.nfe >= loose.nfe
    assert tight.solver_gap < loose.solver_gap
    assert tight.nfe == 2 + 6 * (tight.accepted + tight.rejected)


@hypothesis.given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="@"), min_size=1))
def test_what_sqlalchemy_takes_for_a_password_is_left_out(password):
    uri = f"postgresql://someone:{password}@host:5432/db"
    assert sqlalchemy.make_url(without_password(uri)).password is None
    assert without_password(uri) == "postgresql://someone@host:5432/db"
    assert redacted(uri) == "postgresql://someone:***@host:5432/db"
