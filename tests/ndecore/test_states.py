"""States that are structures of tensors are solved as the one vector of their elements, and what a step measures."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
import torch
import torchdiffeq
from hypothesis import given
from initial_value_problems import TinyField
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.dropin import odeint
from ndecore.errors import InputError, SolveFailed
from ndecore.integrate import SolveSettings
from ndecore.norms import Differences, Pair, StepSizes, error_ratio, rms_norm, step_sizes
from ndecore.solving import solve
from ndecore.states import Structure, map_tensors, structure_of, tensors_of
from ndecore.status import Status
from ndecore.terms import ODETerm


class Body(NamedTuple):
    """A named tuple as a state."""

    position: Any
    velocity: Any


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def containers(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.text("abc", max_size=2) | st.integers(0, 3) | st.tuples(st.booleans(), st.integers(0, 1))
    return (
        st.lists(parts, max_size=3)
        | st.lists(parts, max_size=3).map(tuple)
        | st.dictionaries(keys, parts, max_size=3)
        | st.builds(Body, parts, parts)
    )


shapes = st.lists(st.integers(0, 3), max_size=3)
leaves = st.builds(lambda shape, seed: normal(*shape, seed=seed), shapes, st.integers(0, 99))
trees = containers(leaves | containers(leaves)).filter(lambda tree: any(places(tree, "")))


def places(tree: Any, path: str) -> Iterator[str]:
    """Where each tensor of `tree` stands, as one would write it in Python."""
    if isinstance(tree, Tensor):
        yield path
    else:
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(part, f"{path}[{key!r}]")


def assert_same(left: Any, right: Any) -> None:
    """Same containers, same keys in the same order, same numbers."""
    assert type(left) is type(right)
    if isinstance(left, Tensor):
        assert left.dtype == right.dtype
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert list(left) == list(right)
        assert_same(list(left.values()), list(right.values()))
    else:
        assert len(left) == len(right)
        for ours, theirs in zip(left, right, strict=True):
            assert_same(ours, theirs)


def built_like(tree: Any) -> Structure:
    structure = structure_of(tree)
    assert structure is not None
    return structure


# --- structures and vectors -----------------------------------------------------------------------------------------


@given(tree=trees)
def test_structure_comes_back_from_its_vector(tree: Any) -> None:
    structure = built_like(tree)
    vector = structure.flatten(tree)
    assert vector.shape == (sum(tensor.numel() for tensor in tensors_of(tree)),)
    assert_same(structure.unflatten(vector), tree)


@given(tree=trees, seed=st.integers(0, 99))
def test_vector_comes_back_from_its_structure(tree: Any, seed: int) -> None:
    structure = built_like(tree)
    vector = normal(len(structure.flatten(tree)), seed=seed)
    assert torch.equal(structure.flatten(structure.unflatten(vector)), vector)


@given(tree=trees, ahead=st.lists(st.integers(0, 3), max_size=2))
def test_axes_before_the_last_come_first_in_each_tensor(tree: Any, ahead: list[int]) -> None:
    structure = built_like(tree)
    many = structure.unflatten(structure.flatten(tree).expand(*ahead, -1))
    assert_same(many, map_tensors(lambda tensor: tensor.expand((*ahead, *tensor.shape)), tree))


@given(tree=trees)
def test_tensors_are_mapped_where_they_stand(tree: Any) -> None:
    doubled = map_tensors(lambda tensor: 2 * tensor, tree)
    assert list(places(doubled, "")) == list(places(tree, ""))
    for twice, once in zip(tensors_of(doubled), tensors_of(tree), strict=True):
        assert torch.equal(twice, 2 * once)


@given(tree=trees, data=st.data())
def test_wrong_tensor_anywhere_is_named_by_its_place(tree: Any, data: st.DataObject) -> None:
    structure, there = built_like(tree), list(places(tree, "state"))
    spoiled = data.draw(st.integers(0, len(there) - 1))
    tensor = tensors_of(tree)[spoiled]
    wrong = data.draw(st.sampled_from([tensor.unsqueeze(0), tensor.float(), tensor.to("meta"), None, 1.0]))
    parts = iter([*tensors_of(tree)[:spoiled], wrong, *tensors_of(tree)[spoiled + 1 :]])
    with pytest.raises(InputError, match=f"^{re.escape(there[spoiled])}: got "):
        structure.flatten(map_tensors(lambda _: next(parts), tree))


def test_tensor_by_itself_is_no_structure() -> None:
    assert structure_of(normal(2)) is None


# --- a structure is solved as its vector ----------------------------------------------------------------------------

TS = (0.0, 0.3, 0.3, 1.1, 2.0)


def pendulum(t: Tensor, y: Any) -> Any:
    (angle, speed), cart = y["pendulum"], y["cart"]
    return {
        "pendulum": Body(speed, -torch.sin(angle) - 0.1 * speed + cart[0]),
        "cart": [torch.cos(t) - cart[0], cart[1] * cart[0]],
    }


def at_rest(dtype: torch.dtype = torch.float64) -> Any:
    body = Body(normal(2, 3, seed=1, dtype=dtype), normal(2, 3, seed=2, dtype=dtype))
    return {"pendulum": body, "cart": [normal(seed=3, dtype=dtype), normal(2, 1, seed=4, dtype=dtype)]}


def pendulum_of_vector(t: Tensor, y: Tensor) -> Tensor:
    angle, speed, cart, other = y[:6], y[6:12], y[12:13], y[13:]
    return torch.cat([speed, -torch.sin(angle) - 0.1 * speed + cart, torch.cos(t) - cart, other * cart])


def as_vector(y: Any, ahead: int = 0) -> Tensor:
    body, (cart, other) = y["pendulum"], y["cart"]
    parts = (body.position, body.velocity, cart, other)
    return torch.cat([part.reshape(*part.shape[:ahead], -1) for part in parts], dim=-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ADJOINTS)
def test_solve_of_a_structure_is_that_of_its_vector(name: str, dtype: torch.dtype) -> None:
    settings = SolveSettings(adjoint=ADJOINTS[name](), rtol=1e-4, atol=1e-4)
    start = at_rest(dtype)
    with torch.no_grad():
        ours = solve(pendulum, start, 0.0, 2.0, settings=settings, ts=TS).check()
        flat = solve(pendulum_of_vector, as_vector(start), 0.0, 2.0, settings=settings, ts=TS).check()
    close = {"rtol": 1e-12, "atol": 1e-14} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
    assert [list(places(tree, "")) for tree in (ours.y1, ours.ys)] == [list(places(start, ""))] * 2
    assert [tensor.shape for tensor in tensors_of(ours.y1)] == [tensor.shape for tensor in tensors_of(start)]
    assert [tensor.shape for tensor in tensors_of(ours.ys)] == [(5, *tensor.shape) for tensor in tensors_of(start)]
    torch.testing.assert_close(as_vector(ours.y1), flat.y1, **close)
    torch.testing.assert_close(as_vector(ours.ys, ahead=1), flat.ys, **close)
    assert ours.stats == flat.stats
    for record in ("t", "dt"):
        torch.testing.assert_close(getattr(ours.records, record), getattr(flat.records, record), rtol=1e-3, atol=1e-6)
    for record in ("error_ratio", "error", "stiffness"):
        found, wanted = getattr(ours.records, record), getattr(flat.records, record)
        assert found.dtype == dtype
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-6, equal_nan=True)


def test_structure_goes_backwards_to_where_it_came_from() -> None:
    settings, start = SolveSettings(rtol=1e-10, atol=1e-10), at_rest()
    end = solve(pendulum, start, 0.0, 1.0, settings=settings).check().y1
    back = solve(pendulum, end, 1.0, 0.0, settings=settings).check().y1
    torch.testing.assert_close(back, start, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    "y0", [(normal(2),), [normal()], {0: normal(1, 2)}, Body(normal(2), normal(0)), ((), [normal(2)])]
)
def test_small_structures_keep_their_build(y0: Any) -> None:
    def decay(t: Tensor, y: Any) -> Any:
        assert type(y) is type(y0)
        return map_tensors(lambda tensor: -tensor, y)

    solution = solve(decay, y0, 0.0, 1.0, ts=[0.5]).check()
    expected = map_tensors(lambda tensor: math.exp(-1) * tensor, y0)
    torch.testing.assert_close(solution.y1, expected, rtol=1e-5, atol=1e-6)
    assert type(solution.y1) is type(solution.ys) is type(y0)


def test_solve_over_nothing_returns_the_structure_it_was_given() -> None:
    solution = solve(pendulum, at_rest(), 0.5, 0.5, ts=[0.5]).check()
    assert_same(solution.y1, at_rest())
    assert_same(solution.at(0.5), at_rest())


def test_state_at_a_time_has_the_structure() -> None:
    start = at_rest()
    solution = solve(pendulum, start, 0.0, 2.0, ts=TS).check()
    assert_same(solution.at(0.0), start)
    assert_same(solution.at(2.0), solution.y1)
    for i, t in enumerate(TS):
        assert_same(solution.at(t), map_tensors(lambda values, i=i: values[i], solution.ys))
    with pytest.raises(InputError, match=r"no output at t = 0\.7"):
        solution.at(0.7)


def test_structure_without_outputs_has_none_at_any_time() -> None:
    solution = solve(pendulum, at_rest(), 0.0, 1.0).check()
    assert [len(values) for values in tensors_of(solution.ys)] == [0] * 4
    with pytest.raises(InputError, match=r"no output at t = 0\.0"):
        solution.at(0.0)


def test_solve_that_ends_early_ends_with_the_structure() -> None:
    def breaks(t: Tensor, y: Any) -> Any:
        return torch.where(t >= 0.5, math.nan, -y[0]), -y[1]

    start = (normal(2), normal())
    solution = solve(breaks, start, 0.0, 1.0, ts=[0.1, 0.9], throw=False)
    assert solution.status is Status.NON_FINITE
    assert [tuple(tensor.shape) for tensor in solution.y1] == [(2,), ()]
    assert [tuple(tensor.shape) for tensor in solution.ys] == [(1, 2), (1,)]
    assert_same(solution.at(0.1), (solution.ys[0][0], solution.ys[1][0]))
    with pytest.raises(InputError, match=r"no output at t = 0\.9"):
        solution.at(0.9)
    with pytest.raises(SolveFailed, match="NON_FINITE"):
        solve(breaks, start, 0.0, 1.0, throw=True)


def test_keys_are_matched_by_name_whatever_their_order() -> None:
    def in_order(t: Tensor, y: Any) -> Any:
        return {"a": y["b"], "b": -y["a"]}

    def turned(t: Tensor, y: Any) -> Any:
        return dict(reversed(in_order(t, y).items()))

    start = {"a": normal(2, seed=1), "b": normal(2, seed=2)}
    assert_same(solve(turned, start, 0.0, 1.0).check().y1, solve(in_order, start, 0.0, 1.0).check().y1)


def test_tuples_and_lists_from_the_field_stand_for_each_other() -> None:
    start = [Body(normal(2), normal(2, seed=1)), (normal(),)]
    solution = solve(lambda t, y: (list(y[0]), [-y[1][0]]), start, 0.0, 1.0).check()
    assert list(places(solution.y1, "")) == list(places(start, ""))
    assert [type(part) for part in solution.y1] == [Body, tuple]


# --- gradients ------------------------------------------------------------------------------------------------------


class Coupled(nn.Module):
    """Two tiny fields, each of the other's state."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = TinyField(seed=1), TinyField(seed=2)

    def forward(self, t: Tensor, y: Any) -> Any:
        return {"y": (self.first(t, y["z"]), self.second(t, y["y"][0]).sum(0)), "z": self.second(t, y["y"][0])}


def differentiable_start() -> Any:
    start = {"y": (normal(3, 2, seed=1), normal(2, seed=2)), "z": normal(3, 2, seed=3)}
    return map_tensors(lambda tensor: tensor.requires_grad_(), start)


def loss_of(y1: Any, ys: Any) -> Tensor:
    (first, total), last = y1["y"], y1["z"]
    return first.square().sum() + total.sin().sum() + last[0].prod() + ys["y"][1][0].sum() + ys["z"][1].square().sum()


def gradients(adjoint: str, by_hand: bool) -> list[Tensor]:
    """Of a loss of y1 and ys, to each leaf and parameter; `by_hand` on a vector that the test puts together."""
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-8, atol=1e-8)
    field, start = Coupled(), differentiable_start()

    def apart(y: Tensor) -> Any:
        ahead = y.shape[:-1]
        return {"y": (y[..., :6].reshape(*ahead, 3, 2), y[..., 6:8]), "z": y[..., 8:].reshape(*ahead, 3, 2)}

    def together(y: Any) -> Tensor:
        return torch.cat([y["y"][0].reshape(-1), y["y"][1], y["z"].reshape(-1)])

    if by_hand:
        flat = solve(
            lambda t, y: together(field(t, apart(y))), together(start), 0.0, 1.0, settings=settings, ts=[0.2, 0.6]
        )
        y1, ys = apart(flat.check().y1), apart(flat.ys)
    else:
        solution = solve(field, start, 0.0, 1.0, settings=settings, ts=[0.2, 0.6]).check()
        y1, ys = solution.y1, solution.ys
    return list(torch.autograd.grad(loss_of(y1, ys), [*tensors_of(start), *field.parameters()]))


@pytest.mark.parametrize("name", ADJOINTS)
def test_gradients_reach_every_leaf_and_every_parameter(name: str) -> None:
    found, wanted = gradients(name, by_hand=False), gradients("tape", by_hand=True)
    assert len(found) == 9
    tolerance = 1e-10 if name in ("tape", "checkpointed") else 1e-5
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in ADJOINTS if name not in ("tape", "torchdiffeq")])
def test_named_parameters_of_a_plain_function_get_their_gradients(name: str) -> None:
    rate = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    settings = SolveSettings(adjoint=ADJOINTS[name](), rtol=1e-9, atol=1e-9)
    start = (torch.ones((), dtype=torch.float64), 2 * torch.ones(2, dtype=torch.float64))
    y1 = solve(lambda t, y: (rate * y[0], rate * y[1]), start, 0.0, 1.0, settings=settings, parameters=[rate]).y1
    (slope,) = torch.autograd.grad(y1[0] + y1[1].sum(), rate)
    assert slope.item() == pytest.approx(5 * math.exp(-0.7), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in ADJOINTS if ADJOINTS[name].differentiates_records])
def test_records_of_a_structure_are_differentiated(name: str) -> None:
    settings = SolveSettings(adjoint=ADJOINTS[name](), rtol=1e-4, atol=1e-4)

    def slopes(start: Any, field: Any, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        records = solve(field, start, 0.0, 1.0, settings=settings, parameters=(), differentiable_records=True).records
        return torch.autograd.grad(records.error_ratio.sum() + records.stiffness.sum(), inputs)

    start = map_tensors(lambda tensor: tensor.requires_grad_(), at_rest())
    found = slopes(start, pendulum, tensors_of(start))
    vector = as_vector(at_rest()).requires_grad_()
    (wanted,) = slopes(vector, pendulum_of_vector, [vector])
    torch.testing.assert_close(torch.cat([slope.reshape(-1) for slope in found]), wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ADJOINTS)
def test_containers_of_the_start_may_change_between_the_solve_and_its_gradient(name: str) -> None:
    rate = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    start = {"y": [torch.ones(2, dtype=torch.float64)]}
    settings = SolveSettings(adjoint=ADJOINTS[name](), rtol=1e-9, atol=1e-9)

    def grows(t: Tensor, y: Any) -> Any:
        return {"y": [rate * y["y"][0]]}

    y1 = solve(grows, start, 0.0, 1.0, settings=settings, parameters=[rate]).y1
    start["y"].clear()
    start["kept"] = []
    (slope,) = torch.autograd.grad(y1["y"][0].sum(), rate)
    assert slope.item() == pytest.approx(2 * math.exp(-0.7), rel=1e-6)


# --- what is refused ------------------------------------------------------------------------------------------------

X = torch.ones(2, dtype=torch.float64)
START = {"a": (X, X), "b": X}
ROOT = "vector field returned a state whose part"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (X, f"{ROOT}: got Tensor, allowed: a dict with the keys ['a', 'b']"),
        (None, f"{ROOT}: got NoneType, allowed: a dict with the keys ['a', 'b']"),
        ((X, X), f"{ROOT}: got tuple, allowed: a dict with the keys ['a', 'b']"),
        ({"a": (X, X)}, f"{ROOT}: got ['a'], allowed: a dict with the keys ['a', 'b']"),
        ({"a": (X, X), "b": X, "c": X}, f"{ROOT}: got ['a', 'b', 'c'], allowed: a dict with the keys ['a', 'b']"),
        ({"a": X, "b": X}, f"{ROOT}['a']: got Tensor, allowed: a tuple of 2 parts"),
        ({"a": {0: X, 1: X}, "b": X}, f"{ROOT}['a']: got dict, allowed: a tuple of 2 parts"),
        ({"a": (X,), "b": X}, f"{ROOT}['a']: got 1 parts, allowed: a tuple of 2 parts"),
        ({"a": (X, [X]), "b": X}, f"{ROOT}['a'][1]: got list, allowed: a tensor"),
        ({"a": (X, 0.0), "b": X}, f"{ROOT}['a'][1]: got float, allowed: a tensor"),
        ({"a": (X, X[:1]), "b": X}, f"{ROOT}['a'][1]: got (1,) of torch.float64 on cpu, allowed: (2,) of torch."),
        ({"a": (X, X), "b": X[None]}, f"{ROOT}['b']: got (1, 2) of torch.float64 on cpu, allowed: (2,) of torch."),
        ({"a": (X, X), "b": X.sum()}, f"{ROOT}['b']: got () of torch.float64 on cpu, allowed: (2,) of torch.float64"),
        ({"a": (X.float(), X), "b": X}, f"{ROOT}['a'][0]: got (2,) of torch.float32 on cpu, allowed: (2,) of torch."),
        ({"a": (X, X), "b": X.to("meta")}, f"{ROOT}['b']: got (2,) of torch.float64 on meta, allowed: (2,) of torch."),
    ],
)
@pytest.mark.parametrize("name", ADJOINTS)
def test_field_that_returns_another_structure_is_told_where(name: str, returned: Any, message: str) -> None:
    settings = SolveSettings(adjoint=ADJOINTS[name]())
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        solve(lambda t, y: returned, START, 0.0, 1.0, settings=settings, parameters=())


@pytest.mark.parametrize(
    ("y0", "message"),
    [
        ((), "y0: got (), allowed: a tensor, or tuples, lists and dicts with at least one"),
        ({}, "y0: got {}, allowed: a tensor, or tuples"),
        ({"a": [], "b": ((), {})}, "y0: got {'a': [], 'b': ((), {})}, allowed: a tensor, or tuples"),
        (None, "y0: got NoneType, allowed: tensors"),
        (1.0, "y0: got float, allowed: tensors"),
        ((X, 1.0), "y0[1]: got float, allowed: tensors, or tuples, lists and dicts of them"),
        ({"a": X, "b": [X, None]}, "y0['b'][1]: got NoneType, allowed: tensors"),
        ({"a": "text"}, "y0['a']: got str, allowed: tensors"),
        (Body(X, X.numpy()), "y0[1]: got ndarray, allowed: tensors"),
        ((X, {"b": X.float()}), "y0[1]['b']: got (2,) of torch.float32 on cpu, allowed: (2,) of torch.float64 on cpu"),
        ([X, X.to("meta")], "y0[1]: got (2,) of torch.float64 on meta, allowed: (2,) of torch.float64 on cpu"),
        ([X[:0], {"a": X[:0]}], "y0: got (0,) of torch.float64, allowed: a non-empty float32 or float64 tensor"),
        ([X.half()], "y0: got (2,) of torch.float16, allowed: a non-empty float32 or float64 tensor"),
    ],
)
def test_start_that_is_no_state_is_refused_by_its_place(y0: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        solve(lambda t, y: y, y0, 0.0, 1.0)


def test_term_with_a_structure_is_refused() -> None:
    with pytest.raises(InputError, match="y0: got a structure with an ODETerm, allowed: a real tensor"):
        solve(ODETerm(pendulum), at_rest(), 0.0, 1.0)


# --- what a step measures -------------------------------------------------------------------------------------------

LARGE = 20_000  # elements, for which each size is measured by itself
state_shapes = st.sampled_from([(), (1,), (3,), (2, 3), (4, 1, 2), (LARGE,), (2, LARGE // 2)])
seeds = st.integers(0, 999)
tolerances = st.floats(1e-8, 1.0)


def drawn(shape: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
    """Seven states of different sizes."""
    return tuple(normal(*shape, seed=7 * seed + i) * 10.0 ** (i - 3) for i in range(7))


def length(values: Any) -> float:
    return math.sqrt(math.fsum(value * value for value in values))


def numbers(x: Tensor) -> list[float]:
    return x.reshape(-1).tolist()


def length_of_difference(pair: Pair) -> float:
    return length(b - a for a, b in zip(numbers(pair.first), numbers(pair.second), strict=True))


@given(shape=state_shapes, seed=seeds, rtol=tolerances, atol=tolerances, has=st.tuples(st.booleans(), st.booleans()))
def test_sizes_of_a_step_are_lengths_of_its_differences(
    shape: tuple[int, ...], seed: int, rtol: float, atol: float, has: tuple[bool, bool]
) -> None:
    y0, y1, error, *others = drawn(shape, seed)
    slopes, arguments = others[1] - others[0], Pair(*others[2:])
    differences = Differences(error if has[0] else None, *((slopes, arguments) if has[1] else ()))
    scaled = (
        e / (atol + rtol * max(abs(a), abs(b)))
        for e, a, b in zip(numbers(error), numbers(y0), numbers(y1), strict=True)
    )
    expected = [
        length(scaled) * has[0],
        length(numbers(error)) * has[0],
        length(numbers(slopes)) * has[1],
        length_of_difference(arguments) * has[1],
        length(numbers(y1)),
    ]
    sizes = step_sizes(differences, y0, y1, rtol, atol)
    assert sizes.shape == (5,)
    assert sizes.dtype == y1.dtype
    assert sizes.tolist() == pytest.approx(expected, rel=1e-11)


@given(shape=state_shapes, seed=seeds, rtol=tolerances, atol=tolerances)
def test_measures_of_a_step_are_the_norms_they_are_named_after(
    shape: tuple[int, ...], seed: int, rtol: float, atol: float
) -> None:
    y0, y1, error, *others = drawn(shape, seed)
    slopes, arguments = others[1] - others[0], Pair(*others[2:])
    sizes = StepSizes(*step_sizes(Differences(error, slopes, arguments), y0, y1, rtol, atol))
    close = {"rtol": 1e-11, "atol": 0.0}
    torch.testing.assert_close(sizes.error_ratio(y1.numel()), error_ratio(error, y0, y1, rtol, atol), **close)
    torch.testing.assert_close(sizes.rms_error(y1.numel()), rms_norm(error), **close)
    stiffness = rms_norm(slopes / 0.25) / rms_norm(arguments.second - arguments.first)
    torch.testing.assert_close(sizes.stiffness(-0.25), stiffness, **close)


@given(shape=state_shapes, seed=seeds)
def test_sizes_leave_their_inputs_alone_and_carry_no_gradient(shape: tuple[int, ...], seed: int) -> None:
    given_states = tuple(state.requires_grad_() for state in drawn(shape, seed))
    before = [state.detach().clone() for state in given_states]
    y0, y1, error, *others = given_states
    differences = Differences(error, others[1] - others[0], Pair(*others[2:]))
    assert not step_sizes(differences, y0, y1, 1e-3, 1e-3).requires_grad
    assert all(map(torch.equal, given_states, before))


@given(shape=state_shapes, seed=seeds, factor=st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**20]))
def test_sizes_scale_with_the_unit_of_the_state(shape: tuple[int, ...], seed: int, factor: float) -> None:
    y0, y1, error, *others = drawn(shape, seed)
    differences = Differences(error, others[1] - others[0], Pair(*others[2:]))
    slopes, (first, second) = differences[1:]
    scaled = Differences(factor * error, factor * slopes, Pair(factor * first, factor * second))
    plain = step_sizes(differences, y0, y1, 1e-3, 1e-3)
    found = step_sizes(scaled, factor * y0, factor * y1, 1e-3, factor * 1e-3)
    torch.testing.assert_close(found, plain * plain.new_tensor([1.0, *[factor] * 4]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [3, LARGE])
def test_step_that_stands_still_has_sizes_and_stiffness_of_zero(n: int) -> None:
    zero = torch.zeros(n, dtype=torch.float64)
    sizes = step_sizes(Differences(zero, zero, Pair(zero, zero)), zero, zero, 1e-3, 1e-3)
    assert sizes.tolist() == [0.0] * 5
    assert StepSizes(*sizes).stiffness(0.1).item() == 0.0


@pytest.mark.parametrize("n", [3, LARGE])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_element_that_is_not_finite_shows_in_the_sizes(n: int, value: float) -> None:
    y, error = torch.ones(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    error[-1] = value
    sizes = StepSizes(*step_sizes(Differences(error), y, y, 1e-3, 1e-3))
    assert not math.isfinite(sizes.scaled_error.item())
    assert not math.isfinite(sizes.error.item())
    assert math.isfinite(sizes.y1.item())


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_complex_states_have_the_closed_form_and_its_gradient(adjoint: str) -> None:
    rate = torch.tensor([-0.3 + 2.0j, 0.1 - 1.0j], dtype=torch.complex128, requires_grad=True)
    y0 = torch.tensor([[1.0 + 0.5j, -0.2j]], dtype=torch.complex128, requires_grad=True)
    found = solve(
        lambda t, y: rate * y, y0, 0.0, 1.5, ts=[0.5], adjoint=ADJOINTS[adjoint](), parameters=[rate], rtol=1e-9
    )
    exact = y0 * torch.exp(rate * 1.5)
    assert found.y1.dtype == torch.complex128
    torch.testing.assert_close(found.y1, exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.ys[0], y0 * torch.exp(rate * 0.5), rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad((y.abs() ** 2 + y.real).sum(), [y0, rate]) for y in (found.y1, exact))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_complex_states_pass_gradcheck_and_stand_beside_real_ones() -> None:
    y0 = torch.tensor([0.4 + 0.1j], dtype=torch.complex128, requires_grad=True)
    x0 = torch.tensor([0.3, -0.7, 0.2], dtype=torch.float64, requires_grad=True)

    def end(x0: Tensor, y0: Tensor) -> tuple[Tensor, ...]:
        def field(t: Tensor, state: Any) -> Any:
            x, y = state
            return torch.tanh(x) * y.abs(), 1j * y * x.sum() + t

        return solve(field, (x0, y0), 0.0, 0.5, settings=SolveSettings(controller=ConstantStep(0.25))).y1

    assert torch.autograd.gradcheck(end, (x0, y0))


def test_complex_states_are_those_of_torchdiffeq_with_tolerances_by_element() -> None:
    y0, t = torch.tensor([1.0 + 0.0j, 0.5 - 1.0j]), torch.tensor([1.0, 0.5, 0.0])

    def field(t: Tensor, y: Tensor) -> Tensor:
        return 1j * torch.cos(t) * y + y.conj()

    theirs = torchdiffeq.odeint(field, y0, t, rtol=1e-5, atol=1e-6)
    for atol in (1e-6, torch.tensor([1e-6, 1e-7])):
        torch.testing.assert_close(odeint(field, y0, t, rtol=1e-5, atol=atol), theirs, rtol=1e-3, atol=1e-4)


def test_a_field_that_drops_the_imaginary_part_is_told() -> None:
    with pytest.raises(InputError, match=r"part: got \(2,\) of torch.float32 on cpu, allowed: \(2,\) of torch.complex"):
        solve(lambda t, y: y.real, torch.ones(2) + 1j, 0.0, 1.0)
