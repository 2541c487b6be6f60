"""Whether a spec, and the files that it names, are those with which a study began."""

from collections.abc import Mapping
from pathlib import Path

from ndecore.errors import InputError
from reports.records import TrialStatus
from search_spaces.problems import shown
from studies.code_files import changed, packed
from studies.ledger import Ledger
from studies.spec import StudySpec

_FREE = ("workers", "tracking_uri", "scores")  # which do not change a study's results; scores are the task's code


def check_same_spec(spec: StudySpec, ledger: Ledger) -> Mapping[Path, Path]:
    """Compare a spec as the user has it now with the study's own.

    Returns:
        The files that were changed since, where that is allowed: copy -> original.

    Raises:
        InputError: a key of the spec differs; or a file, though trials are complete.
    """
    now, originals = packed(spec.without_passwords())
    before, after = ledger.spec.to_data(), now.to_data()
    if any(after[key] != before.get(key) for key in after if key not in _FREE):
        raise InputError(_differ(spec, ledger, before, after))
    recoded = changed(ledger.folder, originals)
    n_complete = sum(trial.status is TrialStatus.COMPLETE for trial in ledger.history.trials.values())
    if recoded and n_complete:
        raise InputError(
            f"{', '.join(map(str, recoded.values()))}: was changed since study {ledger.name!r} began, and {n_complete} "
            "trials are complete that ran it as it was; give this one another name with --name, or go on with "
            f"`nde-study resume {ledger.name}` (the file as it was) or its --retry-failed (as it is now)"
        )
    return recoded


def _differ(spec: StudySpec, ledger: Ledger, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    keys = [key for key in after if key not in _FREE and after[key] != before.get(key)]
    told = "; ".join(f"{key}: got {_short(after[key])}, began with {_short(before.get(key))}" for key in keys)
    n_more = spec.trials - ledger.spec.trials
    more = f"`nde-study resume {spec.name} --trials +{n_more}` adds trials"
    remedy = f"{more}; " if "trials" in keys and n_more > 0 else ""
    return (
        f"study {spec.name!r} exists under {ledger.folder.parent} with another spec: {told}; {remedy}"
        "give this one another name with --name"
    )


def _short(value: object) -> str:
    text = shown(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
