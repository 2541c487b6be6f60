"""The problems of DETEST by every adaptive method: 30 of 30."""

from functools import cache

import pytest
import torch
from torch import Tensor

from studies.benchmarks.detest import OURS, ours
from studies.benchmarks.detest_problems import PROBLEMS, Detest

# Of one problem of each class, y(20) as SciPy's DOP853 has it at 1e-12.
QUICK = {problem.name: problem for problem in PROBLEMS if problem.name in ("A3", "B1", "C3", "D3", "E2", "F4")}


def test_there_are_five_problems_in_each_of_six_classes() -> None:
    assert [problem.name for problem in PROBLEMS] == [f"{letter}{i}" for letter in "ABCDEF" for i in range(1, 6)]


def test_solutions_that_are_known_are_met() -> None:
    known = {"A1": 2.061153622438558e-9, "A2": 0.2182178902359924, "A3": 2.491650271850414, "A4": 17.73016648131483}
    for problem in PROBLEMS:
        if problem.name in known:  # the values that Hull's report prints
            assert problem.reference().item() == pytest.approx(known[problem.name], rel=1e-6)


def test_orbits_keep_their_energy_and_planets_their_centre() -> None:
    for problem in PROBLEMS:
        if problem.name.startswith("D"):
            y = problem.reference()
            energy = y[2:].square().sum() / 2 - 1 / y[:2].norm()
            assert energy.item() == pytest.approx(-0.5, abs=1e-9)


@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize("name", QUICK)
def test_one_problem_of_each_class_is_solved(name: str, method: str) -> None:
    assert_solved(QUICK[name], method, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_every_problem_is_solved(problem: Detest, method: str) -> None:
    assert_solved(problem, method, 1e-6)


def assert_solved(problem: Detest, method: str, tolerance: float) -> None:
    with torch.no_grad():
        assert ours(problem, reference(problem), method, tolerance).error < 3000


@cache
def reference(problem: Detest) -> Tensor:
    return problem.reference()


@pytest.mark.parametrize("name", ["F4", pytest.param("F2", marks=pytest.mark.slow)])
def test_jumps_that_are_known_cost_less(name: str) -> None:
    (problem,) = (each for each in PROBLEMS if each.name == name)
    with torch.no_grad():
        known, unknown = (ours(problem, reference(problem), "tsit5", 1e-6, knows) for knows in (True, False))
    assert known.evaluations < unknown.evaluations
    assert known.error < 1000
