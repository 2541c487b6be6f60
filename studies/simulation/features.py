"""Configs as points: what a distance, or a forest, sees of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOG_RANGE = 30.0  # a ratio of largest to least above which a key counts by its logarithm


class Features:
    """The keys in which some configs differ, as columns: numbers from 0 to 1, a column for each other value.

    A key that a config does not have is beyond all values. Keys that these configs do not vary are not seen.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]]) -> None:
        keys = dict.fromkeys(key for config in configs for key in config)
        varied = [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]
        self._columns = [_column(key, [config[key] for config in configs if key in config]) for key in varied]
        self.keys = tuple(varied)

    def __call__(self, configs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return an array (n, columns)."""
        rows = [[value for column in self._columns for value in column.of(config)] for config in configs]
        return np.array(rows, dtype=np.float64).reshape(len(configs), -1)


class _Number:
    def __init__(self, key: str, values: Sequence[float]) -> None:
        self._key = key
        self._is_log = min(values) > 0 and max(values) > _LOG_RANGE * min(values)
        scaled = [self._scaled(value) for value in values]
        self._low, self._span = min(scaled), max(scaled) - min(scaled) or 1.0

    def _scaled(self, value: float) -> float:
        return float(np.log(value)) if self._is_log else float(value)

    def of(self, config: Mapping[str, Any]) -> list[float]:
        value = config.get(self._key)
        return [-1.0 if value is None else (self._scaled(value) - self._low) / self._span]


class _Name:
    def __init__(self, key: str, values: Sequence[Any]) -> None:
        self._key, self._values = key, tuple(dict.fromkeys(values))

    def of(self, config: Mapping[str, Any]) -> list[float]:
        # Half each: two configs of different names are 1 apart.
        return [0.5 * (config.get(self._key) == value) for value in self._values]


def _column(key: str, values: Sequence[Any]) -> _Number | _Name:
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return _Number(key, values) if is_number else _Name(key, values)
