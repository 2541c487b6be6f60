"""A study's spec: what is trained, what varies, what is measured, how many trials. Validated once, before all else.

Torch, Ray, Optuna and MLflow are not imported here: a spec is checked in well under a second.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ndecore.metrics import COSTS, METRICS, Metric, counts_epochs
from ndecore.tasks import TASKS
from reports.codec import encode
from reports.records import Threshold
from search_spaces.document import Document, Node, load_document
from search_spaces.domains import Value
from search_spaces.parameters import MAX_SEED
from search_spaces.parse import space_data
from search_spaces.problems import Problem, SpecError, did_you_mean
from search_spaces.shipped import YAML_SUFFIXES
from search_spaces.space import Space
from search_spaces.start import StartConfig
from studies.grid import grid_size
from studies.limits import EvaluateTolerances, Resources, StopRules
from studies.secret import without_password
from studies.spec_search import FAMILIES, SAMPLERS, Found, Fronts, no_fronts, read_search
from studies.spec_stopping import NO_STOPPING, STOPPING_ALLOWED, RuleChoice, read_rule
from studies.thresholds import SOLVER_GAP, THRESHOLDS_ALLOWED, read_thresholds

MAX_GRID = 10_000  # configs
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"  # of a study: a folder and an experiment bear it
_FOLDER = Path(__file__).parent


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a name twice")
    return names


_NESTED: Mapping[str, type[BaseModel]] = {
    "stop": StopRules,
    "resources": Resources,
    "evaluate_tolerances": EvaluateTolerances,
}


class StudySpec(BaseModel):
    """What a study is. The fields are the keys of its file; each description says what is allowed there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(
        pattern=NAME_PATTERN,
        description="up to 64 of a-z, 0-9, - and _, the first a letter or digit",
    )
    task: str = Field(description=TASKS.allowed)
    objectives: Annotated[tuple[str, ...], AfterValidator(_each_once)] = Field(
        min_length=1,
        strict=False,
        description="a list with one or more metrics, each once; by default the task's first and costs",
    )
    trials: int = Field(default=24, ge=1, description="a whole number >= 1")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description=f"a whole number from 0 to {MAX_SEED}")
    seeds_per_trial: int = Field(
        default=1,
        ge=1,
        description="a whole number >= 1, the trainings whose mean a trial is; `n_seeds` of each config",
    )
    sampler: str = Field(default="tpe", description=SAMPLERS.allowed)
    workers: int = Field(default=2, ge=1, description="a whole number >= 1")
    resources: Resources = Field(default=Resources(), description="a mapping of cpu and gpu to numbers")
    max_solver_gap: float = Field(default=0.01, gt=0, allow_inf_nan=False, description="a finite number > 0")
    thresholds: tuple[str, ...] = Field(default=(), strict=False, description=THRESHOLDS_ALLOWED)
    scores: tuple[Metric, ...] = Field(default=(), description="what the task scores, as a study writes it down")
    stop: StopRules = Field(
        default=StopRules(), description="a mapping of hours, device_hours, flat_trials, same_error"
    )
    early_stopping: RuleChoice = Field(default=NO_STOPPING, description=STOPPING_ALLOWED)
    epoch_gaps: bool = Field(
        default=False, description="true or false, whether the solver gap is estimated after every epoch"
    )
    epoch_weights: bool | None = Field(
        default=None,
        description="true or false, whether the weights of epochs on the anytime front are kept; where it is not said, "
        "if a cost of training is an objective",
    )
    timeout_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="a finite number > 0, seconds of training of one trial"
    )
    evaluate_tolerances: EvaluateTolerances | None = Field(
        default=None, description="a mapping of solver and rtol to lists, solved once more at the end of each trial"
    )
    checkpoint_every: int = Field(default=1, ge=1, description="a whole number >= 1, epochs")
    grid_points: int = Field(default=3, ge=2, description="a whole number >= 2, values of each range")
    storage: str | None = Field(
        default=None,
        pattern=r"^\w[\w+.-]*://",
        description="a text, the URL of a database such as postgresql://host/name",
    )
    tracking_uri: str | None = Field(default=None, description="a text, the URI of an MLflow server or store")
    declared_space: Space = Field(alias="space", description="what `space` says, before `fixed`")
    fixed: Mapping[str, Value] = Field(description="a mapping of parameters to values")
    start: tuple[StartConfig, ...] = Field(alias="start_from", description="configs proposed first, at most `trials`")

    @property
    def keeps_epochs(self) -> bool:
        """Whether the weights of epochs on the anytime front are kept."""
        return counts_epochs(self.objective_metrics) if self.epoch_weights is None else self.epoch_weights

    @cached_property
    def space(self) -> Space:
        """What varies: the declared space with the fixed values in the place of its domains."""
        return self.declared_space.fix(self.fixed)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """What every trial measures, by name: the task's scores, then the costs of every task."""
        return {metric.name: metric for metric in (*self.scores, *map(METRICS.__getitem__, COSTS))}

    @property
    def objective_metrics(self) -> tuple[Metric, ...]:
        """The objectives, with unit and direction."""
        return tuple(self.metrics[name] for name in self.objectives)

    @cached_property
    def metric_thresholds(self) -> tuple[Threshold, ...]:
        """The thresholds on metrics; that on the solver gap is `solver_gap_bound`."""
        return tuple(each for each in read_thresholds(self.thresholds, self.metrics) if each.name != SOLVER_GAP)

    @cached_property
    def solver_gap_bound(self) -> float:
        """The largest solver gap of a trial on the front, dimensionless."""
        gaps = [each.bound for each in read_thresholds(self.thresholds, self.metrics) if each.name == SOLVER_GAP]
        return min([self.max_solver_gap, *gaps])

    @property
    def cpus(self) -> int:
        """Cores that one trial takes."""
        return self.resources.cpu or int(self.fixed.get("threads", 1))

    @property
    def devices_per_trial(self) -> float:
        """What a device-hour is counted in: GPUs where a trial takes any, else cores."""
        return self.resources.gpu or self.cpus

    def without_passwords(self) -> "StudySpec":
        """The same spec as it may be written down."""
        uris = {key: getattr(self, key) for key in ("storage", "tracking_uri")}
        return self.model_copy(update={key: without_password(uri) for key, uri in uris.items() if uri})

    def to_data(self) -> dict[str, Any]:
        """Return the spec as plain JSON types, space and presets written out; such a file reads as an equal spec."""
        written = {"declared_space", "fixed", "start", "objectives", "thresholds", "scores", "early_stopping"}
        data: dict[str, Any] = self.model_dump(exclude=written)
        search: dict[str, Any] = {
            "scores": [encode(metric) for metric in self.scores],
            "objectives": list(self.objectives),
            "thresholds": list(self.thresholds),
            "early_stopping": {"rule": self.early_stopping.rule} | dict(self.early_stopping.keys),
            "space": space_data(self.declared_space),
            "fixed": dict(self.fixed),
            "start_from": [({"label": s.label} if s.label else {}) | dict(s.config) for s in self.start],
        }
        evaluate = self.evaluate_tolerances
        if evaluate is not None:
            search["evaluate_tolerances"] = {"solver": list(evaluate.solver), "rtol": list(evaluate.rtol)}
        return data | search

    def to_yaml(self) -> str:
        """Return `to_data` as the text of a file; the order of keys is kept, since it is the order of the search."""
        return yaml.safe_dump(self.to_data(), sort_keys=False)


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the studies that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_spec(
    path_or_name: str | Path,
    changes: Mapping[str, Value] | None = None,
    fronts: Fronts = no_fronts,
    is_stored: bool = False,
) -> StudySpec:
    """Return the spec in a YAML file, or a shipped study by its bare name; raise SpecError with all that is wrong.

    `changes` replace keys of the file, and are checked as if they stood there. `fronts` looks up `{front_of: STUDY}`.
    `is_stored`: see `read_spec`.
    """
    path = str(path_or_name)
    if isinstance(path_or_name, str) and not path.endswith(YAML_SUFFIXES):
        if path not in shipped_studies():
            allowed = f"{', '.join(shipped_studies())}, or a path ending in .yaml"
            remedy = did_you_mean(path, shipped_studies())
            raise SpecError([Problem(path, None, "", "no study of this name", allowed, remedy)])
        path = str(_FOLDER / f"{path}.yaml")
    document = load_document(path)
    if changes and isinstance(document.data, dict):
        document = replace(document, data={**document.data, **changes})
    return read_spec(document, fronts, is_stored)


def read_spec(document: Document, fronts: Fronts = no_fronts, is_stored: bool = False) -> StudySpec:
    """Return the spec that a document describes; raise SpecError with everything that is wrong.

    One that a study has stored was checked when the study began. It reads without the code of its task, and of other
    members that are not ours: nobody needs that to look at the study.
    """
    root = replace(document, is_stored=is_stored).root
    if not isinstance(root.value, dict):
        raise SpecError([root.problem("a mapping of keys to values, at least name and task")])
    problems: list[Problem] = []
    found = Found.of(root, problems, is_stored)
    declared, fixed, start = read_search(root, problems, fronts, found)
    try:
        # Where the space was refused an empty one stands in, so that pydantic finds what is wrong elsewhere.
        rule = read_rule(root.at("early_stopping"), problems, is_stored)
        parsed = {
            "early_stopping": rule,
            "space": declared or Space(()),
            "fixed": fixed,
            "start_from": start,
            **found.data,
        }
        spec = StudySpec.model_validate(root.value | parsed)
    except ValidationError as error:
        problems.extend(_problem(root, tuple(found["loc"]), found["type"]) for found in error.errors())
        raise SpecError(problems) from error
    if not is_stored:
        problems.extend(_metric_problems(root, spec))
        problems.extend(_counting_problems(root, spec))
    if problems:
        raise SpecError(problems)
    return spec


def _counting_problems(root: Node, spec: StudySpec) -> list[Problem]:
    """What only the whole spec shows: more configs than trials, or more trials than configs."""
    problems = []
    if len(spec.start) > spec.trials:
        got = f"{len(spec.start)} configs"
        problems.append(root.at("start_from").problem(f"at most {spec.trials}, the study's trials", got))
    if spec.sampler == "grid":
        size = grid_size(spec.space, spec.grid_points, MAX_GRID + 1)
        if size > MAX_GRID:
            got = f"'grid' over more than {MAX_GRID} configs"
            allowed = "a smaller grid; fix some keys, lower grid_points, or take the sampler qmc"
            problems.append(root.at("sampler").problem(allowed, got))
        elif spec.trials > size + len(spec.start):
            allowed = f"at most {size + len(spec.start)}, the grid's configs and those of start_from"
            problems.append(root.at("trials").problem(allowed, str(spec.trials)))
    return problems


def _metric_problems(root: Node, spec: StudySpec) -> list[Problem]:
    """What is no metric of the task, or no bound on one."""
    problems = []
    for i, name in enumerate(spec.objectives):
        if spec.scores and name not in spec.metrics:
            node, remedy = root.at("objectives").at(i), did_you_mean(name, spec.metrics)
            problems.append(node.problem(f"one that {spec.task} has: {', '.join(spec.metrics)}", remedy=remedy))
    try:
        read_thresholds(spec.thresholds, spec.metrics)
    except ValueError:
        allowed = f"{THRESHOLDS_ALLOWED}; there are {', '.join((*spec.metrics, SOLVER_GAP))}"
        problems.append(root.at("thresholds").problem(allowed))
    return problems


def _problem(root: Node, place: tuple[str | int, ...], kind: str) -> Problem:
    """Return pydantic's finding of this kind at `place` in the form of every other problem."""
    node, described = root, ""
    model: type[BaseModel] = StudySpec
    for part in place:
        node = node.at(part)
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields:
            described = fields[str(part)].description or ""
            model = _NESTED.get(str(part), model)
    key = str(place[-1])
    if kind == "extra_forbidden":
        return node.problem(", ".join(fields), got=f"the unknown key {key!r}", remedy=did_you_mean(key, fields))
    return node.problem(described, remedy=did_you_mean(node.value, FAMILIES.get(str(place[0]), ())))
