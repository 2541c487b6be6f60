"""Which member of a front to take, and what it gains and loses against the unregularized baseline."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ndecore.errors import InputError
from ndecore.metrics import METRICS, Direction, Metric
from reports.pareto import contributions, cost_matrix, front, knee, nearest_ideal, non_empty_front
from reports.records import StudyRecord, TrialRecord
from reports.statistics import Interval, difference_interval, ratio_interval
from reports.wording import difference_text, title

BASELINE = "vanilla"  # the label of the trial that ratios refer to
RATIOS = tuple(METRICS[name] for name in ("nfe", "train_s", "predict_s"))
_TAIL = 4  # the last 1/4 of a training tells how far its score scatters from epoch to epoch
_LEAST_TAIL = 3  # epochs
_SPREADS = 2.0  # standard deviations that are noise
_UNKNOWN_NOISE = 0.01  # of the baseline's value, where nothing tells the noise


class Rule(StrEnum):
    """How one member of a front is chosen."""

    KNEE = "knee"  # nearest the ideal point, of those that are not worse than the baseline in the first objective
    IDEAL = "ideal"  # nearest the ideal point, whatever it loses
    TRADE = "trade"  # least costs relative to the baseline's, of those that are not worse in the first objective
    CONTRIBUTION = "contribution"  # without it the front would lose the most hypervolume


def baseline_trial(study: StudyRecord) -> TrialRecord | None:
    """The first trial labelled `BASELINE` that trained to its end; None where there is none."""
    return next((t for t in study.trials if t.label == BASELINE and t.values(study.objectives)), None)


def knee_trial(study: StudyRecord) -> TrialRecord:
    """The member that is recommended, by `Rule.KNEE`; raise InputError where the front is empty."""
    return chosen_trial(study, Rule.KNEE)


def chosen_trial(study: StudyRecord, rule: Rule) -> TrialRecord:
    """The member of a study's front that a rule chooses.

    The knee and the trade are looked for among the members that keep the baseline's first objective within its noise
    (see `lead`); where there is no baseline, or no member keeps it, among all. Of members that keep it and are equally
    near the ideal point, the knee is the one with the least costs relative to the baseline's.

    Raises:
        InputError: the front is empty.
    """
    members = non_empty_front(study)
    costs = cost_matrix(members, study.objectives)
    if rule is Rule.IDEAL:
        return members[knee(costs)]
    if rule is Rule.CONTRIBUTION:
        return members[int(np.argmax(contributions(costs)))]
    baseline = baseline_trial(study)
    keeping = [i for i, trial in enumerate(members) if baseline is None or not is_worse(study, trial, baseline)]
    among = keeping or list(range(len(members)))
    if rule is Rule.KNEE or baseline is None:
        among = [among[i] for i in nearest_ideal(costs[among])]  # normalised over these
    if baseline is None or not (keeping or rule is Rule.TRADE):
        return members[among[0]]
    return members[min(among, key=lambda i: _mean_log_cost(study, members[i], baseline))]


def _mean_log_cost(study: StudyRecord, trial: TrialRecord, baseline: TrialRecord) -> float:
    """The logarithm of the geometric mean of the objectives that are costs, relative to the baseline's."""
    ours, theirs = trial.epochs[-1].objectives(), baseline.epochs[-1].objectives()
    names = [m.name for m in study.objectives if m.direction is Direction.MINIMIZE]
    logs = [math.log(ours[name] / theirs[name]) for name in names if ours[name] > 0.0 and theirs[name] > 0.0]
    return statistics.fmean(logs) if logs else 0.0


def lead(study: StudyRecord, trial: TrialRecord, baseline: TrialRecord) -> Interval:
    """By how much a trial is better than the baseline in the first objective, positive where it is better.

    Over the seeds of a confirmation, where both have some: the paired mean difference with its 95 % interval. Else the
    difference of the two trainings, give or take two standard deviations of the baseline's score over the last quarter
    of its epochs, straight trend removed: what one training scatters from epoch to epoch. No bounds where the baseline
    has too few epochs for that.

    Returns:
        In the objective's unit; `n` is the number of seeds.
    """
    metric = study.objectives[0]
    sign = 1.0 if metric.direction is Direction.MAXIMIZE else -1.0
    ours, theirs = (by_seed(study, each.number, metric) for each in (trial, baseline))
    shared = [seed for seed in ours if seed in theirs]
    if len(shared) > 1 and trial.number != baseline.number:
        return difference_interval([sign * ours[s] for s in shared], [sign * theirs[s] for s in shared])
    difference = sign * (trial.epochs[-1].objectives()[metric.name] - baseline.epochs[-1].objectives()[metric.name])
    noise = _SPREADS * _scatter(baseline, metric)
    return Interval(difference, difference - noise, difference + noise, 1, 0.95)


def is_worse(study: StudyRecord, trial: TrialRecord, baseline: TrialRecord) -> bool:
    """Whether a trial loses to the baseline in the first objective beyond noise; by 1 % of it where none is known."""
    found = lead(study, trial, baseline)
    unknown = _UNKNOWN_NOISE * abs(baseline.epochs[-1].objectives()[study.objectives[0].name])
    return found.mean < -unknown if math.isnan(found.high) else found.high < 0.0


def by_seed(study: StudyRecord, number: int, metric: Metric) -> dict[int, float]:
    """What a trial's confirmations measured, by seed; those that diverged are left out."""
    return {c.seed: c.test.objectives()[metric.name] for c in study.confirmations if c.trial == number and c.test}


def _scatter(trial: TrialRecord, metric: Metric) -> float:
    """The standard deviation of a metric about a line over the last epochs, in its unit; NaN with too few epochs."""
    values = [epoch.objectives()[metric.name] for epoch in trial.epochs]
    tail = values[-max(_LEAST_TAIL, len(values) // _TAIL) :]
    if len(tail) < _LEAST_TAIL or len(values) < 2 * _LEAST_TAIL:
        return math.nan
    steps = np.arange(len(tail), dtype=np.float64)
    residuals = np.asarray(tail) - np.polyval(np.polyfit(steps, tail, 1), steps)
    return float(np.sqrt(np.square(residuals).sum() / (len(tail) - 2)))


@dataclass(frozen=True)
class Comparison:
    """A trial beside the baseline."""

    trial: int
    baseline: int
    metric: Metric  # the first objective
    lead: Interval  # in its unit, positive where the trial is better
    ratios: Mapping[str, Interval]  # dimensionless, of `RATIOS`, by name; bounds are NaN with one seed
    nfe_at_equal_gap: float | None  # dimensionless: NFE over that of the baseline's weights at the same solver gap

    @property
    def n_seeds(self) -> int:
        """Seeds behind it."""
        return self.lead.n


def compare(study: StudyRecord, trial: TrialRecord) -> Comparison | None:
    """What a trial gains and loses against the baseline; None without one, or if it is the baseline itself."""
    baseline = baseline_trial(study)
    if baseline is None or baseline.number == trial.number:
        return None
    return Comparison(
        trial=trial.number,
        baseline=baseline.number,
        metric=study.objectives[0],
        lead=lead(study, trial, baseline),
        ratios={m.name: ratio for m in RATIOS if (ratio := _ratio(study, trial, baseline, m)) is not None},
        nfe_at_equal_gap=_nfe_at_equal_gap(study, trial, baseline),
    )


def _ratio(study: StudyRecord, trial: TrialRecord, baseline: TrialRecord, metric: Metric) -> Interval | None:
    ours, theirs = (by_seed(study, each.number, metric) for each in (trial, baseline))
    shared = [seed for seed in ours if seed in theirs]
    above = [ours[s] for s in shared] or [trial.epochs[-1].objectives()[metric.name]]
    below = [theirs[s] for s in shared] or [baseline.epochs[-1].objectives()[metric.name]]
    return ratio_interval(above, below) if min(*above, *below, math.inf) > 0.0 else None


def _nfe_at_equal_gap(study: StudyRecord, trial: TrialRecord, baseline: TrialRecord) -> float | None:
    """NFE relative to what the baseline's own weights need at a solver gap that is no larger; None if not swept."""
    gap, nfe = trial.epochs[-1].solver_gap, trial.epochs[-1].nfe
    swept = [p for p in study.swept if p.trial == baseline.number and p.scores]
    if gap is None or not swept:
        return None
    last = baseline.epochs[-1]
    known = [(p.solver_gap, p.nfe) for p in swept] + ([(last.solver_gap, last.nfe)] if last.solver_gap else [])
    as_good = [n for own_gap, n in known if own_gap <= gap]
    return nfe / min(as_good) if as_good else None


def comparison_sentence(study: StudyRecord, trial: TrialRecord) -> str:
    """One sentence: what a trial gains and loses against the baseline, and how sure that is; empty without a baseline.

    "Trial 0 is the unregularized baseline itself." Or:

    "Trial 7 against the baseline (trial 0): validation accuracy +1.10 points (no measurable difference), NFE x 0.32,
    training time x 0.48; one seed each, so the choice flatters it."
    """
    found = compare(study, trial)
    if found is None:
        return f"Trial {trial.number} is the unregularized baseline itself." if trial.label == BASELINE else ""
    is_confirmed = found.n_seeds > 1
    parts = [f"{title(found.metric)} {_lead_text(found)}"]
    for metric in RATIOS[:2]:
        if metric.name in found.ratios:
            parts.append(f"{title(metric)} x {_ratio_text(found.ratios[metric.name])}")
    if found.nfe_at_equal_gap is not None:
        parts.append(f"NFE x {found.nfe_at_equal_gap:.2f} at equal solver gap")
    sure = f"means over {found.n_seeds} new seeds, 95 % intervals" if is_confirmed else "one seed each, not confirmed"
    told = ", ".join(parts)
    told = told.replace("validation", "test") if is_confirmed else told
    return f"Trial {found.trial} against the baseline (trial {found.baseline}): {told}; {sure}."


def _lead_text(found: Comparison) -> str:
    interval = found.lead
    sign = 1.0 if found.metric.direction is Direction.MAXIMIZE else -1.0
    text = difference_text(found.metric, sign * interval.mean)
    if math.isnan(interval.low):
        return text
    if found.n_seeds > 1:
        bounds = sorted(sign * bound for bound in (interval.low, interval.high))
        text += f" [{', '.join(difference_text(found.metric, bound).split()[0] for bound in bounds)}]"
    verdict = "better" if interval.low > 0.0 else "worse" if interval.high < 0.0 else "no measurable difference"
    return f"{text} ({verdict})"


def _ratio_text(ratio: Interval) -> str:
    return f"{ratio.mean:.2f}" + ("" if math.isnan(ratio.low) else f" [{ratio.low:.2f}, {ratio.high:.2f}]")


def front_members(study: StudyRecord, rules: Sequence[Rule] = tuple(Rule)) -> dict[Rule, TrialRecord]:
    """What each rule chooses; nothing where the front is empty."""
    return {rule: chosen_trial(study, rule) for rule in rules} if front(study) else {}


def rule_named(name: str) -> Rule:
    """The rule of that name; raise `InputError` where there is none."""
    if name not in tuple(Rule):
        raise InputError(f"top: got {name!r}, allowed: {', '.join(Rule)}")
    return Rule(name)
