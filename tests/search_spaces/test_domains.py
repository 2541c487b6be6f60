import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.domains import Choice, DomainError, Fixed, Float, Int

POSITIVE = st.floats(min_value=1e-12, max_value=1e12)


@st.composite
def ranges(draw):
    if draw(st.booleans()):
        low, high = sorted(draw(st.lists(POSITIVE, min_size=2, max_size=2, unique=True)))
        return Float(low, high, draw(st.booleans()))
    low, high = sorted(draw(st.lists(st.integers(1, 10**9), min_size=2, max_size=2, unique=True)))
    return Int(low, high, draw(st.booleans()))


@given(ranges(), st.floats(0, 1))
def test_a_range_contains_its_bounds_and_what_is_between_them(domain, share):
    inside = domain.low + share * (domain.high - domain.low)
    inside = min(max(inside, domain.low), domain.high) if isinstance(domain, Float) else int(inside)
    assert domain.contains(domain.low)
    assert domain.contains(domain.high)
    assert domain.contains(inside)


@given(ranges(), POSITIVE)
def test_a_range_contains_nothing_beyond_its_bounds(domain, beyond):
    assert not domain.contains(domain.low - beyond) or domain.low - beyond == domain.low
    assert not domain.contains(domain.high + beyond) or domain.high + beyond == domain.high


@pytest.mark.parametrize("value", [True, "0.5", None, math.nan, [0.5]])
def test_only_a_number_is_in_a_range(value):
    assert not Float(0, 1).contains(value)
    assert not Int(0, 1).contains(value)


def test_a_fraction_is_in_no_range_of_integers():
    assert not Int(1, 3).contains(1.5)
    assert not Int(1, 3).contains(2.0)


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (-1, 1, True), (math.nan, 1, False)]
)
@pytest.mark.parametrize("domain", [Float, Int])
def test_an_empty_range_is_refused(domain, low, high, log):
    with pytest.raises(DomainError, match="allowed: two numbers"):
        domain(low, high, log)


def test_an_empty_choice_is_refused():
    with pytest.raises(DomainError, match="allowed: at least one value"):
        Choice(())


@pytest.mark.parametrize("values", [("a", "b", "a"), (1, 1.0), (True, True)])
def test_a_choice_of_the_same_value_twice_is_refused(values):
    with pytest.raises(DomainError, match="twice"):
        Choice(values)


@given(st.lists(st.booleans() | st.integers() | st.text(), min_size=1, max_size=5, unique_by=lambda v: (type(v), v)))
def test_a_choice_contains_its_values_and_a_fixed_one_its_value(values):
    choice = Choice(tuple(values))
    assert all(choice.contains(value) and Fixed(value).contains(value) for value in values)
    assert choice.options == tuple(values)
    assert not choice.contains(object())


def test_true_is_not_one():
    assert not Choice((1, 2)).contains(True)
    assert not Fixed(True).contains(1)


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (Float(1e-7, 1e-3, True), "a number from 1e-07 to 0.001"),
        (Int(1, 64), "a whole number from 1 to 64"),
        (Choice(("mean", True, 0.5)), "mean, true, 0.5"),
        (Fixed(False), "false, which is fixed"),
    ],
)
def test_a_domain_describes_itself_in_words(domain, text):
    assert domain.describe() == text
