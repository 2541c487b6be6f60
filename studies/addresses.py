"""Addresses of stores below the root folder, kept relative to it: a root that is copied or moved has its own store."""

from pathlib import Path

SQLITE = "sqlite:///"
_BELOW = "root:"


def default_uri(root: Path) -> str:
    """The embedded store beside the artifacts: an SQLite file under `root`."""
    return f"{SQLITE}{root.resolve()}/mlflow.db"


def relative_to_root(uri: str, root: Path) -> str:
    """The address as a ledger keeps it: `root:mlflow.db` for a store below `root`, any other as it is."""
    if not uri.startswith(SQLITE):
        return uri
    path = Path(uri.removeprefix(SQLITE)).resolve()
    return f"{_BELOW}{path.relative_to(root.resolve())}" if path.is_relative_to(root.resolve()) else uri


def address_in(kept: str, folder: Path) -> str:
    """The address that a ledger keeps, for the study in `folder` as it lies now.

    Before there were relative ones a ledger kept absolute ones. Where such a one is of another root, with this study in
    it, or of one that is gone, and a store lies beside the study, the root was copied or moved: that store is meant.
    """
    root = folder.parent.resolve()
    if kept.startswith(_BELOW):
        return f"{SQLITE}{root / kept.removeprefix(_BELOW)}"
    if not kept.startswith(SQLITE):
        return kept
    before = Path(kept.removeprefix(SQLITE))
    here = root / before.name
    was_root = (before.parent / folder.name / "events.jsonl").exists() or not before.exists()
    return f"{SQLITE}{here}" if before != here and here.exists() and was_root else kept
