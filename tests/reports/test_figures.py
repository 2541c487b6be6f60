"""The figure shows the front that was computed."""

import math
from dataclasses import replace

import pytest
from made_up_studies import OBJECTIVES, realistic, realistic_trials, study_of, trial

from ndecore.metrics import METRICS, Direction
from reports.choice import knee_trial
from reports.figures.front import front_figure
from reports.pareto import front
from reports.records import Threshold


def traces(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_every_panel_holds_exactly_the_front_and_the_knee():
    study = realistic()
    figure = front_figure(study)
    expected = [member.number for member in front(study)]
    assert [list(trace.customdata) for trace in traces(figure, "Pareto front")] == [expected] * 3
    assert [list(trace.customdata) for trace in traces(figure, "knee")] == [[knee_trial(study).number]] * 3


def test_every_measured_trial_is_drawn_once_in_each_panel():
    study = realistic()
    drawn = [
        number
        for trace in front_figure(study).data
        if trace.xaxis == "x" and trace.mode == "markers" and trace.name != "knee"
        for number in trace.customdata
    ]
    assert sorted(drawn) == list(range(22))
    infeasible = traces(front_figure(study), "infeasible")
    assert list(infeasible[0].customdata) == [9, 15]


def test_the_main_panel_is_accuracy_against_nfe_with_units():
    layout = front_figure(realistic()).layout
    assert layout.xaxis.title.text == "NFE (evaluations per held-out batch)"
    assert layout.yaxis.title.text == "validation accuracy"
    assert layout.coloraxis.colorbar.title.text == "training time (s)"


def test_the_title_names_study_task_and_counts():
    title = front_figure(realistic()).layout.title
    assert "made-up" in title.text
    assert title.subtitle.text.startswith("task digits_node · 24 trials · 7 on the front")


def test_the_knee_and_the_configs_proposed_by_name_are_annotated():
    texts = [annotation.text for annotation in front_figure(realistic()).layout.annotations]
    assert texts == ["vanilla", "<b>knee</b> · er-code", "sr-paper"]


def test_hovering_shows_objectives_gap_and_searched_values():
    shown = traces(front_figure(realistic()), "knee")[0].hovertext[0]
    for line in ("trial 1 · er-code", "validation accuracy: 97.06 %", "solver gap: 0.001", "weight: 100", "lr: 0.01"):
        assert line in shown


def test_costs_that_span_more_than_a_decade_are_logarithmic_with_labels_in_place():
    study = study_of(trial(0, 0.9, 20.0, 1.0, label="vanilla"), trial(1, 0.95, 400.0, 2.0))
    layout = front_figure(study).layout
    assert (layout.xaxis.type, layout.yaxis.type) == ("log", None)
    assert layout.annotations[0].x == pytest.approx(math.log10(20.0))


@pytest.mark.parametrize(("n_objectives", "n_panels"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_any_number_of_objectives_is_drawn(n_objectives, n_panels):
    more = (*OBJECTIVES, METRICS["predict_s"], METRICS["train_work"])
    figure = front_figure(study_of(*realistic_trials(), objectives=more[:n_objectives]))
    assert len(traces(figure, "Pareto front")) == n_panels


def test_a_study_without_trials_is_drawn_empty():
    assert len(traces(front_figure(study_of()), "knee")) == 3


def test_names_from_outside_are_text_and_not_markup():
    study = study_of(trial(0, 0.9, 20.0, 1.0, label="<i>x</i>", solver="</script>"), trial(1, 0.8, 30.0, 2.0))
    assert "&lt;i&gt;x" in front_figure(study).layout.annotations[0].text


def test_labels_of_trials_at_one_place_are_one_text():
    same = [trial(n, 0.9, 20.0, 1.0, label=label) for n, label in enumerate(("vanilla", "er-code"))]
    (annotation,) = front_figure(study_of(*same)).layout.annotations
    assert annotation.text == "<b>knee</b> · vanilla · er-code"


def test_thresholds_are_lines_in_the_panels_that_have_their_metric():
    bounds = (Threshold("nfe", 100.0, Direction.MINIMIZE), Threshold("accuracy", 0.95, Direction.MAXIMIZE))
    layout = front_figure(replace(realistic(), thresholds=bounds)).layout
    main = [line for line in layout.shapes if line.xref == "x" or line.yref == "y"]
    assert [(line.x0, line.y0) for line in main] == [(100.0, 0), (0, 0.95)]
    assert {"nfe &lt;= 100", "accuracy &gt;= 0.95"} <= {annotation.text for annotation in layout.annotations}
