"""Training neural SDEs: fresh paths each step, the same numbers again, resumed or not; held-out data on fixed paths."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ndecore.brownian import BrownianTree
from ndecore.datasets.base import Splits
from ndecore.evaluation import evaluate, reference_evaluation, relative_difference
from ndecore.integrate import SolveSettings
from ndecore.metrics import EpochRecord
from ndecore.observation import observe
from ndecore.regularizers.base import Regularizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.schedules import Constant
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.regularizers.weighted import Weighted
from ndecore.solvers.base import Solver
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.sosri2 import SOSRI2
from ndecore.tasks.digits_nsde import DigitsNSDE
from ndecore.training import TrainPlan, TrainState, train
from ndecore.undrawn_path import UndrawnPath

pytestmark = pytest.mark.usefixtures("threads_restored", "loose_reference")
DIGITS = DigitsNSDE().splits()


@pytest.fixture
def loose_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver gap against a tolerance that is tighter than that of these trainings, and no more."""
    monkeypatch.setattr("ndecore.evaluation._LOOSEST", 1.0)


class FewDigits(DigitsNSDE):
    """The task on a part of the digits, predicted along two paths: two batches an epoch."""

    n_paths = 2

    def splits(self) -> Splits:
        parts = (DIGITS.train, DIGITS.validation)
        few, held_out = ({name: tensor[:40] for name, tensor in part.items()} for part in parts)
        return Splits(few, held_out, held_out)


def plan(
    penalty: Regularizer | None = None, solver: Solver | None = None, sde: str = "naive", seed: int = 0, epochs: int = 2
) -> TrainPlan:
    task = FewDigits(sde)
    hyper = replace(task.defaults, epochs=epochs, batch_size=20)
    penalties = (Weighted(penalty, Constant(10.0)),) if penalty else ()
    return TrainPlan(task, SolveSettings(solver or SOSRI(), rtol=0.3, atol=0.3), hyper, penalties, seed)


def carry_out(given: TrainPlan, state: TrainState | None = None) -> list[EpochRecord]:
    return [replace(record, train_s=0.0, predict_s=0.0) for record in train(given, state)]


PENALTIES = {
    "none": plan(),
    "error": plan(GlobalError()),
    "stiffness": plan(GlobalStiffness("mean", weight_by_dt=False), SOSRI2()),
    "unbiased": plan(LocalError()),
    "biased": plan(LocalError("biased"), sde="geometric"),
}


SLOW = {"error", "unbiased"}  # the others resume in the same way


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in PENALTIES])
def test_resumed_training_goes_on_along_the_paths_that_it_would_have_had(name: str, tmp_path: Path) -> None:
    given = PENALTIES[name]
    state, whole = TrainState(given), []
    for record in train(given, state):
        whole.append(replace(record, train_s=0.0, predict_s=0.0))
        torch.save(state.state_dict(), tmp_path / f"{record.epoch}.pt")
    checkpoint = torch.load(tmp_path / "1.pt", weights_only=True)
    assert carry_out(given, TrainState(given).load_state_dict(checkpoint)) == whole[1:]


def test_same_seed_gives_the_same_records_and_another_seed_others() -> None:
    once, again, other = (carry_out(plan(epochs=1, seed=seed)) for seed in (0, 0, 1))
    assert once == again
    assert once[0].train_loss != other[0].train_loss


def test_each_step_follows_a_path_of_its_own_and_never_one_of_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    given = plan()
    state, seeds = TrainState(given), list[tuple[bool, int]]()
    over = UndrawnPath.over

    def told(path: UndrawnPath, t0: float, t1: float, seed: int, n: int = 0) -> BrownianTree:
        seeds.append((state.model.training, seed))
        return over(path, t0, t1, seed, n)

    monkeypatch.setattr(UndrawnPath, "over", told)
    carry_out(given, state)
    steps = [seed for training, seed in seeds if training][2:-1]  # two are the warm-up's, the last tells the memory
    held_out = {seed for training, seed in seeds if not training}
    assert len(steps) == len(set(steps)) == 4
    assert held_out == {-1}
    assert held_out.isdisjoint(steps)


def test_a_penalty_does_not_change_the_path() -> None:
    # Its weight is nothing: what differs is what it drew.
    without, with_penalty = (
        replace(plan(epochs=1), penalties=penalties) for penalties in ((), (Weighted(LocalError(), Constant(0.0)),))
    )
    assert carry_out(without)[0].scores == carry_out(with_penalty)[0].scores


def test_evaluation_predicts_with_ten_paths_and_counts_one_and_leaves_the_model_in_training() -> None:
    given, task = plan(), DigitsNSDE()
    model, held_out = task.model(torch.Generator().manual_seed(0)), FewDigits().splits().validation
    found = evaluate(task, model, task.source(held_out), given.settings, 40, keeps_outputs=True)
    assert model.training
    with torch.no_grad(), observe(settings=given.settings, path_seed=-1) as solves:
        expected = model.eval()(held_out["inputs"])
    assert torch.equal(found.outputs[0], expected)
    assert len(solves) == 10
    assert found.nfe == solves.nfe / 10
    assert found.nfe_diffusion == found.nfe


def test_solver_gap_is_measured_along_the_same_paths_and_falls_with_the_tolerance() -> None:
    given = plan(sde="linear_noise")
    task, model = given.task, TrainState(given).model
    held_out, gaps = task.source(task.splits().validation), []
    for tolerance in (0.3, 0.03):
        settings = replace(given.settings, rtol=tolerance, atol=tolerance)
        outputs = evaluate(task, model, held_out, settings, 40, keeps_outputs=True).outputs
        gaps.append(relative_difference(outputs, reference_evaluation(task, model, held_out, settings, 40).outputs))
    assert 0 < gaps[1] < 0.3 * gaps[0] < 0.03  # another path would make a difference of order 0.1 to 1


def test_penalty_of_error_makes_the_next_solves_cheaper() -> None:
    free, penalized = (carry_out(given)[-1] for given in (plan(), plan(GlobalError("sum"))))
    assert penalized.nfe < free.nfe
