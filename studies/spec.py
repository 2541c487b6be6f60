"""A study's spec: what is trained, what varies, what is measured, how many trials. Validated once, before all else.

Torch, Ray, Optuna and MLflow are not imported here: a spec is checked in well under a second.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ndecore.errors import InputError
from ndecore.metrics import METRICS, Metric
from ndecore.tasks import STOCHASTIC, TASKS
from reports.records import Threshold
from search_spaces.document import Document, Node, load_document
from search_spaces.domains import Value
from search_spaces.parameters import MAX_SEED, read_parameters
from search_spaces.parse import space_data
from search_spaces.penalty import penalty_problems, solver_problems
from search_spaces.problems import Problem, SpecError, did_you_mean
from search_spaces.shipped import YAML_SUFFIXES, read_space_reference
from search_spaces.space import Space
from search_spaces.start import StartConfig, read_start
from studies.grid import grid_size
from studies.limits import EvaluateTolerances, Resources, StopRules
from studies.secret import without_password
from studies.thresholds import SOLVER_GAP, THRESHOLDS_ALLOWED, read_thresholds

SAMPLER_NAMES = ("tpe", "nsgaii", "nsgaiii", "qmc", "random", "grid")
MAX_GRID = 10_000  # configs
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"  # of a study: a folder and an experiment bear it
DEFAULT_SPACE, DEFAULT_SDE_SPACE = "regularized_ode", "regularized_sde"
DEFAULT_SDE_SOLVER = "sosri"  # as in `studies.build`; written out, for what else a space has is judged by it
_FOLDER = Path(__file__).parent
_FRONT = "front_of"
_NAMES: Mapping[str, Collection[str]] = {"task": TASKS, "objectives": METRICS, "sampler": SAMPLER_NAMES}


def _name_of(key: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in _NAMES[key]:
            raise ValueError(f"not a name of {key}")
        return name

    return AfterValidator(check)


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a name twice")
    return names


def _bounds(texts: tuple[str, ...]) -> tuple[str, ...]:
    read_thresholds(texts)
    return texts


_Objective = Annotated[str, _name_of("objectives")]


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
    task: Annotated[str, _name_of("task")] = Field(description=", ".join(TASKS))
    objectives: Annotated[tuple[_Objective, ...], AfterValidator(_each_once)] = Field(
        default=("accuracy", "nfe", "train_s"),
        min_length=1,
        strict=False,
        description=f"a list with one or more of {', '.join(METRICS)}, each once",
    )
    trials: int = Field(default=24, ge=1, description="a whole number >= 1")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description=f"a whole number from 0 to {MAX_SEED}")
    sampler: Annotated[str, _name_of("sampler")] = Field(default="tpe", description=", ".join(SAMPLER_NAMES))
    workers: int = Field(default=2, ge=1, description="a whole number >= 1")
    resources: Resources = Field(default=Resources(), description="a mapping of cpu and gpu to numbers")
    max_solver_gap: float = Field(default=0.01, gt=0, allow_inf_nan=False, description="a finite number > 0")
    thresholds: Annotated[tuple[str, ...], AfterValidator(_bounds)] = Field(
        default=(), strict=False, description=THRESHOLDS_ALLOWED
    )
    stop: StopRules = Field(
        default=StopRules(), description="a mapping of hours, device_hours, flat_trials, same_error"
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

    @cached_property
    def space(self) -> Space:
        """What varies: the declared space with the fixed values in the place of its domains."""
        return self.declared_space.fix(self.fixed)

    @property
    def objective_metrics(self) -> tuple[Metric, ...]:
        """The objectives, with unit and direction."""
        return tuple(METRICS[name] for name in self.objectives)

    @cached_property
    def metric_thresholds(self) -> tuple[Threshold, ...]:
        """The thresholds on metrics; that on the solver gap is `solver_gap_bound`."""
        return tuple(each for each in read_thresholds(self.thresholds) if each.name != SOLVER_GAP)

    @cached_property
    def solver_gap_bound(self) -> float:
        """The largest solver gap of a trial on the front, dimensionless."""
        gaps = [each.bound for each in read_thresholds(self.thresholds) if each.name == SOLVER_GAP]
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
        data: dict[str, Any] = self.model_dump(exclude={"declared_space", "fixed", "start", "objectives", "thresholds"})
        search: dict[str, Any] = {
            "objectives": list(self.objectives),
            "thresholds": list(self.thresholds),
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


Fronts = Callable[[str], Sequence[StartConfig]]  # the name of an earlier study -> the configs of its front


def no_fronts(study: str) -> Sequence[StartConfig]:
    """For where no earlier study can be looked up; a spec that asks for one is refused."""
    raise InputError(f"got {study!r}, allowed here: configs and presets")


def load_spec(
    path_or_name: str | Path, changes: Mapping[str, Value] | None = None, fronts: Fronts = no_fronts
) -> StudySpec:
    """Return the spec in a YAML file, or a shipped study by its bare name; raise SpecError with all that is wrong.

    `changes` replace keys of the file, and are checked as if they stood there. `fronts` looks up `{front_of: STUDY}`.
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
    return read_spec(document, fronts)


def read_spec(document: Document, fronts: Fronts = no_fronts) -> StudySpec:
    """Return the spec that a document describes; raise SpecError with everything that is wrong."""
    root = document.root
    if not isinstance(root.value, dict):
        raise SpecError([root.problem("a mapping of keys to values, at least name and task")])
    problems: list[Problem] = []
    declared, fixed, start = _read_search(root, problems, fronts)
    try:
        # Where the space was refused an empty one stands in, so that pydantic finds what is wrong elsewhere.
        parsed = {"space": declared or Space(()), "fixed": fixed, "start_from": start}
        spec = StudySpec.model_validate(root.value | parsed)
    except ValidationError as error:
        problems.extend(_problem(root, tuple(found["loc"]), found["type"]) for found in error.errors())
        raise SpecError(problems) from error
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


def _read_search(
    root: Node, problems: list[Problem], fronts: Fronts
) -> tuple[Space | None, dict[str, Value], tuple[StartConfig, ...]]:
    """Return the declared space, what is fixed, and the first configs, adding problems for what is wrong in them."""
    task = str(root.value.get("task"))
    default = DEFAULT_SDE_SPACE if task in STOCHASTIC else DEFAULT_SPACE
    named = root.at("space") if "space" in root.value else Node(root.document, ("space",), default)
    declared = read_space_reference(named, problems)
    known = len(problems)
    fixed = read_parameters(root.at("fixed"), problems) if "fixed" in root.value else {}
    if task in STOCHASTIC and declared is not None and "solver" not in declared.keys:
        fixed = {"solver": DEFAULT_SDE_SOLVER, **fixed}
    space = declared.fix(fixed) if declared is not None and len(problems) == known else None
    if space is not None and task in TASKS.own and (wrong := solver_problems(space, task, named)):
        problems.extend(wrong)
        space = None
    if space is not None:
        problems.extend(penalty_problems(space, named))
    start = _read_start(root.at("start_from"), space, problems, fronts) if "start_from" in root.value else ()
    return declared, fixed, start


class _OwnEntries(Node):
    """A list of start configs without those that are taken from an earlier study."""

    def children(self) -> Iterator[Node]:
        """Yield the others, each at its own place."""
        yield from (child for child in super().children() if not _is_front(child))


def _is_front(node: Node) -> bool:
    return isinstance(node.value, dict) and _FRONT in node.value


def _read_start(node: Node, space: Space | None, problems: list[Problem], fronts: Fronts) -> tuple[StartConfig, ...]:
    """Return the first configs: presets and the user's own, then those of the fronts of earlier studies."""
    found = read_start(_OwnEntries(node.document, node.place, node.value), space, problems)
    for child in node.children() if isinstance(node.value, list) else ():
        if _is_front(child):
            found += _read_front(child, space, problems, fronts)
    return found


def _read_front(node: Node, space: Space | None, problems: list[Problem], fronts: Fronts) -> tuple[StartConfig, ...]:
    """Return the members of an earlier study's front that this space has, with what it fixes in their place."""
    named = node.at(_FRONT)
    if len(node.value) > 1 or not isinstance(named.value, str):
        problems.append(node.problem(f"{{{_FRONT}: STUDY}}, the name of a study, and no other key"))
        return ()
    try:
        members = fronts(named.value)
    except InputError as error:
        problems.append(named.problem("the name of a study that was run", remedy=str(error)))
        return ()
    if space is None:
        return ()
    fixed = {dimension.key for dimension in space.dimensions if dimension.only is not None}
    found = []
    for member in members:
        settled = space.settle({key: value for key, value in member.config.items() if key not in fixed})
        if space.contains(settled):
            beyond = {key: value for key, value in member.config.items() if key not in space.keys}
            found.append(StartConfig(member.label, settled | beyond))
    if not found:
        problems.append(named.problem("a study whose front has a config that this space has", f"{named.value!r}"))
    return tuple(found)


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
    return node.problem(described, remedy=did_you_mean(node.value, _NAMES.get(str(place[0]), ())))
