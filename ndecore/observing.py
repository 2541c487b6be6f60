"""Who looks on while models solve: asked what it wants before each solve, and told the solution after it.

`ndecore.solving.solve` is the only place that asks. The observers are held by a context variable, so each thread and
each asynchronous task has its own.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch

from ndecore.brownian import BrownianPath
from ndecore.errors import InputError
from ndecore.integrate import Problem, SolveSettings, Watch
from ndecore.running_cost import JointCost, RunningCost
from ndecore.solution import Solution
from ndecore.terms import SDETerm, Term
from ndecore.types import State
from ndecore.undrawn_path import UndrawnPath

Grid: TypeAlias = tuple[float, ...]  # t0, the times between at which a model reads the solution, and t1

# Settings for solves that have none of their own; or what makes other settings of those that each solve has.
SettingsRule: TypeAlias = SolveSettings | Callable[[SolveSettings], SolveSettings]


@dataclass(frozen=True)
class Wishes:
    """What a penalty wants of the coming solve."""

    grid: Grid  # in place of the model's: as many times
    times: tuple[float, ...] = ()  # further ones at which it wants to see the solution
    differentiable_records: bool = False
    watch: Watch | None = None
    running_cost: RunningCost | None = None


class Look(ABC):
    """One observer's look at one solve."""

    wishes: Wishes
    has_penalties: bool

    @abstractmethod
    def end(self, term: Term, solution: Solution) -> None:
        """Take in the finished solve, as it was made by the wishes; `term` has counted its evaluations."""


class DrawnSeed(NamedTuple):
    """Of a random path: the n-th path of a seed."""

    seed: int
    n: int


class Observer(ABC):
    """Looks on at solves."""

    settings: SettingsRule | None

    @abstractmethod
    def begin(self, grid: Grid, term: Term, settings: SolveSettings) -> Look:
        """Look at the solve that begins now, on `grid`."""

    @abstractmethod
    def draw_path(self) -> DrawnSeed | None:
        """The next random path, or None if it does not decide on paths."""


_OBSERVERS: ContextVar[tuple[Observer, ...]] = ContextVar("observers", default=())  # the innermost is the last


def observers() -> tuple[Observer, ...]:
    """Those who look on now, the innermost last."""
    return _OBSERVERS.get()


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Let one more look on."""
    token = _OBSERVERS.set((*_OBSERVERS.get(), observer))
    try:
        yield
    finally:
        _OBSERVERS.reset(token)


@contextmanager
def unobserved() -> Iterator[None]:
    """Let nobody look on: a solve inside a vector field is a part of that field's evaluation."""
    token = _OBSERVERS.set(())
    try:
        yield
    finally:
        _OBSERVERS.reset(token)


def silent_settings(default: SolveSettings) -> SolveSettings:
    """The settings of a solve that has none of its own: the innermost observer's that has some, else `default`."""
    found = (each.settings for each in reversed(_OBSERVERS.get()))
    return next((each for each in found if isinstance(each, SolveSettings)), default)


def final_settings(own: SolveSettings) -> SolveSettings:
    """The settings by which a solve that has `own` is made: by the innermost observer's rule, if one has any."""
    found = (each.settings for each in reversed(_OBSERVERS.get()))
    rule = next((each for each in found if each is not None and not isinstance(each, SolveSettings)), None)
    return own if rule is None else rule(own)


def told_to_all(watches: Sequence[Watch]) -> Watch:
    """A watch that passes on to several."""

    def watch(t: float, y: State) -> None:
        for each in watches:
            each(t, y)

    return watch


def with_path(problem: Problem) -> Problem:
    """The problem with its random path, if it has one, drawn over the span."""
    term = problem.term
    if not (isinstance(term, SDETerm) and isinstance(term.path, UndrawnPath)):
        return problem
    return replace(problem, term=term.along(_drawn(term.path, problem.t0, problem.t1)))


def observed(
    problem: Problem,
    settings: SolveSettings,
    own_cost: RunningCost | None,
    solved: Callable[[Problem, SolveSettings, RunningCost | None], Solution],
) -> Solution:
    """Solve as the observers want it, and tell them; what is returned is at the caller's own times."""
    sign = math.copysign(1.0, problem.t1 - problem.t0)
    nominal = (problem.t0, *sorted({problem.t0, problem.t1, *problem.ts}, key=lambda t: sign * t)[1:-1], problem.t1)
    looks = [observer.begin(nominal, problem.term, settings) for observer in observers()]
    wishes = _joined_wishes(looks, nominal)
    moved = dict(zip(nominal, wishes.grid, strict=True))
    wanted = with_path(_by_wishes(problem, wishes, moved))
    costs = [cost for cost in (own_cost, wishes.running_cost) if cost is not None]
    with unobserved():
        full = solved(wanted, settings, JointCost(costs) if len(costs) > 1 else costs[0] if costs else None)
    own, told = full, full
    if own_cost is not None and full.costs is not None:
        own, told = (replace(full, costs=part) for part in full.costs.tensor_split([own_cost.n_costs]))
    for look in looks:
        look.end(wanted.term, told)
    if wanted.ts == problem.ts and moved[problem.t1] == problem.t1 and own_cost is None and not costs:
        return own
    places = [wanted.ts.index(moved[t]) for t in problem.ts]
    ys = full.ys[[place for place in places if place < len(full.ys)]]
    return replace(own, t1=problem.t1, ts=problem.ts, ys=ys, costs=None if own_cost is None else own.costs)


def _by_wishes(problem: Problem, wishes: Wishes, moved: Mapping[float, float]) -> Problem:
    """The problem with what is wished for; `moved` says where each of its times has gone."""
    t1, sign = moved[problem.t1], math.copysign(1.0, problem.t1 - problem.t0)
    ts = problem.ts
    if wishes.times or any(moved[t] != t for t in ts):
        ts = tuple(sorted({*(moved[t] for t in ts), *wishes.times}, key=lambda t: sign * t))
    watches = [watch for watch in (problem.watch, wishes.watch) if watch is not None]
    return replace(
        problem,
        t1=t1,
        ts=ts,
        step_t=tuple(t for t in problem.step_t if sign * t < sign * t1),
        jump_t=tuple(t for t in problem.jump_t if sign * t < sign * t1),
        differentiable_records=problem.differentiable_records or wishes.differentiable_records,
        watch=told_to_all(watches) if len(watches) > 1 else watches[0] if watches else None,
    )


def _drawn(path: BrownianPath, t0: float, t1: float) -> BrownianPath:
    """The path over [t0, t1] if it was not drawn yet; else itself."""
    if not isinstance(path, UndrawnPath):
        return path
    if path.seed is not None:
        return path.over(t0, t1, path.seed)
    found = (each.draw_path() for each in reversed(_OBSERVERS.get()))
    chosen = next((each for each in found if each is not None), None)
    if chosen is None:  # as dropout and other random layers draw
        return path.over(t0, t1, int(torch.randint(2**63 - 1, ()).item()))
    return path.over(t0, t1, *chosen)


def _joined_wishes(looks: Sequence[Look], grid: Grid) -> Wishes:
    """What all of them want; raise `InputError` if several have penalties."""
    penalized = [look.wishes for look in looks if look.has_penalties]
    if len(penalized) > 1:
        raise InputError(
            "observe: got penalties inside another observe() that has penalties too, allowed: in one of them, which "
            "may have several"
        )
    wishes = penalized[0] if penalized else Wishes(grid)
    if any(look.wishes.differentiable_records for look in looks) and not wishes.differentiable_records:
        return replace(wishes, differentiable_records=True)
    return wishes
