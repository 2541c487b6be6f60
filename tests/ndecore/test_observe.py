"""Solves inside any model, observed: counts, records, penalties, settings and paths."""

import threading
from dataclasses import replace

import pytest
import torch
from initial_value_problems import TinyField
from penalized_solves import gradients, off, start
from torch import Tensor, nn
from wished_solves import SolveRequest

import ndecore
from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.datasets.digits import digits
from ndecore.errors import InputError, SolveFailed
from ndecore.integrate import SolveSettings
from ndecore.observing import Grid
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.rnode import RNODE
from ndecore.regularizers.schedules import Constant, DualAscent, Exponential, Linear, WarmUp
from ndecore.regularizers.steer import STEER
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.regularizers.taynode import TayNODE
from ndecore.regularizers.weighted import Session, Weighted
from ndecore.running_cost import RunningCost
from ndecore.solvers.rk4 import RK4
from ndecore.tasks.digits_node import DigitsNode
from ndecore.terms import ODETerm, SDETerm
from ndecore.training import TrainPlan, TrainState, train

LOOSE = SolveSettings(rtol=1e-3, atol=1e-4)


def two_solves(field: TinyField, y0: Tensor) -> Tensor:
    """A model with an encoder and a decoder."""
    code = ndecore.solve(field, y0, 0.0, 1.0, settings=LOOSE).y1
    return ndecore.solve(field, code, 1.0, 0.0, settings=LOOSE, ts=(0.8, 0.2)).ys


# --- counts and records ---------------------------------------------------------------------------------------------


def test_counts_and_records_are_those_of_all_solves_inside() -> None:
    field, y0 = TinyField(), start()
    code = ndecore.solve(field, y0, 0.0, 1.0, settings=LOOSE)
    output = ndecore.solve(field, code.y1, 1.0, 0.0, settings=LOOSE, ts=(0.8, 0.2))
    with ndecore.observe() as solves:
        found = two_solves(field, y0)
    torch.testing.assert_close(found, output.ys, rtol=0, atol=0)
    both = (code, output)
    assert len(solves) == 2
    assert solves.nfe == sum(each.stats.n_evaluations for each in both)
    assert solves.n_steps == sum(each.stats.n_accepted for each in both)
    assert solves.n_rejected == sum(each.stats.n_rejected for each in both)
    assert solves.nfe_diffusion == 0
    for name in ("error", "error_ratio", "stiffness", "dt"):
        expected = torch.cat([getattr(each.records, name) for each in both])
        torch.testing.assert_close(getattr(solves, name), expected, rtol=0, atol=0)
    assert solves[1].grid == (1.0, 0.8, 0.2, 0.0)
    assert (solves[0].solution.t1, solves[1].solution.t1) == (1.0, 0.0)
    assert solves[0].settings == LOOSE
    assert not solves.error.requires_grad


def test_no_solve_counts_nothing_and_has_no_penalty() -> None:
    with ndecore.observe(penalties=[GlobalError()]) as solves:
        pass
    assert (len(solves), solves.nfe, solves.n_steps, len(solves.error)) == (0, 0, 0, 0)
    for ask in (lambda: solves.penalties, solves.weighted_penalty, lambda: solves.penalty(GlobalStiffness())):
        with pytest.raises(InputError, match="no solve was made inside"):
            ask()


def test_solve_inside_a_vector_field_is_a_part_of_its_evaluation() -> None:
    inner = TinyField()

    def nested(t: Tensor, y: Tensor) -> Tensor:
        return ndecore.solve(inner, y, 0.0, 0.1, settings=LOOSE).y1

    with ndecore.observe(penalties=[LocalError()], generator=torch.Generator()) as solves:
        ndecore.solve(nested, start(), 0.0, 1.0, settings=LOOSE)
        assert solves.penalties[0] > 0
    assert len(solves) == 1


def test_nobody_observes_after_the_block_even_if_it_raised() -> None:
    with pytest.raises(SolveFailed), ndecore.observe() as solves:
        ndecore.solve(lambda t, y: y**3, torch.ones(1), 0.0, 1.0, throw=True)
    assert len(solves) == 1, "a solve that failed is seen too"
    two_solves(TinyField(), start())
    assert len(solves) == 1


def test_another_thread_is_not_observed() -> None:
    with ndecore.observe() as solves:
        other = threading.Thread(target=two_solves, args=(TinyField(), start()))
        other.start()
        other.join()
    assert len(solves) == 0


def test_structured_state_comes_back_as_it_was() -> None:
    def field(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": -y["x"], "z": y["x"].sum(1)}

    y0 = {"x": torch.ones(2, 3), "z": torch.zeros(2)}
    bare = ndecore.solve(field, y0, 0.0, 1.0, settings=LOOSE, ts=(0.5,))
    with ndecore.observe(penalties=[LocalError(n_times=3)]) as solves:
        found = ndecore.solve(field, y0, 0.0, 1.0, settings=LOOSE, ts=(0.5,))
        assert solves.penalties[0] > 0
    torch.testing.assert_close(found.ys, bare.ys, rtol=1e-6, atol=1e-7)
    assert found.ts == (0.5,)
    assert len(solves[0].solution.ts) == 4


# --- penalties ------------------------------------------------------------------------------------------------------

SEVERAL = (GlobalError(), LocalError(), TayNODE(), GlobalStiffness(), RNODE(), LocalError("biased", 2))


def by_request(regularizers: tuple[Regularizer, ...], grid: Grid, seed: int) -> tuple[Tensor, Tensor, Tensor, list]:
    field, y0 = TinyField(), start().requires_grad_()
    term = ODETerm(field)
    session = Session(regularizers, grid, torch.Generator().manual_seed(seed))
    states, solution = SolveRequest(LOOSE, session.wishes).solve(term, y0, grid)
    penalties = session.penalties(term, LOOSE, solution)
    total = penalties.sum() + states.square().sum()
    return states, solution.y1, penalties, gradients(total, y0, field)


@pytest.mark.parametrize("grid", [(0.0, 2.0), (2.0, 0.0), (0.0, 0.4, 1.1, 2.0)])
@pytest.mark.parametrize("regularizers", [SEVERAL, (STEER(), *SEVERAL), (*SEVERAL, STEER(distribution="gaussian"))])
def test_solve_reads_draws_and_costs_what_a_prepared_one_does(
    regularizers: tuple[Regularizer, ...], grid: Grid
) -> None:
    states, y1, penalties, slopes = by_request(regularizers, grid, 3)
    field, y0 = TinyField(), start().requires_grad_()
    ts = grid[1:] if len(grid) > 2 else ()
    with ndecore.observe(penalties=regularizers, generator=torch.Generator().manual_seed(3)) as solves:
        solution = ndecore.solve(field, y0, grid[0], grid[-1], settings=LOOSE, ts=ts)
    read = solution.ys if ts else solution.y1.unsqueeze(0)
    torch.testing.assert_close(read, states, rtol=0, atol=0)
    torch.testing.assert_close(solution.y1, y1, rtol=0, atol=0)
    torch.testing.assert_close(solves.penalties, penalties, rtol=0, atol=0)
    assert off(gradients(solves.penalties.sum() + read.square().sum(), y0, field), slopes) == 0
    assert (solution.t1, solution.ts, solution.costs) == (grid[-1], ts, None)
    for i, regularizer in enumerate(regularizers):
        assert solves.penalty(regularizer) == penalties[i]


def test_penalties_of_several_solves_are_summed() -> None:
    field, y0 = TinyField(), start()
    with ndecore.observe(penalties=[GlobalError(), TayNODE()], differentiable=True) as solves:
        two_solves(field, y0)
    separate = []
    for span in ((0.0, 1.0), (1.0, 0.0)):
        with ndecore.observe(penalties=[GlobalError(), TayNODE()]) as each:
            y0 = ndecore.solve(field, y0, *span, settings=LOOSE).y1
        separate.append(each.penalties)
    torch.testing.assert_close(solves.penalties, separate[0] + separate[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(solves.penalty(GlobalError(agg="sum")), GlobalError(agg="sum").penalty(solves))
    torch.testing.assert_close(ndecore.penalty(solves, GlobalError()), solves.penalties[0], rtol=0, atol=0)


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_global_penalty_of_a_bare_solution_is_that_of_a_prepared_one(adjoint: str) -> None:
    settings = replace(LOOSE, adjoint=ADJOINTS[adjoint]())
    field = TinyField()
    solution = ndecore.solve(field, start(), 0.0, 1.0, settings=settings, differentiable_records=True)
    with ndecore.observe(penalties=[GlobalError()]) as solves:
        ndecore.solve(field, start(), 0.0, 1.0, settings=settings)
    bare = GlobalError().penalty(solution)
    assert bare.requires_grad
    torch.testing.assert_close(bare, solves.penalties[0], rtol=0, atol=0)
    torch.testing.assert_close(ndecore.penalty(solution, GlobalError()), bare, rtol=0, atol=0)


def test_records_without_gradients_are_no_penalty_in_a_loss() -> None:
    field = TinyField()
    solution = ndecore.solve(field, start(), 0.0, 1.0, settings=LOOSE)
    with ndecore.observe() as solves:
        ndecore.solve(field, start(), 0.0, 1.0, settings=LOOSE)
    for ask in (lambda: GlobalError().penalty(solution), lambda: solves.penalty(GlobalError())):
        with pytest.raises(InputError, match="without gradients"):
            ask()
        with torch.no_grad():
            assert ask() > 0


def test_penalty_that_has_to_be_known_before_is_not_made_up_after() -> None:
    with ndecore.observe() as solves:
        solution = ndecore.solve(TinyField(), start(), 0.0, 1.0, settings=LOOSE)
    for regularizer in (LocalError(), TayNODE(), STEER(), RNODE()):
        with pytest.raises(InputError, match="known before the solve"):
            solves.penalty(regularizer)
        with pytest.raises(InputError, match="of a solution"):
            ndecore.penalty(solution, regularizer)


def test_penalty_of_another_kind_is_asked_for_as_ours_are() -> None:
    class LongestStep(Regularizer):
        needs_differentiable_records = False

        def penalty(self, context: PenaltyContext) -> Tensor:
            return context.solution.records.dt.abs().max()

    with ndecore.observe(penalties=[LongestStep()]) as solves:
        ndecore.solve(TinyField(), start(), 0.0, 1.0, settings=LOOSE)
    assert solves.penalty(LongestStep()) == solves.dt.max() == solves.penalties[0]


def test_penalty_that_the_solver_cannot_serve_is_refused_before_the_solve() -> None:
    rk4 = SolveSettings(RK4(), ConstantStep(0.1))
    with pytest.raises(InputError, match="no error estimate"), ndecore.observe(penalties=[GlobalError()]):
        ndecore.solve(TinyField(), start(), 0.0, 1.0, settings=rk4)
    foreign = SolveSettings(adjoint=ADJOINTS["torchdiffeq"]())
    solution = ndecore.solve(TinyField(), start(), 0.0, 1.0, settings=foreign)
    with pytest.raises(InputError, match="another library"):
        GlobalError().penalty(solution)


def test_callers_watch_and_running_cost_stay_its_own() -> None:
    class Length(RunningCost):
        n_costs = 1

        def __call__(self, t: Tensor, y: Tensor, slope: Tensor) -> Tensor:
            return slope.norm().reshape(1)

    def run() -> tuple[ndecore.Solution, list[float]]:
        times: list[float] = []
        solution = ndecore.solve(
            TinyField(),
            start(),
            0.0,
            1.0,
            settings=LOOSE,
            running_cost=Length(),
            watch=lambda t, y: times.append(t),
        )
        return solution, times

    bare, told = run()
    with ndecore.observe(penalties=[TayNODE(), LocalError("biased")]) as solves:
        seen, told_too = run()
    torch.testing.assert_close(seen.costs, bare.costs, rtol=1e-12, atol=0)
    assert told_too == told
    assert solves.penalties[0] > 0
    assert solves[0].solution.costs.shape == (1,)


# --- weights in anybody's loop --------------------------------------------------------------------------------------


class Classifier(nn.Module):
    """The digits' neural ODE as one would write it."""

    def __init__(self, seed: int, settings: SolveSettings) -> None:
        super().__init__()
        made = DigitsNode().model(torch.Generator().manual_seed(seed))
        self.layers = nn.Sequential(ndecore.NeuralODE(made[0].field, settings=settings), made[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize(
    "penalties",
    [
        (Weighted(GlobalError(), DualAscent(weight=1.0, budget=30.0)),),
        (Weighted(LocalError(), Exponential(10.0, 1.0, "step")), Weighted(GlobalStiffness(), WarmUp(0.1, 0.5))),
        (Weighted(STEER(), Constant(0.0)),),
    ],
)
def test_hand_made_loop_takes_the_steps_of_train(penalties: tuple[Weighted, ...]) -> None:
    hyper = replace(DigitsNode.defaults, epochs=1, batch_size=400)
    plan = TrainPlan(DigitsNode(), LOOSE, hyper, tuple(each.fresh() for each in penalties), seed=5)
    state = TrainState(plan)
    (record,) = train(plan, state)
    model, own = Classifier(5, LOOSE), tuple(each.fresh() for each in penalties)
    optimizer = torch.optim.SGD(model.parameters(), lr=hyper.learning_rate, momentum=hyper.momentum)
    order, times = torch.Generator().manual_seed(11), torch.Generator().manual_seed(12)
    data = digits().train
    batches = [
        chosen for chosen in torch.randperm(len(data["inputs"]), generator=order).split(400) if len(chosen) == 400
    ]
    nfe, work = [], 0
    for step, chosen in enumerate(batches):
        optimizer.zero_grad()
        with ndecore.observe(penalties=own, generator=times) as solves:
            loss = nn.functional.cross_entropy(model(data["inputs"][chosen]), data["targets"][chosen])
        (loss + solves.weighted_penalty(step=step, n_steps=len(batches), n_epochs=1)).backward()
        optimizer.step()
        nfe.append(solves[0].term.n_evaluations)
        work += solves.work
    for left, right in zip(model.parameters(), state.model.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert record.nfe_train == sum(nfe) / len(nfe)
    assert record.train_work == work
    assert [each.memory.seen for each in own] == [each.memory.seen for each in state.penalties]


def test_budget_remembers_one_step_for_each_that_was_asked() -> None:
    budget = Weighted(GlobalError(), DualAscent(weight=2.0, budget=5.0))
    weights = []
    for _ in range(3):
        with ndecore.observe(penalties=[budget]) as solves:
            ndecore.solve(TinyField(), start(), 0.0, 1.0, settings=LOOSE)
        assert solves.weighted_penalty() is solves.weighted_penalty()
        torch.testing.assert_close(solves.weighted_penalty(), solves.weights[0] * solves.penalties[0])
        weights += solves.weights
    assert weights[0] == 2.0
    assert weights[0] < weights[1] < weights[2], "over the budget the weight grows"
    again = Weighted(GlobalError(), budget.schedule)
    again.load_state_dict(budget.state_dict())
    assert again.memory == budget.memory
    assert again.memory.seen.nfe == solves.nfe
    assert budget.fresh().memory.seen is None
    assert again == budget.fresh(), "what is remembered is not what it is"


@pytest.mark.parametrize(
    ("schedule", "name"),
    [(Linear(1.0, 2.0), "n_epochs"), (WarmUp(1.0), "n_steps"), (Exponential(1.0, 2.0), "n_epochs")],
)
def test_schedule_that_paces_says_that_it_needs_the_length_of_the_training(schedule: object, name: str) -> None:
    with ndecore.observe(penalties=[Weighted(GlobalError(), schedule)]) as solves:
        ndecore.solve(TinyField(), start(), 0.0, 1.0, settings=LOOSE)
    with pytest.raises(InputError, match=f"{name}: got 0"):
        solves.weighted_penalty()
    assert solves.weighted_penalty(step=1, n_steps=2, epoch=1, n_epochs=2) > 0


# --- nesting, settings, paths ---------------------------------------------------------------------------------------


def test_model_that_observes_itself_hides_nothing_from_who_observes_the_model() -> None:
    def model() -> tuple[Tensor, int]:
        with ndecore.observe() as own:
            output = two_solves(TinyField(), start())
        return output, own.nfe

    with ndecore.observe(penalties=[GlobalError()], settings=SolveSettings(rtol=1e-2)) as solves:
        _, nfe = model()
        extra = ndecore.solve(TinyField(), start(), 0.0, 1.0)
    assert len(solves) == 3
    assert solves.nfe == nfe + extra.stats.n_evaluations
    assert solves[2].settings.rtol == 1e-2
    assert solves.penalties.requires_grad


def test_penalties_in_two_observers_are_refused() -> None:
    inner, outer = (ndecore.observe(penalties=[each]) for each in (GlobalError(), LocalError()))
    with outer, inner, pytest.raises(InputError, match="inside another"):
        two_solves(TinyField(), start())


def test_settings_are_for_solves_that_have_none_and_a_function_is_for_all() -> None:
    def run() -> None:
        ndecore.solve(TinyField(), start(), 0.0, 1.0)
        ndecore.solve(TinyField(), start(), 0.0, 1.0, settings=LOOSE)
        ndecore.NeuralODE(TinyField(), rtol=1e-2)(start())

    with ndecore.observe(settings=SolveSettings(rtol=1e-5, atol=1e-5)) as solves:
        run()
    found = [(each.settings.rtol, each.settings.atol) for each in solves]
    assert found == [(1e-5, 1e-5), (1e-3, 1e-4), (1e-2, 1e-5)]
    with ndecore.observe(settings=lambda own: replace(own, rtol=own.rtol / 10)) as solves:
        run()
    assert [each.settings.rtol for each in solves] == pytest.approx([1e-7, 1e-4, 1e-3])


def test_first_path_is_that_of_the_seed_and_the_others_derive_from_it() -> None:
    y0 = torch.ones(2, 3)
    block = ndecore.NeuralSDE(
        lambda t, y: -y, lambda t, y: 0.1 * y, settings=SolveSettings(ndecore.SOSRI(), rtol=1e-2, atol=1e-2)
    )
    with ndecore.observe(path_seed=7) as solves:
        found = [block(y0) for _ in range(3)]
    first = ndecore.BrownianTree(7, (2, 3), 0.0, 1.0)
    paths = [first, first.apart(1, 0.0, 1.0), first.apart(2, 0.0, 1.0)]
    for each, path in zip(found, paths, strict=True):
        term = SDETerm(block.drift, block.diffusion, path)
        torch.testing.assert_close(each, ndecore.solve(term, y0, 0.0, 1.0, settings=block.own.settings()).y1)
    assert solves.nfe_diffusion > 0
    assert isinstance(solves[0].term.path, ndecore.BrownianTree)


def test_without_a_seed_paths_come_from_the_default_generator() -> None:
    def drawn() -> Tensor:
        return ndecore.solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, torch.ones(2, 3), 0.0, 1.0).y1

    torch.manual_seed(0)
    first, second = drawn(), drawn()
    torch.manual_seed(0)
    torch.testing.assert_close(drawn(), first, rtol=0, atol=0)
    assert not torch.equal(first, second)


def test_path_spans_the_moved_end() -> None:
    sde = ndecore.NeuralSDE(lambda t, y: -y, lambda t, y: 0.1 * y, rtol=1e-2, atol=1e-2)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        with ndecore.observe(penalties=[STEER(), LocalError()], generator=generator, path_seed=1) as solves:
            sde(torch.ones(2, 3))
        assert solves[0].term.path.t1 == solves[0].solution.t1 != 1.0
        assert solves.penalties[1] > 0


def test_running_cost_of_a_penalty_is_refused_for_a_stochastic_equation() -> None:
    with pytest.raises(InputError, match=r"TayNODE .* stochastic equations"), ndecore.observe(penalties=[TayNODE()]):
        ndecore.solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, torch.ones(2, 3), 0.0, 1.0, path=1)
