"""A study's front in rows, for terminals, reports and JSON."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ndecore.metrics import Metric
from reports.choice import BASELINE, RATIOS, baseline_trial, comparison_sentence, front_members, knee_trial
from reports.pareto import feasible_trials, front, study_hypervolume
from reports.records import StudyRecord, TrialRecord
from reports.table_formats import Cell, Table
from reports.wording import gap_text, title, title_with_unit, value_text


@dataclass(frozen=True)
class FrontRow:
    """A member of the front, as a table shows it."""

    trial: int
    label: str
    values: Mapping[str, float]  # the study's objectives, by Metric.name, in their units
    regularizer: str
    weight: float | None  # dimensionless, at the first epoch; of a penalty alone, as the next
    weight_end: float | None  # dimensionless, at the last
    summand_weights: Mapping[str, Mapping[str, float]]  # of a sum: summand -> the same two, those that there are
    rtol: float | None  # dimensionless
    solver_gap: float | None  # dimensionless
    is_knee: bool
    ratios: Mapping[str, float]  # dimensionless, of `RATIOS` to the baseline; empty where there is none


def searched_keys(study: StudyRecord) -> tuple[str, ...]:
    """The config keys in which the trials differ, in the order of the configs: what the study varied."""
    configs = [trial.config for trial in study.trials]
    keys = dict.fromkeys(key for config in configs for key in config)
    absent = object()
    seen = {key: [config.get(key, absent) for config in configs] for key in keys}
    return tuple(key for key, values in seen.items() if any(value != values[0] for value in values))


def distinct_keys(study: StudyRecord) -> tuple[str, ...]:
    """The searched keys but those that repeat another in every trial, as atol does rtol where the study ties them."""
    columns: dict[tuple[str, ...], str] = {}
    for key in searched_keys(study):
        columns.setdefault(tuple(repr(trial.config.get(key)) for trial in study.trials), key)
    return tuple(columns.values())


def front_rows(study: StudyRecord) -> tuple[FrontRow, ...]:
    """The front as `pareto.front` sorts it, one row each; no rows where it is empty."""
    members = front(study)
    baseline = baseline_trial(study)
    chosen = knee_trial(study) if members else None
    return tuple(_row(study, trial, baseline, trial is chosen) for trial in members)


def compared_rows(study: StudyRecord) -> tuple[FrontRow, ...]:
    """The front, and above it the baseline where that is not on it."""
    rows, baseline = front_rows(study), baseline_trial(study)
    if baseline is None or baseline.number in [row.trial for row in rows]:
        return rows
    return (_row(study, baseline, baseline, is_knee=False), *rows)


def front_table(study: StudyRecord) -> Table:
    """The front, and above it the baseline where that is not on it; with the ratios that the papers' tables have."""
    rows = compared_rows(study)
    ratios = tuple(metric for metric in RATIOS if rows and metric.name in rows[0].ratios)
    heads = ("trial", "label", *map(title_with_unit, study.objectives), "regularizer", "weight", "rtol", "solver gap")
    heads += (*(f"{title(m)} ratio" for m in ratios), "choice")
    is_number = (True, False, *(True for _ in study.objectives), False, False, True, True)
    return Table(
        name="front",
        caption=f"Pareto front of {study.name}. {baseline_sentence(study)}".rstrip(),
        heads=heads,
        is_number=(*is_number, *(True for _ in ratios), False),
        rows=tuple(_cells(row, study, ratios) for row in rows),
    )


def _cells(row: FrontRow, study: StudyRecord, ratios: tuple[Metric, ...]) -> tuple[Cell, ...]:
    values = [Cell(row.values[m.name], value_text(m, row.values[m.name])) for m in study.objectives]
    setting = [Cell(row.regularizer, row.regularizer), Cell(weight_text(row), weight_text(row))]
    setting += [Cell(row.rtol, _number(row.rtol)), Cell(row.solver_gap, gap_text(row.solver_gap))]
    against = [Cell(row.ratios[m.name], f"{row.ratios[m.name]:.2f}") for m in ratios]
    choice = "knee" if row.is_knee else ""
    return (
        Cell(row.trial, str(row.trial)),
        Cell(row.label, row.label),
        *values,
        *setting,
        *against,
        Cell(choice, choice),
    )


def study_summary(study: StudyRecord) -> dict[str, Any]:
    """What `show --json` prints: plain JSON values, every number with all its digits."""
    rows = front_rows(study)
    configs = {trial.number: dict(trial.config) for trial in study.trials}
    return {
        "study": study.name,
        "task": study.task,
        "objectives": [asdict(m) | {"direction": m.direction.value} for m in study.objectives],
        "max_solver_gap": study.max_solver_gap,
        "n_trials": study.n_trials,
        "trials": dict(Counter(trial.status.value for trial in study.trials)),
        "feasible": len(feasible_trials(study)),
        "hypervolume": study_hypervolume(study),
        "knee": next((row.trial for row in rows if row.is_knee), None),
        "choices": {rule.value: trial.number for rule, trial in front_members(study).items()},
        "comparison": comparison_sentence(study, knee_trial(study)) if rows else "",
        "front": [asdict(row) | {"config": configs[row.trial]} for row in rows],
        "versions": dict(study.versions or {}),
    }


def weight_text(row: FrontRow) -> str:
    """The penalty's weight, with where its schedule ends: "100 → 10"; of a sum "error 10, stiffness 1"."""
    if row.summand_weights:
        each = row.summand_weights.items()
        return ", ".join(f"{name} {_from_to(own.get('weight'), own.get('weight_end'))}" for name, own in each)
    return _from_to(row.weight, row.weight_end)


def _row(study: StudyRecord, trial: TrialRecord, baseline: TrialRecord | None, is_knee: bool) -> FrontRow:
    config, last = trial.config, trial.epochs[-1]
    measured = last.objectives()
    return FrontRow(
        trial=trial.number,
        label=trial.label,
        values={metric.name: measured[metric.name] for metric in study.objectives},
        regularizer=str(config.get("regularizer", "")),
        weight=config.get("weight"),
        weight_end=config.get("weight_end"),
        summand_weights=_summand_weights(config),
        rtol=config.get("rtol"),
        solver_gap=last.solver_gap,
        is_knee=is_knee,
        ratios=_ratios(trial, baseline) if baseline else {},
    )


def _summand_weights(config: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for key, value in config.items():
        summand, dot, name = key.rpartition(".")
        if dot and name in ("weight", "weight_end"):
            found.setdefault(summand, {})[name] = value
    return found


def _ratios(trial: TrialRecord, baseline: TrialRecord) -> dict[str, float]:
    ours, theirs = trial.epochs[-1].objectives(), baseline.epochs[-1].objectives()
    return {m.name: ours[m.name] / theirs[m.name] for m in RATIOS if theirs[m.name] > 0.0}


def counts_sentence(study: StudyRecord) -> str:
    """How many trials ended how, and how far the front reaches."""
    ends = ", ".join(f"{n} {end}" for end, n in Counter(t.status.value for t in study.trials).items())
    return (
        f"Task {study.task}; {len(study.trials)} of {study.n_trials} trials ({ends}), "
        f"{len(feasible_trials(study))} within solver gap {study.max_solver_gap:g}; "
        f"hypervolume {study_hypervolume(study):.3f} of the study's own box."
    )


def baseline_sentence(study: StudyRecord) -> str:
    """What the ratios refer to; empty where there are none."""
    baseline = baseline_trial(study)
    if baseline is None:
        return ""
    measured = baseline.epochs[-1].objectives()
    values = ", ".join(f"{title_with_unit(m)} {value_text(m, measured[m.name])}" for m in study.objectives)
    return f"Ratios are to trial {baseline.number}, {BASELINE}: {values}."


def _from_to(weight: float | None, weight_end: float | None) -> str:
    return _number(weight) if weight_end in (None, weight) else f"{_number(weight)} → {_number(weight_end)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
