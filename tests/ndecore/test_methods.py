"""The methods: the mathematics of their tableaus, and the orders that follow from it."""

from dataclasses import replace
from functools import cache
from math import cos, exp, prod, sin

import pytest
import torch
from initial_value_problems import Problem, forced, harmonic, slope_of, van_der_pol

from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.controllers.step_to import StepTo
from ndecore.integrate import SolveSettings
from ndecore.solution import Solution
from ndecore.solvers import SOLVERS
from ndecore.solvers.dop853 import DOP853
from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite
from ndecore.solvers.tsit5 import Tsit5
from ndecore.solving import solve
from ndecore.terms import ODETerm

METHODS: dict[str, type[ExplicitRungeKutta]] = {name: SOLVERS[name] for name in SOLVERS}
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
# Coefficients are published to 14 to 18 digits; those of DOP853 are up to 50, those of its dense output up to 3000.
ROUNDING = dict.fromkeys(METHODS, 1e-13) | {"dop853": 1e-12}
DENSE_ROUNDING = dict.fromkeys(METHODS, 1e-13) | {"dop853": 1e-11}


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
    return largest_defect(name, weights, order) < ROUNDING[name] and beyond > 1e-5


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


SMOOTH = (Problem("van-der-pol", van_der_pol, (2.0, 0.0), 0.0, 2.0), Problem("forced", forced, (0.4,), 1.0, 4.0))


def in_equal_steps(name: str, problem: Problem, n: int, ts: list[float] | None = None) -> Solution:
    settings = SolveSettings(METHODS[name](), StepTo(((problem.t1 - problem.t0) / n,) * n))
    solution = solve(problem.field, problem.start(), problem.t0, problem.t1, settings=settings, ts=ts or [])
    assert solution.stats.n_accepted == n
    return solution.check()


# Solved by formulas: with steps so small that the term of the order rules (Tsit5 is made to have a small one), errors
# come down to 1e-12, where another solver is no longer a reference.
SOLVED = {
    "linear": (Problem("harmonic", harmonic, (1.0, 0.0), 0.0, 10.0), (cos(10.0), -sin(10.0))),
    "time-dependent": (Problem("exp(sin t)", lambda t, y: y * torch.cos(t), (1.0,), 0.0, 10.0), (exp(sin(10.0)),)),
    "nonlinear": (Problem("riccati", lambda t, y: y**2 * torch.sin(t), (0.4,), 0.0, 6.0), (1 / (1.5 + cos(6.0)),)),
}
