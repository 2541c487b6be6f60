"""What a spec says of its task and of the search: members, space, fixed values, first configs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ndecore.errors import InputError
from ndecore.facts import Equations, NoFacts, TaskFacts
from ndecore.metrics import Metric
from ndecore.registry import Registry
from ndecore.tasks import TASKS
from reports.codec import decode
from search_spaces.consistency import default_solver, solver_problems, space_problems
from search_spaces.document import Node
from search_spaces.domains import Value
from search_spaces.parameters import Vocabulary, located_data, read_parameters
from search_spaces.problems import Problem, did_you_mean
from search_spaces.shipped import read_space_reference
from search_spaces.space import Space
from search_spaces.start import StartConfig, read_start

SAMPLERS = Registry(
    "sampler",
    {
        "tpe": "studies.samplers:TPE",
        "nsgaii": "studies.samplers:NSGAII",
        "nsgaiii": "studies.samplers:NSGAIII",
        "qmc": "studies.samplers:QuasiRandomSampler",
        "random": "studies.samplers:Random",
        "grid": "studies.samplers:GridSampler",
    },
    NoFacts,
    "optuna.samplers:BaseSampler",
    "studies.samplers",
)
FAMILIES: Mapping[str, Registry[Any]] = {"task": TASKS, "sampler": SAMPLERS}
DEFAULT_SPACES: Mapping[Equations, str] = {"ordinary": "regularized_ode", "stochastic": "regularized_sde"}
DEFAULT_COSTS = ("nfe", "train_s")
_FRONT = "front_of"


Fronts = Callable[[str], Sequence[StartConfig]]  # the name of an earlier study -> the configs of its front


def no_fronts(study: str) -> Sequence[StartConfig]:
    """For where no earlier study can be looked up; a spec that asks for one is refused."""
    raise InputError(f"got {study!r}, allowed here: configs and presets")


@dataclass(frozen=True)
class Found:
    """What a spec says of its task, before all else.

    Args:
        task: its name, a file's by its whole path.
        facts: of the task; None where it was refused, or is not at hand.
        data: of the fields that follow from it.
        vocabulary: the keys that a config may have.
    """

    task: str
    facts: TaskFacts | None
    data: Mapping[str, Any]
    vocabulary: Vocabulary

    @classmethod
    def of(cls, root: Node, problems: list[Problem], is_stored: bool) -> "Found":
        """Read it at the root, adding problems for a task or a sampler that there is not."""
        data = {key: root.value[key] for key in FAMILIES if isinstance(root.value.get(key), str)}
        data = {key: located_data(name, root.document) for key, name in data.items()}
        task = data.get("task", "")
        if is_stored and "scores" in root.value:
            stored = tuple(decode(Metric, each) for each in root.value["scores"])
            return cls(task, None, data | {"scores": stored}, Vocabulary(is_open=True))
        facts = None
        for key, name in data.items():
            try:
                if name not in FAMILIES[key]:
                    remedy = did_you_mean(name, FAMILIES[key])
                    problems.append(root.at(key).problem(FAMILIES[key].allowed, remedy=remedy))
                elif key == "task":
                    facts = TASKS.facts(name)
                elif not is_stored and name not in FAMILIES[key].own:
                    FAMILIES[key].facts(name)
            except InputError as error:  # of the member's own file or package
                problems.append(root.at(key).problem(f"a {key} that loads", remedy=str(error)))
        scores = () if facts is None else facts.metrics
        if "objectives" not in root.value:
            data["objectives"] = (*(metric.name for metric in scores[:1]), *DEFAULT_COSTS)
        vocabulary = Vocabulary() if facts is None else Vocabulary().knowing({"task": task})
        return cls(task, facts, data | {"scores": scores}, Vocabulary(vocabulary.members, is_open=is_stored))


def read_search(
    root: Node, problems: list[Problem], fronts: Fronts, found: Found
) -> tuple[Space | None, dict[str, Value], tuple[StartConfig, ...]]:
    """Return the declared space, what is fixed, and the first configs, adding problems for what is wrong in them."""
    task, vocabulary = found.task if found.facts else None, found.vocabulary
    equations = found.facts.equations if found.facts else "ordinary"
    named = root.at("space") if "space" in root.value else Node(root.document, ("space",), DEFAULT_SPACES[equations])
    # What one writes for this study is for its task; a space of its own file may serve several.
    of_task = vocabulary if task is None else replace(vocabulary, task=task)
    declared = read_space_reference(named, problems, of_task if isinstance(named.value, dict) else vocabulary)
    known = len(problems)
    if declared is not None:
        named_there = {d.key: list(d.domain.options or ()) for d in declared.dimensions}
        vocabulary, of_task = vocabulary.knowing(named_there), of_task.knowing(named_there)
    fixed = read_parameters(root.at("fixed"), problems, (), of_task) if "fixed" in root.value else {}
    if equations == "stochastic" and declared is not None and "solver" not in declared.keys:
        fixed = {"solver": default_solver(task), **fixed}
    if type(n_seeds := root.value.get("seeds_per_trial")) is int and n_seeds > 1:
        fixed = {**fixed, "n_seeds": n_seeds}
    space = declared.fix(fixed) if declared is not None and len(problems) == known else None
    if space is not None and not vocabulary.is_open:
        wrong = solver_problems(space, task, named) if task else []
        problems.extend(wrong or space_problems(space, named, task))
        space = None if wrong else space
    start: tuple[StartConfig, ...] = ()
    if "start_from" in root.value:
        start = _read_start(root.at("start_from"), space, problems, (fronts, vocabulary, task))
    return declared, fixed, start


class _OwnEntries(Node):
    """A list of start configs without those that are taken from an earlier study."""

    def children(self) -> Iterator[Node]:
        """Yield the others, each at its own place."""
        yield from (child for child in super().children() if not _is_front(child))


def _is_front(node: Node) -> bool:
    return isinstance(node.value, dict) and _FRONT in node.value


def _read_start(
    node: Node, space: Space | None, problems: list[Problem], by: tuple[Fronts, Vocabulary, str | None]
) -> tuple[StartConfig, ...]:
    """Return the first configs: presets and the user's own, then those of the fronts of earlier studies."""
    fronts, vocabulary, task = by
    found = read_start(_OwnEntries(node.document, node.place, node.value), space, problems, vocabulary, task)
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
