"""The front of an earlier study as configs to start from."""

from pathlib import Path

from reports.pareto import non_empty_front
from search_spaces.start import StartConfig
from studies.ledger import Ledger


def front_configs(root: Path, study: str) -> tuple[StartConfig, ...]:
    """The configs of a front, labelled by study and trial.

    Raises:
        InputError: there is no such study under `root`, or it has no front.
    """
    members = non_empty_front(Ledger(root / Path(study).name).record())
    return tuple(StartConfig(f"{study} {member.number}", dict(member.config)) for member in members)
