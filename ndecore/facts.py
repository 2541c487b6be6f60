"""Facts about the members of each family: what others must know of a class before it is imported. Without torch.

Each fact is a class attribute of the member, and stands there alone; see `Registry.facts`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from typing import Any, Literal, TypeAlias, TypeVar

from ndecore.declarations import NotInSource, attribute_in_source
from ndecore.errors import InputError
from ndecore.keys import Value
from ndecore.metrics import Metric

Equations: TypeAlias = Literal["ordinary", "stochastic"]
Settings: TypeAlias = Mapping[str, Value] | None  # a class's own keys at these values; {}: always; None: never


@dataclass(frozen=True)
class SolverFacts:
    """Of a step method; see `ndecore.solvers.base.Solver`."""

    calculus: Literal["ito", "stratonovich"] | None
    error_order: float | None
    tells_stiffness: bool
    is_implicit: bool

    @property
    def estimates_error(self) -> bool:
        """Whether each step has an error estimate."""
        return self.error_order is not None

    @property
    def equations(self) -> Equations:
        """The equations that it is for."""
        return "ordinary" if self.calculus is None else "stochastic"


@dataclass(frozen=True)
class ControllerFacts:
    """Of a step size controller; see `ndecore.controllers.base.Controller`."""

    needs_error: bool


@dataclass(frozen=True)
class AdjointFacts:
    """Of a way to differentiate a solve; see `ndecore.integrate.Adjoint`."""

    differentiates_records: bool
    tapes_states: bool
    equations: tuple[Equations, ...]
    telling_methods: tuple[str, ...] | None
    ito_methods: tuple[str, ...] | None

    def tells_steps(self, method: object) -> bool:
        """Whether a watch is told of accepted steps, if it solves by `method`."""
        return self.telling_methods is None or method in self.telling_methods


@dataclass(frozen=True)
class RegularizerFacts:
    """Of a penalty; see `ndecore.regularizers.base.Regularizer`."""

    needs_differentiable_records: bool
    needs_error: bool
    needs_stiffness: bool
    needs_told_steps: Settings
    needs_taped_states: Settings
    is_weighted: bool
    is_integral: bool


@dataclass(frozen=True)
class ScheduleFacts:
    """Of a schedule: there is nothing that others must know."""


@dataclass(frozen=True)
class TaskFacts:
    """Of a task; see `ndecore.tasks.base.Task`."""

    calculus: Literal["ito"] | None
    tolerance: float
    metrics: tuple[Metric, ...]

    @property
    def equations(self) -> Equations:
        """Of its model."""
        return "ordinary" if self.calculus is None else "stochastic"


@dataclass(frozen=True)
class NoFacts:
    """Of families of which nothing must be known."""


Facts = TypeVar("Facts")


def facts_of(kind: type[Facts], owner: type | str) -> Facts:
    """The facts of a class, or of "module:Class", which is read off its source if it is ours and not loaded.

    Raises:
        InputError: the class lacks a fact.
    """
    hashable: Any = kind  # as every class is
    found: Facts = _facts_of(hashable, owner)
    return found


@cache
def _facts_of(kind: Any, owner: Any) -> Any:
    names = [f.name for f in fields(kind)]
    if isinstance(owner, str):
        module, _, name = owner.partition(":")
        if module not in sys.modules:
            try:
                return kind(**{each: attribute_in_source(module, name, each) for each in names})
            except NotInSource:
                pass
        owner = getattr(import_module(module), name)
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        raise InputError(f"{owner.__name__}: got no {' and no '.join(missing)}, allowed: a class attribute for each")
    return kind(**{name: getattr(owner, name) for name in names})
