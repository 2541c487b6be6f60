"""The view reads back from its tag, and names what the study has."""

import base64
import json
import zlib

from made_up_studies import OBJECTIVES, realistic, study_of

from reports.shared_view import VIEW_TAG, view_tag


def state(study):
    name, value = view_tag(study)
    assert name == VIEW_TAG
    packed = json.loads(value)["state"]
    assert packed.startswith("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))


def test_columns_are_of_what_the_study_measured_and_varied():
    columns = state(realistic())["selectedColumns"]
    assert columns[:2] == ["tags.`nde.front`", "tags.`nde.label`"]
    for column in ("metrics.`accuracy`", "metrics.`best_accuracy`", "metrics.`nfe`", "params.`regularizer`"):
        assert column in columns
    assert len(columns) == len(set(columns))


def test_charts_are_accuracy_against_nfe_nfe_against_seconds_parallel_coordinates_and_curves():
    charts = state(realistic())["compareRunCharts"]
    axes = [(c["xaxis"]["key"], c["yaxis"]["key"]) for c in charts if c["type"] == "SCATTER"]
    assert axes == [("nfe", "accuracy"), ("train_s", "nfe")]
    (parallel,) = [c for c in charts if c["type"] == "PARALLEL"]
    assert parallel["selectedMetrics"] == ["accuracy", "nfe", "train_s"]
    assert parallel["selectedParams"] == ["lr"]  # the two trials that ended early lack the others
    assert {c["metricKey"] for c in charts if c["type"] == "LINE"} >= {"accuracy", "nfe", "hypervolume"}
    sections = {section["uuid"] for section in state(realistic())["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts} <= sections
    assert len({chart["uuid"] for chart in charts}) == len(charts)


def test_the_same_study_has_the_same_view_and_one_without_trials_has_one():
    assert view_tag(realistic()) == view_tag(realistic())
    assert len(view_tag(realistic())[1]) < 5000  # what MLflow has room for is 20000
    assert state(study_of(objectives=OBJECTIVES[1:2]))["compareRunCharts"]
