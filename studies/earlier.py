"""The front of an earlier study as configs to start from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.pareto import non_empty_front
from search_spaces.member_names import renamed
from search_spaces.start import StartConfig
from studies.code_files import originals_of
from studies.ledger import Ledger


def front_configs(root: Path, study: str) -> tuple[StartConfig, ...]:
    """The configs of a front, labelled by study and trial; files in them by their own paths.

    Raises:
        InputError: there is no such study under `root`, or it has no front.
    """
    ledger = Ledger(root / Path(study).name)
    folder = ledger.folder.resolve()
    originals = originals_of(folder)

    def own(config: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = renamed(config, lambda path: originals.get(path, folder / path))
        return found

    return tuple(StartConfig(f"{study} {each.number}", own(each.config)) for each in non_empty_front(ledger.record()))
