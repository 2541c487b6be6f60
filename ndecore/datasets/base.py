"""What a reader of a data set returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Inputs and targets, the examples along the first axis of both."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: str) -> "Split":
        """The same on a device."""
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Splits:
    """Training sees `train`, the search sees `validation`; `test` is for a confirmation after the search."""

    train: Split
    validation: Split
    test: Split
