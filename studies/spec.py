"""A study's spec: what is trained, what varies, what is measured, how many trials. Validated once, before all else.

Torch, Ray, Optuna and MLflow are not imported here: a spec is checked in well under a second.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ndecore.metrics import METRICS, Metric
from ndecore.tasks import TASKS
from search_spaces.document import Document, Node, load_document
from search_spaces.domains import Value
from search_spaces.parameters import MAX_SEED, read_parameters
from search_spaces.parse import space_data
from search_spaces.penalty import penalty_problems
from search_spaces.problems import Problem, SpecError, did_you_mean
from search_spaces.shipped import YAML_SUFFIXES, read_space_reference
from search_spaces.space import Space
from search_spaces.start import StartConfig, read_start

SAMPLER_NAMES = ("tpe", "nsgaii", "random")
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"  # of a study: a folder and an experiment bear it
DEFAULT_SPACE = "regularized_ode"
_FOLDER = Path(__file__).parent
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


_Objective = Annotated[str, _name_of("objectives")]


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
    max_solver_gap: float = Field(default=0.01, gt=0, allow_inf_nan=False, description="a finite number > 0")
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

    def to_data(self) -> dict[str, Any]:
        """Return the spec as plain JSON types, space and presets written out; such a file reads as an equal spec."""
        data: dict[str, Any] = self.model_dump(exclude={"declared_space", "fixed", "start", "objectives"})
        search: dict[str, Any] = {
            "objectives": list(self.objectives),
            "space": space_data(self.declared_space),
            "fixed": dict(self.fixed),
            "start_from": [({"label": s.label} if s.label else {}) | dict(s.config) for s in self.start],
        }
        return data | search

    def to_yaml(self) -> str:
        """Return `to_data` as the text of a file; the order of keys is kept, since it is the order of the search."""
        return yaml.safe_dump(self.to_data(), sort_keys=False)


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the studies that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_spec(path_or_name: str | Path, changes: Mapping[str, Value] | None = None) -> StudySpec:
    """Return the spec in a YAML file, or a shipped study by its bare name; raise SpecError with all that is wrong.

    `changes` replace keys of the file, and are checked as if they stood there.
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
    return read_spec(document)


def read_spec(document: Document) -> StudySpec:
    """Return the spec that a document describes; raise SpecError with everything that is wrong."""
    root = document.root
    if not isinstance(root.value, dict):
        raise SpecError([root.problem("a mapping of keys to values, at least name and task")])
    problems: list[Problem] = []
    declared, fixed, start = _read_search(root, problems)
    try:
        # Where the space was refused an empty one stands in, so that pydantic finds what is wrong elsewhere.
        parsed = {"space": declared or Space(()), "fixed": fixed, "start_from": start}
        spec = StudySpec.model_validate(root.value | parsed)
    except ValidationError as error:
        problems.extend(_problem(root, tuple(found["loc"]), found["type"]) for found in error.errors())
        raise SpecError(problems) from error
    if len(start) > spec.trials:
        got = f"{len(start)} configs"
        problems.append(root.at("start_from").problem(f"at most {spec.trials}, the study's trials", got))
    if problems:
        raise SpecError(problems)
    return spec


def _read_search(root: Node, problems: list[Problem]) -> tuple[Space | None, dict[str, Value], tuple[StartConfig, ...]]:
    """Return the declared space, what is fixed, and the first configs, adding problems for what is wrong in them."""
    named = root.at("space") if "space" in root.value else Node(root.document, ("space",), DEFAULT_SPACE)
    declared = read_space_reference(named, problems)
    known = len(problems)
    fixed = read_parameters(root.at("fixed"), problems) if "fixed" in root.value else {}
    space = declared.fix(fixed) if declared is not None and len(problems) == known else None
    if space is not None:
        problems.extend(penalty_problems(space, named))
    start = read_start(root.at("start_from"), space, problems) if "start_from" in root.value else ()
    return declared, fixed, start


def _problem(root: Node, place: tuple[str | int, ...], kind: str) -> Problem:
    """Return pydantic's finding of this kind at `place` in the form of every other problem."""
    fields = {field.alias or name: field for name, field in StudySpec.model_fields.items()}
    node = root
    for key in place:
        node = node.at(key)
    key = str(place[0])
    if kind == "extra_forbidden":
        return node.problem(", ".join(fields), got=f"the unknown key {key!r}", remedy=did_you_mean(key, fields))
    return node.problem(fields[key].description or "", remedy=did_you_mean(node.value, _NAMES.get(key, ())))
