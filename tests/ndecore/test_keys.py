"""Keys of a config, as the fields of dataclasses declare them."""

import math
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, ClassVar, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndecore.adjoints import EVERY_ADJOINT
from ndecore.controllers import CONTROLLERS
from ndecore.declarations import declared_by, declared_in_source
from ndecore.errors import InputError
from ndecore.keys import Above, AtLeast, AtMost, Below, Named, OneOf, check_fields, keys_of, taken
from ndecore.models import SDES
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.solvers import EVERY_SOLVER
from ndecore.tasks import TASKS

NAMES = {"one": 1, "two": 2}


@dataclass(frozen=True)
class Plain:
    share: Annotated[float, Above(0), Below(1), "A part, dimensionless."]
    count: Annotated[int, AtLeast(1), "The samples."] = 3
    level: Annotated[int, AtLeast(0), AtMost(9), "Of something."] = 0
    flag: Annotated[bool, "Whether it is."] = False
    way: Annotated[Literal["up", "down"], "Where it goes."] = "up"
    power: Annotated[Literal[1, 2], "Of a thing."] = 1
    name: Annotated[str, Named(NAMES), "One of a registry."] = "one"
    path: Annotated[str, "A file."] = ""
    size: Annotated[float | None, Above(0), "In units of time."] = None
    momentum: Annotated[float, AtLeast(0), Below(1), "Of sgd."] = 0.9
    anything: Annotated[float, "Any number."] = 0.0
    silent: float = 1.0
    listed: tuple[int, ...] = field(default_factory=tuple)
    fact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Derived(Plain):
    own: Annotated[str, OneOf("a", "b"), "Its own."] = "a"
    share: Annotated[float, Above(0), Below(1), "Another part."] = 0.5


class OfOther(Plain):
    """Without fields of its own."""


PASS_AND_FAIL = {
    "share": ([0.5, 1e-300], [0, 1, True, "x", None, math.nan, -0.5], "a number 0 < x < 1"),
    "count": ([1, 10**30], [0, 1.0, True, "1", None, math.inf], "a whole number >= 1"),
    "level": ([0, 9], [-1, 10, 0.5], "a whole number from 0 to 9"),
    "flag": ([True, False], [0, 1, "true", None], "true or false"),
    "way": (["up", "down"], ["left", None, 1, True, [], ["up"]], "up, down"),
    "power": ([1, 2], [3, 1.0, True, "1"], "1, 2"),
    "name": (["one", "two"], ["three", "", 1, None], "one, two"),
    "path": (["", "a b"], [1, None, b"x"], "a text"),
    "size": ([0.1, 3], [0, -1, math.nan, math.inf, 10**400], "a finite number > 0"),
    "momentum": ([0, 0.9], [1, -1e-9, math.nan], "a number 0 <= x < 1"),
    "anything": ([-1, 1e300], [math.inf, -math.inf, math.nan, 10**400, "1", True], "a finite number"),
}


def test_the_annotated_fields_are_keys_in_order_and_no_others() -> None:
    assert list(keys_of(Plain)) == list(PASS_AND_FAIL)
    assert list(keys_of(Derived)) == [*PASS_AND_FAIL, "own"]
    assert keys_of(OfOther) == keys_of(Plain)
    assert keys_of(int) == {}


@pytest.mark.parametrize("name", PASS_AND_FAIL)
def test_a_key_passes_what_it_allows_and_says_what_that_is(name: str) -> None:
    passes, fails, allowed = PASS_AND_FAIL[name]
    key = keys_of(Plain)[name]
    assert key.allowed == allowed
    assert key.doc.endswith(".")
    for value in passes:
        assert key.check(value) == value
        assert type(key.check(value)) is key.type
    assert [key.check(value) for value in fails] == [None] * len(fails)


@given(st.sampled_from(list(PASS_AND_FAIL)), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_what_passes_has_the_key_s_type_and_passes_again(name: str, value: object) -> None:
    key = keys_of(Plain)[name]
    checked = key.check(value)
    if checked is not None:
        assert checked == value
        assert type(checked) is key.type
        assert key.check(checked) == checked


def test_a_key_tells_its_default_and_whether_the_class_needs_it() -> None:
    keys = keys_of(Plain)
    assert [name for name, key in keys.items() if key.is_required] == ["share"]
    assert [name for name, key in keys.items() if key.is_optional] == ["size"]
    assert keys["momentum"].default == 0.9
    assert keys["share"].default is None
    assert keys_of(Derived)["share"].default == 0.5
    assert not keys_of(Derived)["share"].is_required


def test_options_are_listed_where_there_are_few() -> None:
    keys = keys_of(Plain)
    assert keys["flag"].options == (False, True)
    assert keys["power"].options == (1, 2)
    assert keys["name"].options == ("one", "two")
    assert keys["share"].options == keys["path"].options == ()
    assert [tuple(keys[name].names) for name in ("way", "name", "power", "flag")] == [
        ("up", "down"),
        tuple(NAMES),
        (),
        (),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"share": 1}, "^share: got 1, allowed: a number 0 < x < 1$"),
        ({"count": 0}, "^count: got 0, allowed: a whole number >= 1$"),
        ({"way": "left"}, "^way: got 'left', allowed: up, down$"),
        ({"size": -1}, "^size: got -1, allowed: a finite number > 0, or None$"),
        ({"anything": math.nan}, "^anything: got nan, allowed: a finite number$"),
        ({"count": None}, "^count: got None, allowed: a whole number >= 1$"),
    ],
)
def test_a_field_that_is_not_allowed_is_told_in_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Plain(**({"share": 0.5} | given))  # type: ignore[arg-type]


def test_what_a_class_takes_of_a_config_is_what_it_has_keys_for() -> None:
    assert taken(Plain, {"share": 0.5, "count": None, "weight": 1.0, "flag": False}) == {"share": 0.5, "flag": False}


def test_annotated_fields_of_a_class_that_is_no_dataclass_are_told() -> None:
    class Forgotten:
        weight: Annotated[float, AtLeast(0), "Of it."] = 1.0

    class Below(Plain):
        more: Annotated[float, "More."] = 1.0

    for cls in (Forgotten, Below):
        with pytest.raises(
            InputError, match=r"got the annotated field '\w+' in a class that is no dataclass, allowed: a f"
        ):
            keys_of(cls)


def test_a_type_that_no_config_can_hold_is_told() -> None:
    @dataclass
    class Odd:
        many: Annotated[tuple[int, ...], "Several."] = ()

    with pytest.raises(InputError, match=r"^Odd.many: got the type tuple\[int, ...\], allowed for a key: bool, int, "):
        keys_of(Odd)


def test_annotations_that_are_texts_are_read(tmp_path, monkeypatch) -> None:
    (tmp_path / "texts_of_annotations.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\nfrom typing import Annotated\nfrom ndecore.keys import Above\n"
        "@dataclass\nclass Late:\n    rate: Annotated[float, Above(0), 'How fast.'] = 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    key = keys_of("texts_of_annotations:Late")["rate"]
    assert (key.type, key.doc, key.check(0)) == (float, "How fast.", None)


FAMILIES = (EVERY_SOLVER, CONTROLLERS, EVERY_ADJOINT, REGULARIZERS, SCHEDULES, TASKS, SDES)
OWN = {f"{registry.family} {name}": target for registry in FAMILIES for name, target in registry.own.items()}
OTHERS = {"hyperparameters": "ndecore.hyperparameters:Hyperparameters", "settings": "ndecore.integrate:SolveSettings"}


@pytest.mark.parametrize("member", [*OWN, *OTHERS])
def test_keys_read_from_the_source_are_those_of_the_class(member: str) -> None:
    module, _, name = (OWN | OTHERS)[member].partition(":")
    read, declared = declared_in_source(module, name), declared_by(getattr(import_module(module), name))
    assert [each[:1] + each[2:] for each in read] == [each[:1] + each[2:] for each in declared]
    notes = [[get_args(each.annotation) for each in found] for found in (read, declared)]
    assert notes[0] == notes[1]
