"""Training neural SDEs: fresh paths each step, the same numbers again, resumed or not; held-out data on fixed paths."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ndecore.datasets.base import Split, Splits
from ndecore.evaluation import evaluate, reference_output, relative_difference
from ndecore.integrate import SolveSettings
from ndecore.metrics import EpochRecord
from ndecore.models.base import SolveRequest
from ndecore.models.sde_classifier import NeuralSDEClassifier
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

pytestmark = pytest.mark.usefixtures("threads_restored", "loose_reference")
DIGITS = DigitsNSDE().splits()


@pytest.fixture
def loose_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver gap against a tolerance that is tighter than that of these trainings, and no more."""
    monkeypatch.setattr("ndecore.evaluation._LOOSEST", 1.0)


class FewDigits(DigitsNSDE):
    """The task on a part of the digits, predicted along two paths: two batches an epoch."""

    def model(self, generator: torch.Generator) -> NeuralSDEClassifier:
        model = super().model(generator)
        model.n_paths = 2
        return model

    def splits(self) -> Splits:
        few, held_out = (Split(p.inputs[:40], p.targets[:40]) for p in (DIGITS.train, DIGITS.validation))
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
    forward = state.model.forward

    def told(inputs, request):
        seeds.append((state.model.training, request.path_seed))
        return forward(inputs, request)

    monkeypatch.setattr(state.model, "forward", told)
    carry_out(given, state)
    steps = [seed for training, seed in seeds if training][1:]  # the first is the warm-up
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


def test_evaluation_predicts_with_ten_paths_and_leaves_the_model_in_training() -> None:
    given = plan()
    model, held_out = DigitsNSDE().model(torch.Generator().manual_seed(0)), FewDigits().splits().validation
    found = evaluate(model, held_out, given.settings, 40, lambda: 0.0)
    assert model.training
    expected = model.eval()(held_out.inputs, SolveRequest(given.settings, path_seed=-1))
    assert torch.equal(found.output, expected.output)
    nfe = [solution.stats.n_evaluations for solution in (expected.solution, *expected.others)]
    assert len(nfe) == 10
    assert found.nfe == sum(nfe) / 10
    assert found.nfe_diffusion == found.nfe


def test_solver_gap_is_measured_along_the_same_paths_and_falls_with_the_tolerance() -> None:
    given = plan(sde="linear_noise")
    model, held_out = TrainState(given).model, FewDigits().splits().validation
    gaps = []
    for tolerance in (0.3, 0.03):
        settings = replace(given.settings, rtol=tolerance, atol=tolerance)
        output = evaluate(model, held_out, settings, 40, lambda: 0.0).output
        gaps.append(relative_difference(output, reference_output(model, held_out, settings, 40)))
    assert 0 < gaps[1] < 0.3 * gaps[0] < 0.03  # another path would make a difference of order 0.1 to 1


def test_penalty_of_error_makes_the_next_solves_cheaper() -> None:
    free, penalized = (carry_out(given)[-1] for given in (plan(), plan(GlobalError("sum"))))
    assert penalized.nfe < free.nfe
