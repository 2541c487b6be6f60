"""The samplers, each made anew for each proposal from a seed and the study's spec."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial
from scipy.stats import qmc

from search_spaces.domains import Value
from studies.grid import grid_values
from studies.spec import StudySpec

# Optuna's default of 10 random trials first is more than a third of a small study.
_N_STARTUP = 8
_POPULATION = 16


class TPE(TPESampler):
    """Tree-structured Parzen estimator, joint, on each sub-space of a conditional space."""

    def __init__(self, seed: int, spec: StudySpec) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # Grouped: a conditional space is searched as its sub-spaces, each with its own joint density.
            super().__init__(seed=seed, multivariate=True, group=True, n_startup_trials=_N_STARTUP)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Any:
        """The values of a sub-space when one of them is asked for; most trials are in few of many sub-spaces."""
        found = self._search_space_group
        groups = [tuple(group) for group in found.search_spaces] if found else []
        sample = super().sample_relative

        def sampled(names: tuple[str, ...]) -> dict[str, Any]:
            return sample(study, trial, {name: search_space[name] for name in names if name in search_space})

        return _OnDemand({name: names for names in groups for name in names}, sampled)


class _OnDemand(Mapping[str, Any]):
    """Values by name, made in groups.

    Args:
        groups: for each name, those that it is made with.
        make: the values of a group, or some of them.
    """

    def __init__(
        self, groups: Mapping[str, tuple[str, ...]], make: Callable[[tuple[str, ...]], Mapping[str, Any]]
    ) -> None:
        self._groups, self._make = groups, cache(make)

    def __getitem__(self, name: str) -> Any:
        return self._make(self._groups[name])[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._groups if name in self._make(self._groups[name]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class NSGAII(NSGAIISampler):
    """The genetic algorithm NSGA-II."""

    def __init__(self, seed: int, spec: StudySpec) -> None:
        super().__init__(seed=seed, population_size=_POPULATION)


class NSGAIII(NSGAIIISampler):
    """The genetic algorithm NSGA-III."""

    def __init__(self, seed: int, spec: StudySpec) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(seed=seed, population_size=_POPULATION)


class Random(RandomSampler):
    """Independent draws."""

    def __init__(self, seed: int, spec: StudySpec) -> None:
        super().__init__(seed=seed)


@dataclass(frozen=True)
class _ByNumber(BaseSampler):
    """Proposes by the trial's number alone, one parameter after another."""

    seed: int
    spec: StudySpec

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing is sampled jointly."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing is sampled jointly."""
        return {}


class QuasiRandomSampler(_ByNumber):
    """Points of a scrambled Sobol sequence, a coordinate for each dimension of the space.

    Optuna's own samples whatever is conditional at random. Here an inactive dimension's coordinate is passed over,
    so each sub-space is filled evenly too.

    Reference: A. B. Owen, "Scrambling Sobol and Niederreiter-Xing points", Journal of Complexity 14(4), 1998.
    """

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The coordinate of this dimension, in its domain."""
        names = [dimension.name for dimension in self.spec.space.dimensions if dimension.only is None]
        sequence = qmc.Sobol(len(names), seed=self.spec.seed)
        if trial.number:  # scipy cannot go forward by nothing
            sequence.fast_forward(trial.number)
        point = sequence.random(1)[0]
        return _from_unit(param_distribution, float(point[names.index(param_name)]))


class GridSampler(_ByNumber):
    """Every config of the grid once, in an order shuffled by the study's seed: a part of it is spread over the whole.

    Start configs are not taken out of the grid.
    """

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of this dimension in the config whose turn it is."""
        configs = grid_values(self.spec.space, self.spec.grid_points, self.spec.seed)
        found: Value = configs[(trial.number - len(self.spec.start)) % len(configs)][param_name]
        return found


def _from_unit(distribution: BaseDistribution, unit: float) -> Any:
    """A number in [0, 1) as a value of a distribution, evenly by its own measure."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(unit * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if isinstance(distribution, IntDistribution):
        low, high = low - 0.5, high + 0.5
    value = math.exp(math.log(low) + unit * math.log(high / low)) if distribution.log else low + unit * (high - low)
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else value
