"""Norms are norms, and the error ratio does not depend on units."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from ndecore.norms import error_ratio, rms_norm

numbers = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)
vectors = st.lists(numbers, min_size=1, max_size=20).map(lambda xs: torch.tensor(xs, dtype=torch.float64))


@given(x=vectors)
def test_rms_norm_is_the_root_of_the_mean_square(x: Tensor) -> None:
    torch.testing.assert_close(rms_norm(x), x.square().mean().sqrt(), rtol=1e-12, atol=0)


@given(x=vectors, factor=numbers)
def test_rms_norm_scales_with_its_argument(x: Tensor, factor: float) -> None:
    torch.testing.assert_close(rms_norm(factor * x), abs(factor) * rms_norm(x), rtol=1e-12, atol=0)


@given(x=vectors, seed=st.integers(0, 100))
def test_rms_norm_obeys_the_triangle_inequality(x: Tensor, seed: int) -> None:
    y = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * rms_norm(x)
    assert rms_norm(x + y) <= (rms_norm(x) + rms_norm(y)) * (1 + 1e-12)


@given(x=vectors, copies=st.integers(1, 5))
def test_rms_norm_of_a_repeated_batch_is_that_of_one(x: Tensor, copies: int) -> None:
    torch.testing.assert_close(rms_norm(x.repeat(copies, 1)), rms_norm(x), rtol=1e-12, atol=0)


def test_gradient_of_the_norm_at_zero_is_zero() -> None:
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    rms_norm(zero).backward()
    assert zero.grad is not None
    assert torch.equal(zero.grad, torch.zeros(3, dtype=torch.float64))


@given(error=vectors, unit=st.floats(1e-3, 1e3))
def test_error_ratio_does_not_depend_on_the_unit_of_the_state(error: Tensor, unit: float) -> None:
    y0, y1 = error.flip(0), 2 * error
    ratio = error_ratio(error, y0, y1, 1e-3, 1e-6)
    torch.testing.assert_close(error_ratio(unit * error, unit * y0, unit * y1, 1e-3, unit * 1e-6), ratio)


def test_error_ratio_weighs_each_element_by_the_larger_of_its_two_states() -> None:
    y0, y1 = torch.tensor([-3.0, 0.0]), torch.tensor([1.0, 2.0])
    error = torch.tensor([0.4, 0.6])
    expected = ((0.4 / 0.4) ** 2 / 2 + (0.6 / 0.3) ** 2 / 2) ** 0.5
    assert error_ratio(error, y0, y1, 0.1, 0.1).item() == pytest.approx(expected)
