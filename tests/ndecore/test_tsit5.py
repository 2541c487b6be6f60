"""Tsit5: the mathematics of its tableau, and the orders that follow from it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations_with_replacement
from math import cos, exp, prod, sin

import pytest
import torch
from initial_value_problems import Problem, forced, harmonic, slope_of, van_der_pol

from ndecore.controllers.step_to import StepTo
from ndecore.integrate import SolveSettings
from ndecore.solving import solve
from ndecore.solution import Solution
from ndecore.solvers.tableau import Tableau
from ndecore.solvers.tsit5 import Tsit5
from ndecore.terms import ODETerm

TABLEAU = Tsit5.tableau
Tree = tuple["Tree", ...]  # a rooted tree is the sorted tuple of the trees at its root
ROUNDING = 1e-13


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """Every rooted tree with `order` vertices."""
    return tuple(sorted({tuple(sorted(forest)) for forest in forests(order - 1)}))


def forests(vertices: int) -> Iterator[Tree]:
    smaller = [tree for order in range(1, vertices + 1) for tree in trees(order)]
    for count in range(vertices + 1):
        for forest in combinations_with_replacement(smaller, count):
            if sum(map(size, forest)) == vertices:
                yield forest


def size(tree: Tree) -> int:
    return 1 + sum(map(size, tree))


def density(tree: Tree) -> int:
    return size(tree) * prod(map(density, tree))


def stage_values(tree: Tree) -> list[float]:
    """phi_i([t_1 .. t_m]) = prod_k sum_j a_ij phi_j(t_k), for each stage i."""
    branches = [stage_values(branch) for branch in tree]
    rows = [(), *TABLEAU.a]
    return [prod(sum(a * phi for a, phi in zip(row, values, strict=False)) for values in branches) for row in rows]


def weighted(weights: tuple[float, ...], tree: Tree) -> float:
    return sum(b * phi for b, phi in zip(weights, stage_values(tree), strict=True))


def trees_up_to(order: int) -> list[Tree]:
    return [tree for vertices in range(1, order + 1) for tree in trees(vertices)]


def test_number_of_rooted_trees_up_to_order_five_is_seventeen() -> None:
    assert [len(trees(order)) for order in range(1, 6)] == [1, 1, 2, 4, 9]


@pytest.mark.parametrize("tree", trees_up_to(5), ids=str)
def test_solution_weights_satisfy_every_condition_up_to_order_five(tree: Tree) -> None:
    assert weighted(TABLEAU.b, tree) == pytest.approx(1 / density(tree), abs=ROUNDING)


def test_embedded_weights_are_of_order_four_and_not_five() -> None:
    embedded = tuple(b - e for b, e in zip(TABLEAU.b, TABLEAU.b_error, strict=True))
    defects = {tree: abs(weighted(embedded, tree) - 1 / density(tree)) for tree in trees_up_to(5)}
    assert max(defects[tree] for tree in trees_up_to(4)) < ROUNDING
    assert max(defects[tree] for tree in trees(5)) > 1e-5


@pytest.mark.parametrize("tree", trees_up_to(4), ids=str)
def test_interpolant_satisfies_every_condition_up_to_order_four_at_every_theta(tree: Tree) -> None:
    # The defect is a polynomial of degree 4 in theta without constant term: zero at more than four points, it is zero.
    for theta in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0):
        got = weighted(TABLEAU.dense_weights(theta), tree)
        assert got == pytest.approx(theta ** size(tree) / density(tree), abs=ROUNDING)


def test_nodes_of_the_stiffness_stages_are_equal_and_the_last_stage_is_reused() -> None:
    assert TABLEAU.stiffness_stages is not None
    assert {TABLEAU.c[stage] for stage in TABLEAU.stiffness_stages} == {1.0}
    assert TABLEAU.is_fsal


WRONG_ERROR = (*TABLEAU.b_error[:-1], -TABLEAU.b_error[-1])  # the sign that the paper prints
WRONG_A = (*TABLEAU.a[:2], (2.8971530571054935, -6.359448489975075, 4.36), *TABLEAU.a[3:])
WRONG_DENSE = ((1.0, -2.7637, 2.9132, -1.0531), *TABLEAU.dense[1:])
WRONG_B = (0.5 * TABLEAU.b[0], TABLEAU.b[1] + 0.5 * TABLEAU.b[0], *TABLEAU.b[2:])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"b_error": WRONG_ERROR}, "error weights"),
        ({"a": WRONG_A}, "row sums"),
        ({"a": TABLEAU.a[:-1]}, "one row of a"),
        ({"dense": WRONG_DENSE}, "dense output"),
        ({"b": WRONG_B}, "quadrature"),
        ({"b": TABLEAU.b[:-1]}, "one weight"),
        ({"order": 6}, "quadrature"),
        ({"stiffness_stages": (3, 6)}, "at one time"),
    ],
)
def test_tableau_refuses_wrong_coefficients(change: dict[str, object], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        replace(TABLEAU, **change)


def test_method_whose_last_stage_is_not_its_solution_is_refused() -> None:
    with pytest.raises(AssertionError, match="last stage"):
        Tableau(2, (0.0, 0.5), ((0.5,),), (0.0, 1.0), ((0.0, 0.0), (1.0, 0.0)))


SMOOTH = (Problem("van-der-pol", van_der_pol, (2.0, 0.0), 0.0, 2.0), Problem("forced", forced, (0.4,), 1.0, 4.0))


def in_equal_steps(problem: Problem, n: int, ts: list[float] | None = None) -> Solution:
    settings = SolveSettings(controller=StepTo(((problem.t1 - problem.t0) / n,) * n))
    solution = solve(problem.field, problem.start(), problem.t0, problem.t1, settings=settings, ts=ts or [])
    assert solution.stats.n_accepted == n
    return solution.check()


# Solved by formulas: with steps so small that the term of order five rules (Tsit5 is made to have a small one), errors
# come down to 1e-12, where another solver is no longer a reference.
SOLVED = {
    "linear": (Problem("harmonic", harmonic, (1.0, 0.0), 0.0, 10.0), (cos(10.0), -sin(10.0))),
    "time-dependent": (Problem("exp(sin t)", lambda t, y: y * torch.cos(t), (1.0,), 0.0, 10.0), (exp(sin(10.0)),)),
    "nonlinear": (Problem("riccati", lambda t, y: y**2 * torch.sin(t), (0.4,), 0.0, 6.0), (1 / (1.5 + cos(6.0)),)),
}


@pytest.mark.parametrize("name", SOLVED)
def test_global_error_is_of_order_five_in_the_step(name: str) -> None:
    problem, exact = SOLVED[name]
    counts = [128, 192, 256, 384, 512]
    errors = [(in_equal_steps(problem, n).y1 - torch.tensor(exact, dtype=torch.float64)).norm().item() for n in counts]
    assert slope_of([1 / n for n in counts], errors) == pytest.approx(Tsit5.order, abs=0.25)


@pytest.mark.parametrize("problem", SMOOTH, ids=lambda problem: problem.name)
def test_dense_output_is_at_least_of_order_four_in_the_step(problem: Problem) -> None:
    ts = torch.linspace(problem.t0, problem.t1, 101, dtype=torch.float64).tolist()
    exact = problem.reference(ts)
    counts = [16, 24, 32, 48, 64]
    errors = [(in_equal_steps(problem, n, ts).ys - exact).abs().max().item() for n in counts]
    assert slope_of([1 / n for n in counts], errors) > 4 - 0.25


@pytest.mark.parametrize("problem", SMOOTH, ids=lambda problem: problem.name)
def test_error_estimate_of_one_step_is_of_its_order(problem: Problem) -> None:
    term, start = ODETerm(problem.field), problem.start()
    solver = Tsit5()
    carry = solver.start(term, problem.t0, start)
    steps = [0.2 / 2**k for k in range(5)]
    errors = [solver.step(term, problem.t0, dt, start, carry).differences().error.norm().item() for dt in steps]
    assert slope_of(steps, errors) == pytest.approx(Tsit5.error_order, abs=0.25)


@pytest.mark.parametrize("rate", [-30.0, -1.0, -0.01, 0.5, 20.0])
def test_stiffness_of_a_scalar_linear_equation_is_its_rate(rate: float) -> None:
    records = solve(lambda t, y: rate * y, torch.tensor([1.0], dtype=torch.float64), 0.0, 1.0).check().records
    torch.testing.assert_close(records.stiffness, torch.full_like(records.stiffness, abs(rate)), rtol=1e-6, atol=0)


def test_stiffness_is_the_spectral_radius_where_stability_limits_the_step() -> None:
    # There the fast component dominates the difference of the two stages, although it is long gone from the solution.
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    matrix = rotation @ torch.diag(torch.tensor([-1.0, -3.0, -60.0], dtype=torch.float64)) @ rotation.T
    settings = SolveSettings(rtol=1e-4, atol=1e-4)
    solution = solve(lambda t, y: y @ matrix, torch.ones(3, dtype=torch.float64), 0.0, 5.0, settings=settings).check()
    assert solution.records.stiffness.max().item() <= 60 * (1 + 1e-6)
    assert solution.records.stiffness.median().item() == pytest.approx(60, rel=0.05)


def test_stability_size_is_where_the_amplification_leaves_the_unit_interval() -> None:
    term = ODETerm(lambda t, y: -y)
    one = torch.ones(1, dtype=torch.float64)

    def amplification(dt: float) -> float:
        return abs(Tsit5().step(term, 0.0, dt, one, -one).y1.item())

    assert amplification(Tsit5.stability_size - 0.01) < 1 < amplification(Tsit5.stability_size + 0.01)
