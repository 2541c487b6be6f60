"""Brownian paths: one seed, one path; increments and areas as statistics."""

import math
from itertools import pairwise

import pytest
import torch
import torchsde
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor

from ndecore.brownian import BrownianPath, BrownianTree, ForeignPath, Increment
from ndecore.errors import InputError

ALPHA = 1e-3  # of each test, with fixed seeds: a right tree passes on every run
MANY = 20_000
DEVIATIONS = 4.5  # within which a sample covariance has to be


def tree(seed: int = 0, n: int = MANY, **more: object) -> BrownianTree:
    return BrownianTree(seed, (n,), 0.0, 2.0, **({"dtype": torch.float64} | more))


def interval_of(seed: int, n: int, halfway_tree: bool = True) -> ForeignPath:
    motion = torchsde.BrownianInterval(
        0.0,
        2.0,
        (n, 1),
        dtype=torch.float64,
        entropy=seed,
        levy_area_approximation="space-time",
        halfway_tree=halfway_tree,
        tol=1e-4 if halfway_tree else 0.0,
    )
    return ForeignPath(motion)


def flat(increment: Increment) -> Increment:
    return Increment(*(x.reshape(-1) for x in increment))


def joined(parts: list[Increment], times: list[float]) -> Increment:
    """W and H over the whole, from the area under the path: h (W/2 + H), part by part above where each begins."""
    W = area = torch.zeros(())
    for part, (start, end) in zip(parts, pairwise(times), strict=True):
        h = end - start
        area = area + h * (W + part.W / 2 + part.H)
        W = W + part.W
    return Increment(W, area / (times[-1] - times[0]) - W / 2)


SPANS = [(0.0, 2.0), (0.0, 1.0), (0.5, 0.75), (0.4, 1.3), (1.9, 2.0), (1.0, 1.0 + 2e-5)]


@pytest.mark.parametrize("cells", [1, 5])
@pytest.mark.parametrize("span", SPANS)
def test_increments_and_areas_are_normal_and_uncorrelated(span: tuple[float, float], cells: int) -> None:
    path = tree(cells=cells)
    W, H = path.increment(*span)
    h = round((span[1] - span[0]) / path.resolution) * path.resolution
    assert kstest(W / math.sqrt(h), "norm").pvalue > ALPHA
    assert kstest(H / math.sqrt(h / 12), "norm").pvalue > ALPHA
    assert abs((W * H).mean().item()) < DEVIATIONS * h / math.sqrt(12 * MANY)


def assert_covariance(rows: Tensor, wanted: Tensor) -> None:
    """The covariance of rows of mean 0 and normal elements, each entry within its deviation."""
    found = rows @ rows.T / rows.shape[1]
    variances = wanted.diagonal()
    deviation = ((variances[:, None] * variances + wanted.square()) / rows.shape[1]).sqrt()
    assert ((found - wanted).abs() < DEVIATIONS * deviation).all(), f"{found} is not {wanted}"


@pytest.mark.parametrize("times", [[0.0, 0.5, 1.0, 2.0], [0.25, 0.3, 0.4, 1.7], [0.0, 0.01, 0.02, 0.03]])
@pytest.mark.parametrize("make", [tree, lambda: tree(cells=3), lambda: interval_of(1, MANY)])
def test_neighbours_are_independent(make: object, times: list[float]) -> None:
    path = make()
    parts = [flat(path.increment(*ends)) for ends in pairwise(times)]
    h = torch.tensor([end - start for start, end in pairwise(times)], dtype=torch.float64)
    rows = torch.cat([torch.stack([part.W for part in parts]), torch.stack([part.H for part in parts])])
    assert_covariance(rows, torch.cat([h, h / 12]).diag())


def test_covariance_of_spans_is_their_overlap() -> None:
    path = tree(3)
    spans = [(0.0, 1.0), (0.5, 1.5), (0.25, 2.0), (1.2, 1.3)]
    rows = torch.stack([path.increment(*span).W for span in spans])
    overlaps = [[max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for b in spans] for a in spans]
    assert_covariance(rows, torch.tensor(overlaps, dtype=torch.float64))


@pytest.mark.parametrize("make", [tree, lambda: tree(cells=7), lambda: interval_of(1, 50)])
def test_parts_add_up_to_the_whole_with_its_area(make: object) -> None:
    path = make()
    times = [0.25, 0.5, 0.625, 1.0, 1.28125, 2.0]
    whole, parts = path.increment(0.25, 2.0), [path.increment(*ends) for ends in pairwise(times)]
    allowed = 1e-9 if isinstance(path, BrownianTree) and path.cells == 1 else 1e-2  # times are rounded elsewhere
    for left, right in zip(whole, joined(parts, times), strict=True):
        torch.testing.assert_close(left, right, rtol=allowed, atol=allowed)


def test_area_is_that_under_the_path() -> None:
    path, n = tree(n=200), 512
    W = torch.zeros(200, dtype=torch.float64)
    area = torch.zeros_like(W)
    for i in range(n):
        step = path.increment(i / n, (i + 1) / n).W
        area += (W + step / 2) / n  # the trapezoidal rule
        W += step
    whole = path.increment(0.0, 1.0)
    # What the trapezoids leave out is the sum of the areas of the parts: deviation n^(-1) / sqrt(12).
    assert (whole.W / 2 + whole.H - area).abs().max().item() < 5 / n / math.sqrt(12)


TIMES = st.integers(0, 64).map(lambda n: n / 32)


@given(st.integers(-(2**70), 2**70), st.sampled_from([1, 2, 6]), st.lists(st.tuples(TIMES, TIMES), max_size=8))
def test_path_does_not_depend_on_what_was_asked_before(
    seed: int, cells: int, queries: list[tuple[float, float]]
) -> None:
    asked, fresh = (BrownianTree(seed, (3,), 0.0, 2.0, cells=cells, dtype=torch.float64) for _ in range(2))
    for query in queries:
        asked.increment(*sorted(query))
    for left, right in zip(asked.increment(0.40625, 1.6875), fresh.increment(0.40625, 1.6875), strict=True):
        assert torch.equal(left, right)


def test_seeds_have_paths_of_their_own_and_leave_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    rows = torch.stack([tree(seed).increment(0.0, 1.0).W for seed in (0, 1, 2, -1, 2**32)])
    assert_covariance(rows, torch.eye(5, dtype=torch.float64))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(rows[0], tree(0).increment(0.0, 1.0).W)


def test_paths_apart_are_independent_of_the_path_and_of_one_another_and_repeat() -> None:
    for path in (tree(4), interval_of(4, MANY)):
        rows = [path.increment(0.5, 1.5).W.reshape(-1)]
        rows += [path.apart(n, 0.5, 1.5).increment(0.5, 1.5).W.reshape(-1) for n in range(2)]
        assert_covariance(torch.stack(rows), torch.eye(3, dtype=torch.float64))
        assert torch.equal(path.apart(1, 0.5, 1.5).increment(0.5, 1.5).W.reshape(-1), rows[2])


@given(st.floats(0.0, 1.9), st.floats(1e-3, 2.0), st.sampled_from([1, 5, 64]))
def test_adaptive_steps_end_on_few_times_not_far_below_the_step(t: float, dt: float, cells: int) -> None:
    path = BrownianTree(0, (1,), 0.0, 2.0, cells=cells)
    t = path.step_end(t, 1e-3)
    end = path.step_end(t, dt)
    assert t + 0.87 * dt - path.resolution <= end <= t + dt + path.resolution
    cell = 2.0 / cells
    quanta = end / min(cell, 2 ** math.floor(math.log2(dt / 8 / cell)) * cell)
    assert abs(quanta - round(quanta)) < 1e-4


def test_step_below_the_resolution_does_not_move() -> None:
    path = BrownianTree(0, (1,), 0.0, 1.0, levels=4)
    assert path.step_end(0.25, 0.03) == 0.25
    assert path.step_end(0.25, 0.07) == 0.3125


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 4)], ids=str)
def test_increments_are_like_the_path(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    path = BrownianTree(0, shape, -1.0, 1.0, dtype=dtype)
    for span in ((-1.0, 1.0), (-0.3, 0.2), (0.5, 0.5)):
        for value in path.increment(*span):
            assert (value.shape, value.dtype) == (shape, dtype)
    assert not path.increment(0.5, 0.5).W.any()


@pytest.mark.gpu
def test_device_draws_its_own_numbers() -> None:
    path = BrownianTree(0, (MANY,), 0.0, 2.0, device="cuda")
    W, H = path.increment(0.5, 1.3)
    assert W.device.type == "cuda"
    assert kstest(W.cpu() / math.sqrt(0.8), "norm").pvalue > ALPHA
    assert kstest(H.cpu() / math.sqrt(0.8 / 12), "norm").pvalue > ALPHA


def test_memory_does_not_grow_with_queries() -> None:
    path = tree(n=2)
    for i in range(40):
        path.increment(i / 20, (i + 1) / 20)
        assert len(path._halves_kept) <= 2 * path.levels
    for i in range(40):
        path.increment((i * 17 % 39) / 20, 2.0)
    assert len(path._halves_kept) <= 64 + 2 * path.levels


def test_interval_without_the_halfway_tree_does_not_keep_its_path_and_a_tree_does() -> None:
    def at_end(path: BrownianPath, times: list[float]) -> Tensor:
        return sum(path.increment(*ends).W for ends in pairwise(times))

    coarse, fine = [0.0, 0.3, 0.7], [0.0, 0.1, 0.25, 0.5, 0.7]
    differences = []
    for make in (tree, lambda: interval_of(0, 100), lambda: interval_of(0, 100, halfway_tree=False)):
        differences.append((at_end(make(), coarse) - at_end(make(), fine)).abs().max().item())
    assert differences[0] < 1e-12
    assert differences[1] < 0.2  # to its tolerance in time, 1e-4
    assert differences[2] > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t1": 0.0}, "t0, t1: got 0.0, 0.0, allowed: finite numbers, the start before the end"),
        ({"t1": math.nan}, "t0, t1: got 0.0, nan, allowed"),
        ({"cells": 0}, "cells, levels: got 0, 20, allowed: cells >= 1"),
        ({"levels": 33}, "cells, levels: got 1, 33, allowed"),
    ],
)
def test_trees_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    arguments = {"seed": 0, "shape": (1,), "t0": 0.0, "t1": 1.0} | change
    with pytest.raises(InputError, match=message):
        BrownianTree(**arguments)


@pytest.mark.parametrize("span", [(-0.1, 0.5), (0.5, 2.1), (0.7, 0.6)])
def test_times_outside_the_span_or_out_of_order_are_refused(span: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"allowed: times in order within the path's span from 0\.0 to 2\.0"):
        tree(n=1).increment(*span)


def test_motion_without_area_is_refused() -> None:
    with pytest.raises(InputError, match="without space-time Levy area, allowed: one with it"):
        ForeignPath(torchsde.BrownianInterval(0.0, 1.0, (1, 1)))
