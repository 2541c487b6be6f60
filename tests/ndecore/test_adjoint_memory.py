"""What an adjoint keeps between the forward and the backward pass, and that it lets go of it."""

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from initial_value_problems import TinyField
from torch import Tensor

from ndecore.adjoints import ADJOINTS
from ndecore.integrate import SolveSettings
from ndecore.solution import Solution
from ndecore.solvers import SOLVERS
from ndecore.solving import solve

N_MEMBERS = 500  # so that states stand out among all else that is alive
BYTES = N_MEMBERS * 2 * 8  # of a state
N_STAGES = SOLVERS["tsit5"].tableau.n_stages


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is freed is freed by counts of references, not by the collector of cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def bytes_alive() -> int:
    """Of the storages of all tensors that Python knows."""
    storages = {}
    for each in gc.get_objects():
        if type(each) in (Tensor, torch.nn.Parameter):
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def start() -> Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.randn(N_MEMBERS, 2, generator=draw, dtype=torch.float64).requires_grad_()


def solved(adjoint: str, y0: Tensor, field: TinyField, tolerance: float = 1e-6, **more: object) -> Solution:
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=tolerance, atol=tolerance)
    return solve(field, y0, 0.0, 3.0, settings=settings, **more).check()


def states_per_step(adjoint: str, **more: object) -> float:
    """By how many states what is kept grows with an accepted step."""
    y0, field, kept = start(), TinyField(), []
    for tolerance in (1e-4, 1e-9):
        gc.collect()
        before = bytes_alive()
        solution = solved(adjoint, y0, field, tolerance, **more)
        kept.append((solution.stats.n_accepted, (bytes_alive() - before) / BYTES))
        del solution
    (few, little), (many, much) = kept
    assert many - few >= 20
    return (much - little) / (many - few)


def test_checkpointed_keeps_two_states_of_a_step() -> None:
    assert states_per_step("checkpointed") < 2.1
    assert states_per_step("checkpointed", differentiable_records=True) < 2.1


def test_interpolating_keeps_the_stages_of_a_step_and_two_states() -> None:
    assert states_per_step("interpolating") < N_STAGES + 4.1


def test_adjoint_of_torchdiffeq_keeps_the_outputs_alone() -> None:
    assert states_per_step("torchdiffeq_adjoint") < 0.1


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_nothing_is_kept_of_a_solve_without_gradients(adjoint: str) -> None:
    y0, field = start(), TinyField()
    before = bytes_alive()
    with torch.no_grad():
        solution = solved(adjoint, y0, field, ts=[1.0])
    gc.collect()
    assert (bytes_alive() - before) / BYTES < 4.5  # the end and the outputs, of which torchdiffeq has more
    assert solution.y1.isfinite().all()


class Watched(TinyField):
    """A field that remembers the states that it saw, without keeping them alive."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[weakref.ref[Tensor]] = []

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.seen.append(weakref.ref(y))
        return super().forward(t, y)

    def alive(self, y0: Tensor) -> int:
        """Of the states seen, beside the start, which belongs to the caller."""
        return sum(state() is not None and state() is not y0 for state in self.seen)


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("passes", [0, 2])
@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_solution_is_freed_with_its_last_reference(adjoint: str, passes: int) -> None:
    y0, field = start(), Watched()
    asked = {"differentiable_records": True} if ADJOINTS[adjoint].differentiates_records else {}
    before = bytes_alive()
    solution = solved(adjoint, y0, field, ts=[0.5, 1.7], **asked)
    end = weakref.ref(solution.y1)
    for _ in range(passes):
        torch.autograd.grad(solution.y1.sum() + solution.ys.sum(), [y0, *field.parameters()], retain_graph=True)
    assert end() is not None
    del solution
    assert end() is None
    assert field.alive(y0) == 0
    assert bytes_alive() - before < BYTES


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("t1", [0.0, 1.0])
@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_solution_of_no_step_is_freed_too(adjoint: str, t1: float) -> None:
    y0 = 2 * start()
    settings = SolveSettings(adjoint=ADJOINTS[adjoint]())
    solution = solve(lambda t, y: torch.nan * y, y0, 0.0, t1, settings=settings, parameters=(), throw=False)
    end = weakref.ref(solution.y1)
    assert torch.equal(solution.y1, y0)
    del solution, y0
    assert end() is None


@pytest.mark.usefixtures("without_collector")
def test_tape_is_freed_after_a_backward_pass_that_was_recorded_itself() -> None:
    y0, field = start(), Watched()
    before = bytes_alive()
    solution = solved("tape", y0, field, ts=[0.5, 1.7])
    found = torch.autograd.grad(solution.y1.square().sum(), [y0, *field.parameters()], create_graph=True)
    del solution, found
    assert bytes_alive() - before < BYTES
