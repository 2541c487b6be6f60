"""The columns and charts with which a study's page opens in MLflow: a saved view, which is a tag of the experiment.

Its form was read from a view that MLflow 3.17 had saved itself; another version may not know it, and then the page
opens as MLflow arranges it.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

from ndecore.metrics import COSTS
from reports.records import StudyRecord
from reports.tables import distinct_keys
from reports.vocabulary import Tag

VIEW_KEY = "nde-study"  # in the address: viewStateShareKey=nde-study
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
VIEW_VERSION = "3.17"  # of MLflow
_NAME = "Trade-off"  # in the page's menu of views
_MOST_PARAMS, _MOST_AXES = 8, 4
_FIRST_TAGS, _LAST_TAGS = (Tag.FRONT, Tag.LABEL), (Tag.STATUS, Tag.FIDELITY, Tag.PACKED, Tag.NODE)
# What a study's own run logs; MLflow adds a chart of every other metric to the folded section at the end.
_COURSE = ("hypervolume", "front_size")
_RUNS = 1000  # in one chart, at most


def view_tag(study: StudyRecord) -> tuple[str, str]:
    """The name and the value of the tag; the same study has the same."""
    state = base64.b64encode(zlib.compress(_json(_state(study)).encode(), 9)).decode()
    view = {"name": _NAME, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{state}"}
    return VIEW_TAG, _json(view)


def _state(study: StudyRecord) -> dict[str, Any]:
    columns = _columns(study)
    sections = [("trade-off", "Trade-off", True), ("learning", "Learning curves", True), ("course", "The study", True)]
    sections.append(("rest", "Model metrics", False))
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": list(_charts(study)),
        "compareRunSections": [
            {
                "uuid": uuid,
                "name": name,
                "display": is_open,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
            }
            for uuid, name, is_open in sections
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _columns(study: StudyRecord) -> list[str]:
    score = _score(study)
    metrics = dict.fromkeys([*(metric.name for metric in study.objectives), f"best_{score}", "solver_gap"])
    params = distinct_keys(study)[:_MOST_PARAMS]
    names = [("tags", _FIRST_TAGS), ("metrics", metrics), ("params", params), ("tags", _LAST_TAGS)]
    return [f"{kind}.`{name}`" for kind, of_kind in names for name in of_kind]


def _charts(study: StudyRecord) -> Iterable[dict[str, Any]]:
    score = _score(study)
    for x, y in (("nfe", score), ("train_s", "nfe")):
        axes = {"xaxis": _axis(x), "yaxis": _axis(y)}
        yield _chart(f"{y}-{x}", "SCATTER", "trade-off", **axes)
    metrics = [metric.name for metric in study.objectives]
    chosen = {"selectedParams": _common_keys(study), "selectedMetrics": metrics, "showAllRuns": False}
    yield _chart("parallel", "PARALLEL", "trade-off", **chosen)
    for section, names in (("learning", (score, "nfe", "train_loss", "penalty")), ("course", _COURSE)):
        for name in names:
            yield _line(name, section)


def _score(study: StudyRecord) -> str:
    """What is weighed against the costs: the first objective that is none."""
    return next((m.name for m in study.objectives if m.name not in COSTS), study.objectives[0].name)


def _common_keys(study: StudyRecord) -> list[str]:
    """Varied keys that all configs have: a line through an axis that it has no value on is not drawn."""
    configs = [trial.config for trial in study.trials]
    return [key for key in distinct_keys(study) if all(key in config for config in configs)][:_MOST_AXES]


def _axis(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}


def _line(name: str, section: str) -> dict[str, Any]:
    return _chart(
        f"line-{name}",
        "LINE",
        section,
        metricKey=name,
        displayName=name,
        lineSmoothness=0,
        xAxisScaleType="linear",
        scaleType="linear",
        range={},
        xAxisKey="step",
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _chart(uuid: str, kind: str, section: str, **own: Any) -> dict[str, Any]:
    common = {"uuid": uuid, "type": kind, "metricSectionId": section, "runsCountToCompare": _RUNS}
    return common | {"deleted": False, "isGenerated": False} | own


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
