"""The methods: the mathematics of their tableaus, and the orders that follow from it."""

from dataclasses import replace
from functools import cache
from math import cos, exp, prod, sin

import numpy as np
import pytest
import torch
from initial_value_problems import Problem, forced, harmonic, slope_of, van_der_pol
from scipy.integrate import DOP853 as SCIPY_DOP853
from scipy.integrate import RK23, RK45, OdeSolver
from scipy.special import ellipj
from torch import Tensor

from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.controllers.step_to import StepTo
from ndecore.integrate import SolveSettings
from ndecore.norms import rms_norm
from ndecore.solution import Solution
from ndecore.solvers import SOLVERS
from ndecore.solvers.dop853 import DOP853
from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite
from ndecore.solvers.tsit5 import Tsit5
from ndecore.solving import solve
from ndecore.terms import ODETerm

METHODS: dict[str, type[ExplicitRungeKutta]] = {
    name: SOLVERS[name] for name in SOLVERS if issubclass(SOLVERS[name], ExplicitRungeKutta)
}  # implicit ones: test_rodas5p.py
WITH_ERROR = [name for name in METHODS if METHODS[name].error_order is not None]
WITH_STIFFNESS = [name for name in METHODS if METHODS[name].tableau.stiffness_stages is not None]
DENSE_ORDERS = {
    "euler": 1,
    "midpoint": 2,
    "rk4": 3,
    "heun": 2,
    "bosh3": 3,
    "tsit5": 4,
    "dopri5": 4,
    "dop853": 7,
}
Tree = tuple["Tree", ...]  # a rooted tree is the sorted tuple of the trees at its root
Weights = tuple[float, ...]
ROUNDING = 1e-13  # coefficients are published to 14 to 18 digits
DENSE_ROUNDING = dict.fromkeys(METHODS, ROUNDING) | {"dop853": 1e-12}  # its coefficients are up to 545


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """Every rooted tree with `order` vertices."""
    return ((),) if order == 1 else tuple(sorted({grown for tree in trees(order - 1) for grown in with_a_leaf(tree)}))


def with_a_leaf(tree: Tree) -> list[Tree]:
    """The tree with a leaf more, at each vertex where it can be."""
    inside = [(i, grown) for i, branch in enumerate(tree) for grown in with_a_leaf(branch)]
    return [tuple(sorted((*tree, ()))), *(tuple(sorted((*tree[:i], new, *tree[i + 1 :]))) for i, new in inside)]


def trees_up_to(order: int) -> list[Tree]:
    return [tree for vertices in range(1, order + 1) for tree in trees(vertices)]


@cache
def size(tree: Tree) -> int:
    return 1 + sum(map(size, tree))


@cache
def density(tree: Tree) -> int:
    return size(tree) * prod(map(density, tree))


@cache
def stage_values(name: str, tree: Tree) -> Weights:
    """phi_i([t_1 .. t_m]) = prod_k sum_j a_ij phi_j(t_k), for each stage i, those for the dense output included."""
    tableau = METHODS[name].tableau
    branches = [stage_values(name, branch) for branch in tree]
    rows = [(), *tableau.a, *tableau.further_a]
    return tuple(prod(sum(a * phi for a, phi in zip(row, phis, strict=False)) for phis in branches) for row in rows)


def defect(name: str, weights: Weights, tree: Tree, theta: float = 1.0) -> float:
    """By how much the weights miss the tree's order condition; stages for the dense output alone may be left out."""
    got = sum(weight * phi for weight, phi in zip(weights, stage_values(name, tree), strict=False))
    return abs(got - theta ** size(tree) / density(tree))


def largest_defect(name: str, weights: Weights, order: int, theta: float = 1.0) -> float:
    return max(defect(name, weights, tree, theta) for tree in trees_up_to(order))


def is_of_order_and_not_more(name: str, weights: Weights, order: int) -> bool:
    beyond = max(defect(name, weights, tree) for tree in trees(order + 1))
    return largest_defect(name, weights, order) < ROUNDING and beyond > 1e-5


def dense_weights(tableau: Tableau, theta: float) -> Weights:
    return tuple(sum(c * theta ** (j + 1) for j, c in enumerate(polynomial)) for polynomial in tableau.dense)


def embedded(weights: Weights, error: Weights) -> Weights:
    return tuple(b - e for b, e in zip(weights, error, strict=True))


def test_number_of_rooted_trees_up_to_order_eight_is_two_hundred() -> None:
    assert [len(trees(order)) for order in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@pytest.mark.parametrize("name", METHODS)
def test_solution_weights_satisfy_every_condition_up_to_the_order_and_not_beyond(name: str) -> None:
    method = METHODS[name]
    assert is_of_order_and_not_more(name, method.tableau.b, method.order)


@pytest.mark.parametrize("name", [name for name in WITH_ERROR if name != "dop853"])
def test_embedded_weights_are_of_one_order_less_than_the_solution_and_not_more(name: str) -> None:
    tableau = METHODS[name].tableau
    assert is_of_order_and_not_more(name, embedded(tableau.b, tableau.b_error), tableau.order - 1)
    assert METHODS[name].error_order == tableau.order


def test_embedded_weights_of_dop853_are_of_orders_five_and_three_and_not_more() -> None:
    tableau = DOP853.tableau
    assert is_of_order_and_not_more("dop853", embedded(tableau.b, tableau.b_error), 5)
    assert is_of_order_and_not_more("dop853", embedded(tableau.b, tableau.b_error_low), 3)
    # E5^2 / E3, with E5 of order 6 and E3 of order 4 in one step.
    assert DOP853.error_order == 2 * 6 - 4


@pytest.mark.parametrize("name", METHODS)
def test_interpolant_satisfies_every_condition_up_to_its_order_at_every_theta(name: str) -> None:
    # A defect is a polynomial of degree 7 at most in theta without constant term: zero at eight points, it is zero.
    tableau, order = METHODS[name].tableau, DENSE_ORDERS[name]
    for theta in (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0):
        assert largest_defect(name, dense_weights(tableau, theta), order, theta) < DENSE_ROUNDING[name]


@pytest.mark.parametrize("name", WITH_STIFFNESS)
def test_stiffness_is_told_at_the_end_of_the_step_by_the_solution_and_a_stage_before(name: str) -> None:
    tableau = METHODS[name].tableau
    assert tableau.stiffness_stages == (tableau.n_stages - 2, tableau.n_stages - 1)
    assert {tableau.c[stage] for stage in tableau.stiffness_stages} == {1.0}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WITH_STIFFNESS])
def test_method_without_a_stiffness_estimate_has_no_stages_for_one(name: str) -> None:
    later = METHODS[name].tableau.c[1:]
    assert len(set(later)) == len(later)


TABLEAU = Tsit5.tableau
WRONG_ERROR = (*TABLEAU.b_error[:-1], -TABLEAU.b_error[-1])  # the sign that the paper prints
WRONG_A = (*TABLEAU.a[:2], (2.8971530571054935, -6.359448489975075, 4.36), *TABLEAU.a[3:])
WRONG_DENSE = ((1.0, -2.7637, 2.9132, -1.0531), *TABLEAU.dense[1:])
WRONG_B = (0.5 * TABLEAU.b[0], TABLEAU.b[1] + 0.5 * TABLEAU.b[0], *TABLEAU.b[2:])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"b_error": WRONG_ERROR}, "error weights"),
        ({"b_error_low": WRONG_ERROR}, "error weights"),
        ({"b_error": TABLEAU.b_error[:-1]}, "one error weight"),
        ({"a": WRONG_A}, "row sums"),
        ({"a": TABLEAU.a[:-1]}, "one row of a"),
        ({"dense": WRONG_DENSE}, "dense output"),
        ({"dense": TABLEAU.dense[:-1]}, "one polynomial"),
        ({"b": WRONG_B, "a": (*TABLEAU.a[:-1], WRONG_B[:-1])}, "quadrature"),
        ({"b": WRONG_B}, "last stage"),
        ({"b": TABLEAU.b[:-1]}, "one weight"),
        ({"order": 6}, "quadrature"),
        ({"stiffness_stages": (3, 6)}, "at one time"),
        ({"stiffness_stages": (0, 6)}, "after the first"),
        ({"further_c": (0.5,)}, "further stage"),
    ],
)
def test_tableau_refuses_wrong_coefficients(change: dict[str, object], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        replace(TABLEAU, **change)


def test_further_stages_with_wrong_coefficients_are_refused() -> None:
    with pytest.raises(AssertionError, match="row sums"):
        replace(DOP853.tableau, further_c=(0.1, 0.2, 0.7))


def test_method_whose_last_stage_is_not_its_solution_is_refused() -> None:
    with pytest.raises(AssertionError, match="last stage"):
        Tableau(2, (0.0, 0.5), ((0.5,),), (0.0, 1.0), ((0.0, 0.0), (1.0, 0.0)))


def test_cubic_dense_output_has_the_values_and_slopes_of_both_ends() -> None:
    b = (0.25, 0.75, 0.0)
    polynomials = hermite(b)
    slopes = [[sum((j + 1) * c * x**j for j, c in enumerate(p)) for p in polynomials] for x in (0.0, 1.0)]
    assert [sum(p) for p in polynomials] == pytest.approx(b)
    assert slopes == [pytest.approx([1.0, 0.0, 0.0]), pytest.approx([0.0, 0.0, 1.0])]


# Starts where no error coefficient of a method nearly vanishes: there a slope is that of the next order.
SMOOTH = (Problem("van-der-pol", van_der_pol, (1.0, 1.5), 0.0, 2.0), Problem("forced", forced, (0.8,), 0.0, 3.0))


def forced_decay(t: Tensor, y: Tensor) -> Tensor:
    return torch.cos(t) - y


def rigid_body(t: Tensor, y: Tensor) -> Tensor:
    """Free rotation: the three Jacobi elliptic functions sn, cn, dn with parameter 0.51."""
    return torch.stack([y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]])


# Solved by formulas: with steps so small that the term of the order rules (Tsit5 is made to have a small one), errors
# come down to 1e-12, where another solver is no longer a reference. Spans are no periods of their problems, at which
# errors cancel.
SOLVED = {
    "linear": (Problem("harmonic", harmonic, (1.0, 0.0), 0.0, 10.0), (cos(10.0), -sin(10.0))),
    "time-dependent": (
        Problem("forced decay", forced_decay, (1.0,), 0.0, 7.0),
        (0.5 * (cos(7.0) + sin(7.0) + exp(-7.0)),),
    ),
    "nonlinear": (Problem("rigid body", rigid_body, (0.0, 1.0, 1.0), 0.0, 8.0), tuple(ellipj(8.0, 0.51)[:3])),
}
# Numbers of steps, by the order of the method: errors above rounding, and the term of the order rules.
COUNTS = {
    1: [256, 384, 512],
    2: [96, 128, 192],
    3: [64, 96, 128],
    4: [64, 96, 128],
    5: [96, 128, 192],
    8: [16, 20, 24, 28],
}
LARGEST_STEPS = {2: 0.02, 3: 0.02, 5: 0.08, 8: 0.08}


def in_equal_steps(name: str, problem: Problem, n: int, ts: list[float] | None = None) -> Solution:
    settings = SolveSettings(METHODS[name](), StepTo(((problem.t1 - problem.t0) / n,) * n))
    solution = solve(problem.field, problem.start(), problem.t0, problem.t1, settings=settings, ts=ts or [])
    assert solution.stats.n_accepted == n
    return solution.check()


def global_slope(name: str, problem: Problem, exact: tuple[float, ...]) -> float:
    counts, end = COUNTS[METHODS[name].order], torch.tensor(exact, dtype=torch.float64)
    errors = [(in_equal_steps(name, problem, n).y1 - end).norm().item() for n in counts]
    return slope_of([1 / n for n in counts], errors)


def dense_slope(name: str, problem: Problem) -> float:
    ts = torch.linspace(problem.t0, problem.t1, 101, dtype=torch.float64).tolist()
    exact = problem.reference(ts)
    counts = [n if METHODS[name].order == 8 else n // 4 for n in COUNTS[METHODS[name].order]]
    errors = [(in_equal_steps(name, problem, n, ts).ys - exact).abs().max().item() for n in counts]
    return slope_of([1 / n for n in counts], errors)


def estimate_slope(name: str, problem: Problem) -> float:
    solver, term, start = METHODS[name](), ODETerm(problem.field), problem.start()
    carry = solver.start(term, problem.t0, start)
    steps = [LARGEST_STEPS[solver.order] / 2 ** (k / 2) for k in range(5)]
    errors = [solver.step(term, problem.t0, dt, start, carry).differences().error.norm().item() for dt in steps]
    return slope_of(steps, errors)


@pytest.mark.parametrize("problem", SOLVED)
@pytest.mark.parametrize("name", METHODS)
def test_global_error_is_of_the_method_s_order_in_the_step(name: str, problem: str) -> None:
    assert global_slope(name, *SOLVED[problem]) == pytest.approx(METHODS[name].order, abs=0.25)


@pytest.mark.parametrize("problem", SMOOTH, ids=lambda problem: problem.name)
@pytest.mark.parametrize("name", METHODS)
def test_dense_output_is_at_least_of_its_order_in_the_step(name: str, problem: Problem) -> None:
    assert dense_slope(name, problem) > min(METHODS[name].order, DENSE_ORDERS[name]) - 0.25


@pytest.mark.parametrize("problem", SMOOTH, ids=lambda problem: problem.name)
@pytest.mark.parametrize("name", WITH_ERROR)
def test_error_estimate_of_one_step_is_of_its_order(name: str, problem: Problem) -> None:
    assert estimate_slope(name, problem) == pytest.approx(METHODS[name].error_order, abs=0.3)


@pytest.mark.parametrize("rate", [-30.0, -1.0, -0.01, 0.5, 20.0])
@pytest.mark.parametrize("name", METHODS)
def test_stiffness_of_a_scalar_linear_equation_is_its_rate_where_a_method_tells_it(name: str, rate: float) -> None:
    settings, span = SolveSettings(METHODS[name](), ConstantStep(0.5 / abs(rate))), 2.0 / abs(rate)
    solution = solve(lambda t, y: rate * y, torch.ones(1, dtype=torch.float64), 0.0, span, settings=settings).check()
    stiffness = solution.records.stiffness
    expected = abs(rate) if name in WITH_STIFFNESS else 0.0
    torch.testing.assert_close(stiffness, torch.full_like(stiffness, expected), rtol=1e-6, atol=0)
    assert solution.stats.n_accepted == 4


@pytest.mark.parametrize("name", sorted(set(WITH_STIFFNESS) & set(WITH_ERROR)))
def test_stiffness_is_the_spectral_radius_where_stability_limits_the_step(name: str) -> None:
    # There the fast component dominates the difference of the two stages, although it is long gone from the solution.
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    matrix = rotation @ torch.diag(torch.tensor([-1.0, -3.0, -60.0], dtype=torch.float64)) @ rotation.T
    settings = SolveSettings(METHODS[name](), rtol=1e-4, atol=1e-4)
    solution = solve(lambda t, y: y @ matrix, torch.ones(3, dtype=torch.float64), 0.0, 5.0, settings=settings).check()
    assert solution.records.stiffness.max().item() <= 60 * (1 + 1e-6)
    assert solution.records.stiffness.median().item() == pytest.approx(60, rel=0.05)


@pytest.mark.parametrize("name", METHODS)
def test_stability_size_is_where_the_amplification_leaves_the_unit_interval(name: str) -> None:
    method = METHODS[name]
    term = ODETerm(lambda t, y: -y)
    one = torch.ones(1, dtype=torch.float64)

    def amplification(dt: float) -> float:
        return abs(method().step(term, 0.0, dt, one, -one).y1.item())

    assert amplification(method.stability_size - 1e-4) < 1 < amplification(method.stability_size + 1e-4)
    assert max(amplification(0.1 * k) for k in range(1, int(10 * method.stability_size))) < 1


@pytest.mark.parametrize("name", METHODS)
def test_evaluations_are_one_and_a_probe_and_those_of_each_attempt(name: str) -> None:
    method, problem = METHODS[name], SMOOTH[0]
    adaptive = method.error_order is not None
    settings = SolveSettings(method(), IController() if adaptive else ConstantStep(0.01), rtol=1e-3, atol=1e-3)
    stats = solve(problem.field, problem.start(), problem.t0, problem.t1, settings=settings).check().stats
    attempts = stats.n_accepted + stats.n_rejected
    assert stats.n_evaluations == 1 + adaptive + method.evaluations_per_step * attempts


def test_evaluations_per_step_are_those_of_the_literature() -> None:
    assert {name: METHODS[name].evaluations_per_step for name in METHODS} == {
        "euler": 1,
        "midpoint": 2,
        "rk4": 4,
        "heun": 2,
        "bosh3": 3,
        "tsit5": 6,
        "dopri5": 6,
        "dop853": 12,
    }
    assert {name: METHODS[name].evaluations_per_output for name in METHODS} == dict.fromkeys(METHODS, 0) | {"dop853": 3}


@pytest.mark.parametrize(("name", "reference"), [("bosh3", RK23), ("dopri5", RK45), ("dop853", SCIPY_DOP853)])
def test_step_its_outputs_and_its_error_are_those_of_scipy(name: str, reference: type[OdeSolver]) -> None:
    problem, dt, ts = SMOOTH[0], 0.3, [0.05, 0.12, 0.29]

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        return problem.field(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y)).numpy()

    theirs = reference(slope, 0.0, problem.start().numpy(), dt, first_step=dt, rtol=1e3, atol=1e3)
    theirs.step()
    outputs = torch.from_numpy(theirs.dense_output()(np.array(ts)).T.copy())
    error = theirs._estimate_error_norm(theirs.K, dt, np.ones(2))
    solver, term = METHODS[name](), ODETerm(problem.field)
    ours = solver.step(term, 0.0, dt, problem.start(), solver.start(term, 0.0, problem.start()))
    torch.testing.assert_close(ours.y1, torch.from_numpy(theirs.y), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(ours.interpolate(ts), outputs, rtol=1e-13, atol=1e-13)
    assert rms_norm(ours.differences().error).item() == pytest.approx(error, rel=1e-9)
