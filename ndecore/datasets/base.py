"""What a reader of a data set returns: three parts, each of named tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils.data import Dataset

Batch: TypeAlias = Mapping[str, Tensor]  # by name, the examples along the first axis of each
Part: TypeAlias = Mapping[str, Tensor] | Dataset[Any]  # in memory; or examples one by one, as dicts of tensors


@dataclass(frozen=True)
class Splits:
    """Training sees `train`, the search sees `validation`; `test` is for a confirmation after the search."""

    train: Part
    validation: Part
    test: Part
