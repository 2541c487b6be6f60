"""Fronts, volumes and choices against definitions, closed forms and constructed cases."""

import math
import timeit
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up_studies import OBJECTIVES, study_of, trial

from ndecore.errors import InputError
from ndecore.metrics import METRICS
from reports.choice import knee_trial
from reports.pareto import best, cheapest, cost_matrix, front, hypervolume, knee, non_dominated, study_hypervolume

# A coarse grid, so that ties and duplicates are common.
VALUES = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, math.nan, math.inf, -math.inf])
COSTS = st.tuples(st.integers(0, 12), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=VALUES)
)
FINITE = st.tuples(st.integers(1, 8), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 6).map(float))
)


def dominates(a, b):
    return bool(np.isfinite(a).all() and (a <= b).all() and (a < b).any())


@given(COSTS)
def test_the_mask_is_the_definition(costs):
    expected = [np.isfinite(p).all() and not any(dominates(q, p) for q in costs) for p in costs]
    assert non_dominated(costs).tolist() == expected


def test_duplicates_of_a_front_point_are_all_kept():
    assert non_dominated(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0], [0.0, 3.0]])).tolist() == [
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_point_that_is_not_finite_is_never_on_the_front_and_dominates_nothing(value):
    assert non_dominated(np.array([[value, -9.0], [1.0, 1.0]])).tolist() == [False, True]


def test_no_points_have_no_front_and_no_volume():
    assert non_dominated(np.empty((0, 3))).tolist() == []
    assert hypervolume(np.empty((0, 3)), (1.0, 1.0, 1.0)) == 0.0


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5])
def test_the_volume_of_one_point_is_its_box(dimension):
    reference = np.arange(1.0, dimension + 1.0)
    assert hypervolume(np.zeros((1, dimension)), reference) == math.prod(reference)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([[1, 3], [2, 2], [3, 1]], 1 + 2 + 3),  # a staircase up to (4, 4)
        ([[1, 3, 3], [3, 1, 3], [3, 3, 1]], 3 * 3 - 3 + 1),  # three bars that share the corner cube
        ([[2, 2, 2], [3, 3, 0]], 8 + 4 - 2),
        ([[2, 4 - 1e-300, 0], [2, 2, 2]], 8),
    ],
)
def test_volumes_in_two_and_three_dimensions_agree_with_closed_forms(costs, expected):
    costs = np.array(costs, dtype=float)
    assert hypervolume(costs, [4.0] * costs.shape[1]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dimension", [2, 3, 4, 5])
def test_the_volume_of_crossing_bars_is_inclusion_and_exclusion(dimension):
    """Bar i is [0, 1] long along i and [0, 1/2] wide: the bars meet in one cube, which all but one count too often."""
    costs = np.full((dimension, dimension), 0.5)
    np.fill_diagonal(costs, 0.0)
    bar, cube = 0.5 ** (dimension - 1), 0.5**dimension
    assert hypervolume(costs, np.ones(dimension)) == pytest.approx(dimension * bar - (dimension - 1) * cube, rel=1e-14)


@pytest.mark.parametrize("dimension", [3, 4])
def test_the_volume_agrees_with_monte_carlo(dimension):
    """Within five standard errors: alpha below 1e-6, and the seed is fixed."""
    rng = np.random.default_rng(7)
    costs = rng.uniform(size=(15, dimension))
    samples = rng.uniform(size=(50_000, dimension))
    share = (samples[:, None, :] >= costs[None]).all(axis=2).any(axis=1).mean()
    tolerance = 5.0 * math.sqrt(share * (1.0 - share) / len(samples))
    assert hypervolume(costs, np.ones(dimension)) == pytest.approx(share, abs=tolerance)


@given(FINITE, st.randoms(use_true_random=False))
def test_the_volume_does_not_depend_on_order_duplicates_or_dominated_points(costs, random):
    reference = np.full(costs.shape[1], 5.0)
    order = random.sample(range(len(costs)), len(costs))
    volume = hypervolume(costs, reference)
    assert hypervolume(costs[order], reference) == pytest.approx(volume, rel=1e-12)
    assert hypervolume(np.vstack([costs, costs]), reference) == pytest.approx(volume, rel=1e-12)
    assert hypervolume(costs[non_dominated(costs)], reference) == pytest.approx(volume, rel=1e-12)


@given(FINITE)
def test_the_volume_never_shrinks_when_a_point_is_added(costs):
    reference = np.full(costs.shape[1], 5.0)
    volumes = [hypervolume(costs[:n], reference) for n in range(len(costs) + 1)]
    assert all(after >= before - 1e-9 for before, after in pairwise(volumes))


def test_points_beyond_the_reference_or_not_finite_add_no_volume():
    costs = np.array([[0.0, 0.0], [-5.0, 1.0], [math.nan, -5.0], [-math.inf, 0.5]])
    assert hypervolume(costs, (1.0, 1.0)) == 1.0


def test_five_hundred_points_in_three_dimensions_take_less_than_a_second():
    points = np.abs(np.random.default_rng(0).normal(size=(500, 3)))
    costs = 1.0 - points / np.linalg.norm(points, axis=1, keepdims=True)
    assert min(timeit.repeat(lambda: hypervolume(costs, (1.1, 1.1, 1.1)), number=1, repeat=3)) < 1.0


def test_a_reference_of_another_dimension_is_refused():
    with pytest.raises(InputError, match=r"reference \[1.0\]; allowed are"):
        hypervolume(np.zeros((2, 2)), (1.0,))


def test_the_knee_is_nearest_the_ideal_after_normalising():
    costs = np.array([[0.0, 100.0], [1.0, 30.0], [4.0, 20.0], [10.0, 0.0], [5.0, 90.0]])
    assert knee(costs) == 1


def test_the_knee_does_not_depend_on_units_or_order():
    costs = np.array([[0.0, 100.0], [1.0, 30.0], [4.0, 20.0], [10.0, 0.0]])
    assert knee(costs * [1000.0, 1e-6] + [3.0, -8.0]) == 1
    assert knee(costs[::-1]) == 2


def test_an_objective_in_which_the_front_is_equal_does_not_move_the_knee():
    assert knee(np.array([[0.0, 7.0, 4.0], [1.0, 7.0, 1.0], [4.0, 7.0, 0.0]])) == 1
    assert knee(np.array([[3.0, 7.0]])) == 0


def test_of_two_equally_near_members_the_better_in_the_first_objective_is_the_knee():
    costs = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 2.0], [3.0, 0.0]])
    assert knee(costs) == 2
    assert knee(costs[::-1]) == 1


def test_a_dominated_point_outside_the_front_does_not_move_the_knee():
    costs = np.array([[0.0, 10.0], [2.0, 2.0], [10.0, 0.0]])
    assert knee(np.vstack([costs, [[1e9, 1e9], [math.nan, 0.0]]])) == 1


def test_there_is_no_knee_without_a_finite_point():
    with pytest.raises(InputError, match="none of 1 points is finite"):
        knee(np.array([[math.nan, 1.0]]))


GOOD = (trial(0, 0.97, 44.0, 8.0), trial(1, 0.96, 26.0, 6.0), trial(2, 0.98, 80.0, 12.0), trial(3, 0.95, 44.0, 9.0))


def test_maximised_objectives_are_negated_and_missing_values_are_nan():
    costs = cost_matrix((GOOD[0], trial(9, math.nan, 26.0, 1.0)), OBJECTIVES)
    np.testing.assert_array_equal(costs, [[-0.97, 44.0, 8.0], [math.nan] * 3])
    assert cost_matrix((), OBJECTIVES).shape == (0, 3)


def test_the_front_is_sorted_best_first_and_holds_no_infeasible_trial():
    cheat = trial(4, 0.99, 8.0, 1.0, 0.5)
    assert [member.number for member in front(study_of(*GOOD, cheat))] == [2, 0, 1]


def test_a_study_without_feasible_trials_has_no_front_no_volume_and_says_why():
    study = study_of(trial(0, 0.9, 26.0, 3.0, 0.5))
    assert front(study) == ()
    assert study_hypervolume(study) == 0.0
    with pytest.raises(
        InputError, match="none of its 1 trials is complete, finite in accuracy, nfe, train_s and within"
    ):
        knee_trial(study)


def test_the_studys_volume_is_the_share_of_its_widened_box():
    """Costs (0, 1) and (1, 0) of the box up to (1.1, 1.1): two bars of 1.1 x 0.1 that share a square of 0.1."""
    pair = (METRICS["accuracy"], METRICS["nfe"])
    study = study_of(trial(0, 0.9, 20.0, 1.0), trial(1, 0.8, 10.0, 1.0), objectives=pair)
    assert study_hypervolume(study) == pytest.approx((2 * 0.11 - 0.01) / 1.21, rel=1e-12)


def test_a_study_whose_trials_are_all_equal_reached_its_ideal():
    assert study_hypervolume(study_of(GOOD[0], GOOD[0])) == pytest.approx(1.0, rel=1e-12)


def test_the_best_of_a_metric_is_the_best_member():
    study = study_of(*GOOD)
    assert [best(study, metric).number for metric in OBJECTIVES] == [2, 1, 1]


def test_the_cheapest_within_bounds_is_the_epsilon_constraint_choice():
    assert cheapest(GOOD, METRICS["nfe"], {METRICS["accuracy"]: 0.965}).number == 0
    assert cheapest(GOOD, METRICS["accuracy"], {METRICS["nfe"]: 50.0, METRICS["train_s"]: 7.0}).number == 1
    assert cheapest(GOOD, METRICS["nfe"], {}).number == 1


def test_bounds_that_nobody_meets_name_the_best_available():
    with pytest.raises(InputError, match=r"no trial has accuracy >= 0.99; the best available is accuracy 0.98"):
        cheapest(GOOD, METRICS["nfe"], {METRICS["accuracy"]: 0.99})
    with pytest.raises(InputError, match="no trial to choose from"):
        cheapest((), METRICS["nfe"], {METRICS["accuracy"]: 0.5})
