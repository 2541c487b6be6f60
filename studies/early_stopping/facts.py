"""What others must know of a rule."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RuleFacts:
    """Of a rule; see `studies.early_stopping.base.StoppingRule`."""

    needs_gap: bool
    figure: str
