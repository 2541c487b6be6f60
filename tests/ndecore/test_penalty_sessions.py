"""Several penalties on one solve: each is what it is by itself."""

import pytest
import torch
from initial_value_problems import TinyField
from penalized_solves import gradients, off, solved, start
from wished_solves import SolveRequest

from ndecore.adjoints import ADJOINTS
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.observing import Grid
from ndecore.regularizers import REGULARIZERS
from ndecore.regularizers.base import Regularizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.none import NoRegularizer
from ndecore.regularizers.predicted_steps import PredictedSteps
from ndecore.regularizers.rnode import RNODE
from ndecore.regularizers.steer import STEER
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.regularizers.taynode import TayNODE
from ndecore.regularizers.weighted import Session
from ndecore.terms import ODETerm

LOOSE = SolveSettings(rtol=1e-3, atol=1e-4)
FIXED = (
    GlobalError(),
    PredictedSteps(),
    TayNODE(3),
    GlobalStiffness(),
    NoRegularizer(),
    TayNODE(2),
    RNODE(jacobian=0.0),
)


class Joint:
    """A solve by the wishes of several."""

    def __init__(
        self,
        regularizers: tuple[Regularizer, ...],
        grid: Grid = (0.0, 2.0),
        settings: SolveSettings = LOOSE,
        seed: int = 0,
    ) -> None:
        self.field, self.y0 = TinyField(), start().requires_grad_()
        term = ODETerm(self.field)
        self.session = Session(regularizers, grid, torch.Generator().manual_seed(seed))
        self.trajectory = SolveRequest(settings, self.session.wishes).solve(term, self.y0, grid)
        self.penalties = self.session.penalties(term, settings, self.trajectory.solution)

    def gradients(self, i: int) -> list[torch.Tensor]:
        return gradients(self.penalties[i], self.y0, self.field)


@pytest.mark.parametrize("grid", [(0.0, 2.0), (2.0, 1.7, 0.0)])
def test_penalties_that_draw_nothing_are_together_what_each_is_by_itself(grid: Grid) -> None:
    joint = Joint(FIXED, grid)
    for i, regularizer in enumerate(FIXED):
        field, y0 = TinyField(), start().requires_grad_()
        alone = regularizer.penalty(solved(regularizer, field, y0, grid, LOOSE))
        torch.testing.assert_close(joint.penalties[i], alone, rtol=1e-9, atol=0)
        if alone.requires_grad:
            assert off(joint.gradients(i), gradients(alone, y0, field)) < 1e-9


@pytest.mark.parametrize("regularizer", [RNODE(), LocalError(), LocalError("biased", 3)], ids=repr)
def test_penalty_that_draws_is_with_others_what_it_is_by_itself_from_the_same_draws(regularizer: Regularizer) -> None:
    joint = Joint((GlobalError(), regularizer, TayNODE()), seed=5)
    alone = regularizer.penalty(solved(regularizer, grid=(0.0, 2.0), settings=LOOSE, seed=5))
    torch.testing.assert_close(joint.penalties[1], alone, rtol=1e-9, atol=0)


def test_order_of_the_penalties_is_theirs_and_changes_no_value() -> None:
    forwards, backwards = Joint(FIXED).penalties, Joint(FIXED[::-1]).penalties
    torch.testing.assert_close(forwards, backwards.flip(0), rtol=1e-9, atol=0)


@pytest.mark.parametrize("grid", [(0.0, 2.0), (2.0, 0.0), (0.0, 0.5, 1.0, 2.0)])
@pytest.mark.parametrize("first", [True, False])
def test_with_moved_times_the_others_draw_theirs_from_the_span_that_is_solved(first: bool, grid: Grid) -> None:
    pair = (STEER(), LocalError(n_times=10)) if first else (LocalError(n_times=10), STEER())
    ends = set()
    for seed in range(6):
        joint = Joint(pair, grid, seed=seed)
        wishes = joint.session.wishes
        assert (wishes.grid[0], len(wishes.grid)) == (grid[0], len(grid))
        assert len(wishes.times) == 10
        assert all(min(wishes.grid) <= t <= max(wishes.grid) for t in wishes.times)
        assert joint.trajectory.solution.t1 == wishes.grid[-1]
        assert len(joint.trajectory.states) == len(grid) - 1
        assert joint.penalties[0 if first else 1] == 0
        assert joint.penalties[1 if first else 0] > 0
        ends.add(wishes.grid[-1])
    assert len(ends) > 2


@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name != "steer"])
def test_states_that_the_model_reads_are_those_without_a_penalty(name: str) -> None:
    grid = (0.0, 0.4, 1.1, 2.0)
    bare = Joint((NoRegularizer(),), grid).trajectory.states
    states = Joint((REGULARIZERS[name](), LocalError(n_times=4)), grid).trajectory.states
    torch.testing.assert_close(states, bare, rtol=1e-10, atol=1e-12)


def test_no_penalty_wishes_nothing() -> None:
    wishes = Session((), (0.0, 1.0), torch.Generator()).wishes
    assert (wishes.grid, wishes.times, wishes.differentiable_records) == ((0.0, 1.0), (), False)
    assert wishes.watch is None
    assert wishes.running_cost is None


# --- with a running cost, errors are of the state alone -------------------------------------------------------------


@pytest.mark.parametrize("other", [GlobalError(), GlobalStiffness(), PredictedSteps()], ids=repr)
@pytest.mark.parametrize("cost", [TayNODE(2), TayNODE(3), RNODE()], ids=repr)
def test_errors_beside_a_running_cost_have_one_gradient_with_checkpoints_and_on_the_tape(
    cost: Regularizer, other: Regularizer
) -> None:
    found = []
    for adjoint in ("checkpointed", "tape"):
        settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-3, atol=1e-4)
        joint = Joint((cost, other), (0.0, 0.7, 2.0), settings)
        total = joint.penalties.sum() + joint.trajectory.states.square().sum()
        found.append((joint.penalties.detach(), gradients(total, joint.y0, joint.field), joint.gradients(1)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-12, atol=0)
    assert off(found[0][1], found[1][1]) < 1e-10
    assert off(found[0][2], found[1][2]) < 1e-10
    # Nor does the cost change them.
    alone = Joint((other,), (0.0, 0.7, 2.0))
    torch.testing.assert_close(found[1][0][1], alone.penalties[0].detach(), rtol=1e-9, atol=0)
    assert off(found[1][2], alone.gradients(0)) < 1e-9


def test_global_penalty_beside_others_is_refused_by_what_does_not_differentiate_steps() -> None:
    with pytest.raises(InputError, match="differentiable_records: got true with Interpolating"):
        Joint((TayNODE(), GlobalError()), settings=SolveSettings(adjoint=ADJOINTS["interpolating"]()))
