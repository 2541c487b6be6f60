"""The process in which a task is tried; see `studies.trying`."""

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from ndecore.checking import check_task
from ndecore.errors import InputError, NDEError, SolveFailed, TrainingDiverged
from ndecore.findings import Found
from ndecore.member_files import described, file_member, place_of
from ndecore.training import TrainPlan
from search_spaces.domains import Float, Int, Value
from search_spaces.space import Dimension
from studies.build import build
from studies.spec import load_spec
from studies.spec_search import Fronts
from studies.trying import Done, Raised


class Tried(NamedTuple):
    """What is tried, and whether it may diverge."""

    task: str
    config: Mapping[str, Any]
    may_diverge: bool


def plan_of_task(name: str, config: Mapping[str, Any]) -> Tried:
    """A task, with a config."""
    return Tried(name, config, may_diverge=False)


def plan_of_spec(path: str, changes: Mapping[str, Any], fronts: Fronts) -> Tried:
    """The task of a spec, with the config that its study begins with, or with the first value of each domain."""
    spec = load_spec(path, changes, fronts)
    config = spec.start[0].config if spec.start else spec.space.resolve(_first)
    return Tried(spec.task, dict(config), may_diverge=True)


_MAKERS: Mapping[str, Callable[..., Tried]] = {"plan_of_task": plan_of_task, "plan_of_spec": plan_of_spec}


def work(maker: str, arguments: tuple[Any, ...], answers: Connection) -> None:
    """Try a task, sending each `Found`, and at the end `Done` or `Raised`."""
    name = str(arguments[0])
    try:
        tried = _MAKERS[maker](*arguments)
        name = tried.task
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", UserWarning)  # what torch says of shapes that do not fit, for one
            for found in _checked(build(tried.task, tried.config), tried.may_diverge):
                answers.send(found)
        for each in {(w.filename, w.lineno): w for w in reversed(warned)}.values():
            answers.send(_doubt(each))
        answers.send(Done())
    except InputError as error:  # one of ours, in a sentence
        answers.send(Raised(str(error), traceback.format_exc()))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's code raises
        member = file_member(name)
        where = place_of(error, member.path.resolve()) if member else name
        told = str(error) if isinstance(error, NDEError) else described(error)
        answers.send(Raised(f"{where}: {told}", traceback.format_exc()))


def _doubt(warned: warnings.WarningMessage) -> Found:
    said = " ".join(str(warned.message).split())
    return Found("warning", f"{warned.filename}:{warned.lineno}: {said}", is_doubtful=True)


def _checked(plan: TrainPlan, may_diverge: bool) -> Iterator[Found]:
    try:
        yield from check_task(plan)
    except (SolveFailed, TrainingDiverged) as error:
        if not may_diverge:
            raise
        yield Found("training", f"the first config diverges: {error}", is_doubtful=True)


def _first(dimension: Dimension) -> Value:
    domain = dimension.domain
    return domain.low if isinstance(domain, Float | Int) else domain.options[0]
