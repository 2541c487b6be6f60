"""The report of a study: what was computed for it, and its sections, each a text with a figure or tables."""

from collections.abc import Callable
from dataclasses import dataclass

from reports.choice import BASELINE, baseline_trial, comparison_sentence, knee_trial
from reports.confirmed import confirmed_study, front_sentence, published_study
from reports.figures.confirmed import confirmed_figure, sweep_figure
from reports.figures.curves import growth_figure, learning_figure
from reports.figures.front import front_figure
from reports.figures.importance import importance_figure
from reports.figures.solver import solver_figure
from reports.figures.space import space_figure
from reports.figures.style import Figure
from reports.figures.timeline import timeline_figure
from reports.importance import LEAST_TRIALS, Importance, importances
from reports.pareto import front
from reports.records import StudyRecord
from reports.report_confirmed import confirmed_report_table, swept_table
from reports.report_tables import apart_table, importance_table, machines_table, solver_table
from reports.solver_profile import SolverProfile
from reports.table_formats import Table
from reports.tables import baseline_sentence, counts_sentence, front_table
from reports.wording import on_test, title, value_text


@dataclass(frozen=True)
class StudyReport:
    """A study with what its report needs beyond its records."""

    study: StudyRecord
    importances: tuple[Importance, ...]
    profiles: tuple[SolverProfile, ...]  # of the knee, and of the baseline beside it


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    anchor: str
    heading: str
    text: str
    draw: Callable[[], Figure | None] = lambda: None  # called for the page alone
    height: int = 420  # px, of the figure
    tables: tuple[Table, ...] = ()
    aside: str = ""  # what is said of the figure, on the page alone


def study_report(study: StudyRecord, profiles: tuple[SolverProfile, ...] = ()) -> StudyReport:
    """Compute what the report shows; `profiles` come from trained weights, which this room does not load."""
    return StudyReport(study, importances(study), profiles)


def sections(report: StudyReport) -> tuple[Section, ...]:
    """The report from top to bottom."""
    study = report.study
    return (
        *_confirmed(study),
        _front(study),
        _space(study),
        _apart(study),
        *_sweep(study),
        _learning(study),
        _importance(report),
        _solver(report),
        _growth(study),
        _machines(study),
    )


def headline(study: StudyRecord) -> tuple[tuple[str, str, str], ...]:
    """The knee of the front that is published in numbers: what, how much, and against the baseline."""
    is_confirmed, study = confirmed_study(study) is not None, published_study(study)
    if not front(study):
        return ()
    baseline = baseline_trial(study)
    measured = knee_trial(study).epochs[-1].objectives()
    before = baseline.epochs[-1].objectives() if baseline else {}
    names = dict.fromkeys([*(metric.name for metric in study.objectives), "predict_s"])
    found = []
    for metric in map(study.metric, names):
        value, other = measured[metric.name], before.get(metric.name, 0.0)
        unit = " s" if metric.unit.startswith("s") and metric.name.endswith("_s") else ""
        against = f"{BASELINE}: {value_text(metric, other)}{unit}" if before else ""
        if other > 0.0 and not metric.is_share:
            against += f" (x {value / other:.2f})"
        what = on_test(title(metric)) if is_confirmed else title(metric)
        found.append((what, f"{value_text(metric, value)}{unit}", against))
    return tuple(found)


def _confirmed(study: StudyRecord) -> tuple[Section, ...]:
    if confirmed_study(study) is None:
        return ()
    table = confirmed_report_table(study)
    text = (
        f"{front_sentence(study)} Means over the seeds with 95 % intervals; ratios are paired by seed. "
        "P(non-dominated) is how sure a place on the front is: the share of resampled seeds in which the trial is "
        "feasible and nothing is better in everything."
    )
    return (Section("confirmed", "The confirmed front", text, lambda: confirmed_figure(study), 440, (table,)),)


def _sweep(study: StudyRecord) -> tuple[Section, ...]:
    if not study.swept:
        return ()
    text = (
        "The trained models of the front solved again by other methods and tolerances, without training: a line for "
        "each."
    )
    aside = "Tight is on the right, loose on the left; a hollow point is beyond the solver gap: another model."
    return (Section("swept", "Tolerances", text, lambda: sweep_figure(study), 440, (swept_table(study),), aside),)


def recommendation(study: StudyRecord) -> str:
    """What the recommended config gains and loses; empty without a front or a baseline."""
    published = published_study(study)
    return comparison_sentence(published, knee_trial(published)) if front(published) else ""


def _front(study: StudyRecord) -> Section:
    text = f"{counts_sentence(study)} {baseline_sentence(study)} Measured on the validation split at the last epoch."
    aside = "Each panel's line is the front of its own two objectives. Point at a trial for its config."
    heading = "The front" if confirmed_study(study) is None else "The front of the search"
    if not front(study):
        return Section("front", heading, f"{text} No trial is on the front yet.")
    return Section(
        "front", heading, text, lambda: front_figure(study, with_title=False), 600, (front_table(study),), aside
    )


def _space(study: StudyRecord) -> Section:
    aside = "The same trials in the space of the three objectives; drag to turn it."
    if len(study.objectives) < 3:
        aside = "Fewer than three objectives: the figure above has all there is."
    return Section("space", "The front in three dimensions", "", lambda: space_figure(study), 520, aside=aside)


def _apart(study: StudyRecord) -> Section:
    table = apart_table(study)
    text = (
        "Partial trials look cheap because NFE rises while a model trains; a trial beyond the solver gap or a "
        "threshold is another model or not good enough; one that diverged or failed has no result."
    )
    if not table.rows:
        return Section("apart", "Shown apart", "Every trial was trained to its end and is feasible.")
    return Section("apart", "Shown apart", text, tables=(table,))


def _learning(study: StudyRecord) -> Section:
    aside = "Members of the front, the knee thick, and the baseline dashed: held-out score and NFE after each epoch."
    if not any(len(trial.epochs) > 1 for trial in study.trials):
        aside = "Only last epochs are known here; MLflow's own charts have the curves."
    return Section("learning", "Learning curves", "", lambda: learning_figure(study), aside=aside)


def _importance(report: StudyReport) -> Section:
    study, found = report.study, report.importances
    heading = "Hyperparameter importance"
    if not found:
        return Section("importance", heading, f"This takes {LEAST_TRIALS} complete trials that differ.")
    text = (
        "How much worse a random forest predicts an objective when the values of one parameter are shuffled, measured "
        "on trials that it has not seen; R² is the share of the ranks' variance that it explains there, and where that "
        "is nothing the shares mean nothing. A parameter that only some trials take counts with them."
    )
    aside = "Bars are pale where nothing is explained."
    figure = lambda: importance_figure(found)  # noqa: E731
    return Section("importance", heading, text, figure, 360, (importance_table(found, study),), aside)


def _solver(report: StudyReport) -> Section:
    profiles, heading = report.profiles, "The solver's way"
    if not profiles:
        return Section("solver", heading, "The trained weights of the knee are not at hand here.")
    text = (
        "One solve of a held-out batch by the trained weights, each at its own tolerances: step sizes, error ratios "
        "(a step is accepted below 1) and the stiffness estimate along t."
    )
    table = solver_table(profiles, report.study)
    return Section("solver", heading, text, lambda: solver_figure(profiles), 360, (table,))


def _growth(study: StudyRecord) -> Section:
    aside = "The share that the front dominates of the box from the best to the worst feasible value of each objective."
    return Section("growth", "Hypervolume over time", "", lambda: growth_figure(study), 320, aside=aside)


def _machines(study: StudyRecord) -> Section:
    table = machines_table(study)
    return Section("machines", "What ran where", table.caption, lambda: timeline_figure(study), 0, (table,))
