"""The report as a page, Markdown, JSON and tables, of studies in any state."""

import csv
import json
import re
from dataclasses import replace
from functools import cache

import pytest
from made_up_studies import OBJECTIVES, epoch, realistic, study_of, trial

from reports.pareto import front
from reports.records import Confirmation, Deployment, StudyRecord, SweptPoint, TrialStatus
from reports.report import headline, sections, study_report
from reports.report_files import report_markdown, report_page, report_summary, write_report
from reports.solver_profile import SolverProfile

PROFILE = SolverProfile(1, "knee", 14, 0, (0.0, 0.2), (0.2, 0.8), (0.5, 0.9), (1.0, 2.0))


def grown(study: StudyRecord) -> StudyRecord:
    """With learning curves, times and machines, as from a ledger."""

    def known(each):
        epochs = tuple(replace(e, epoch=i + 1) for i, e in enumerate(each.epochs * 3))
        return replace(each, epochs=epochs, began_s=1000.0 + each.number, ended_s=1005.0 + each.number, node="a<b>")

    return replace(study, trials=tuple(map(known, study.trials)))


def confirmed(study: StudyRecord) -> StudyRecord:
    def measured(number, seed):
        last = study.trials[number].epochs[-1].objectives()
        return epoch(last["accuracy"] - 0.01 * seed, last["nfe"] + 6 * (seed % 2), last["train_s"] + 0.1 * seed)

    told = tuple(Confirmation(number, seed, measured(number, seed)) for number in (0, 1, 4) for seed in (1, 2, 3))
    return replace(study, confirming=(0, 1, 4), confirmations=told)


def swept(study: StudyRecord) -> StudyRecord:
    points = tuple(
        SweptPoint(1, Deployment(solver, rtol, rtol), {"accuracy": 0.97}, nfe, 2.0, 0.0, 0.01, gap)
        for solver in ("tsit5", "bosh3")
        for rtol, nfe, gap in ((1e-6, 26.0, 1e-4), (1e-1, 8.0, 0.2))
    )
    return replace(study, swept=points)


STUDIES = {
    "whole": grown(swept(confirmed(realistic()))),
    "from MLflow": realistic(),
    "empty": study_of(),
    "one objective": study_of(*realistic().trials, objectives=OBJECTIVES[:1]),
    "two objectives": study_of(*realistic().trials, objectives=OBJECTIVES[:2]),
    "all failed": study_of(replace(trial(0, 0.9, 20.0, 1.0), status=TrialStatus.FAILED, epochs=())),
    "without baseline": study_of(trial(0, 0.9, 20.0, 1.0)),
}


@cache
def whole():
    return study_report(STUDIES["whole"], (PROFILE,))


@pytest.mark.parametrize("state", STUDIES)
def test_a_study_in_any_state_has_a_report_whose_files_are_whole(state, tmp_path):
    written = write_report(tmp_path, whole() if state == "whole" else study_report(STUDIES[state]))
    assert written[0].name == "report.html"
    assert sorted(path for path in tmp_path.rglob("*.*")) == sorted(written)
    assert json.loads((tmp_path / "report.json").read_text())["study"] == "made-up"
    for path in tmp_path.glob("tables/*.csv"):
        rows = list(csv.reader(path.read_text().splitlines()))
        assert len({len(row) for row in rows}) == 1, path
        assert path.name == "trials.csv" or path.with_suffix(".tex").exists()


def test_the_page_needs_nothing_from_elsewhere_and_has_plotly_once():
    page = report_page(whole())
    assert page.count("plotly.js v") == 1
    ours = page.replace(page[page.index("<script>/*") : page.rindex("<script>")], "")  # without plotly's own text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|url\(|@import|https?://""", ours)


def test_figures_are_drawn_for_all_that_is_known():
    parts = {part.anchor: part for part in sections(whole())}
    names = ["confirmed", "front", "space", "apart", "swept", "learning", "importance", "solver", "growth", "machines"]
    assert list(parts) == names
    assert [name for name in names if parts[name].draw() is None] == ["apart"]
    assert parts["front"].heading == "The front of the search"


def test_of_a_study_from_mlflow_what_is_not_known_is_said_and_not_drawn():
    parts = {part.anchor: part for part in sections(study_report(STUDIES["from MLflow"]))}
    for anchor, said in (("learning", "Only last epochs are known here"), ("solver", "weights of the knee are not")):
        assert parts[anchor].draw() is None
        assert said in parts[anchor].text + parts[anchor].aside
    assert "confirmed" not in parts


def test_names_from_outside_are_text_in_the_page():
    odd = trial(0, 0.9, 20.0, 1.0, label="</script><b>x", regularizer="<i>r</i>")
    study = study_of(
        replace(odd, began_s=1.0, ended_s=9.0, node="<u>"),
        replace(trial(1, 0.8, 30.0, 2.0), status=TrialStatus.FAILED, reason="<img src=x>"),
    )
    page = report_page(study_report(replace(study, name="<s>name")))
    for markup in ("</script><b>", "<i>r", "<img src=x", "<s>name", "<u>"):
        assert markup not in page
    assert "&lt;img src=x&gt;" in page
    assert page.count("</script>") == len(re.findall(r"<script[ >]", page))


def test_what_is_not_on_the_front_is_apart_with_its_reason():
    parts = {part.anchor: part for part in sections(study_report(realistic()))}
    (table,) = parts["apart"].tables
    told = {row[0].value: (row[2].text, row[-1].text) for row in table.rows}
    assert told == {
        9: ("infeasible", "misses solver gap <= 0.01"),
        15: ("infeasible", "misses solver gap <= 0.01"),
        22: ("failed", "loss is nan at epoch 2"),
        23: ("failed", "worker lost"),
    }


def test_the_headline_is_the_knee_against_the_baseline():
    found = {what: (value, against) for what, value, against in headline(realistic())}
    assert found["NFE"] == ("26", "vanilla: 44 (x 0.59)")
    assert found["validation accuracy"] == ("97.06 %", "vanilla: 97.11 %")
    assert found["training time"] == ("6.1 s", "vanilla: 7.9 s (x 0.77)")


def test_the_headline_of_a_confirmed_study_is_of_its_means_on_the_test_split():
    found = {what: value for what, value, _ in headline(STUDIES["whole"])}
    assert (found["test accuracy"], found["NFE"]) == ("95.11 %", "48")


def test_the_confirmed_front_has_intervals_and_ratios_paired_by_seed():
    parts = {part.anchor: part for part in sections(whole())}
    (table,) = parts["confirmed"].tables
    row = next(row for row in table.rows if row[0].value == 1)
    cells = dict(zip(table.heads, row, strict=True))
    accuracies = [0.9706 - 0.01 * seed for seed in (1, 2, 3)]
    assert cells["test accuracy"].value == pytest.approx(sum(accuracies) / 3)
    half = 4.302652729911275 * 0.01 / 3**0.5  # Student's t of two degrees of freedom
    mean = sum(accuracies) / 3
    assert (
        cells["test accuracy"].text == f"{100 * mean:.2f} % [{100 * (mean - half):.2f} %, {100 * (mean + half):.2f} %]"
    )
    pairs = [(32 / 50), (26 / 44), (32 / 50)]
    assert cells["NFE ratio"].value == pytest.approx((pairs[0] * pairs[1] * pairs[2]) ** (1 / 3))
    assert 0.0 <= cells["P(non-dominated)"].value <= 1.0
    assert "3 new seeds" in parts["confirmed"].text


def test_swept_points_beyond_the_gap_are_told_apart():
    parts = {part.anchor: part for part in sections(whole())}
    figure = parts["swept"].draw()
    assert [list(trace.marker.symbol) for trace in figure.data] == [["circle", "circle-open"]] * 2
    (table,) = parts["swept"].tables
    assert sorted(row[-1].text for row in table.rows) == ["no", "no", "yes", "yes"]


def test_the_markdown_has_every_table_and_no_markup():
    report = whole()
    text = report_markdown(report)
    for part in sections(report):
        assert (f"## {part.heading}" in text) is bool(part.text or part.tables)
        for table in part.tables:
            assert "| " + " | ".join(table.heads) + " |" in text
    assert "<div" not in text


def test_the_markdown_leaves_out_what_only_a_figure_shows():
    text = report_markdown(study_report(realistic()))
    assert "## The front" in text
    assert "## Hypervolume over time" not in text
    assert "drag to turn" not in text
    assert "(R² " in text


def test_the_summary_is_strict_json():
    summary = report_summary(whole())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert [row["trial"] for row in summary["front"]] == [member.number for member in front(STUDIES["whole"])]
    assert set(summary["importance"]) == {"accuracy", "nfe", "train_s"}
