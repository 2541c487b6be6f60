"""A member of every family, added by one file that nothing else knows of."""

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from ndecore.adjoints import EVERY_ADJOINT
from ndecore.controllers import CONTROLLERS
from ndecore.errors import InputError
from ndecore.metrics import Direction, Metric
from ndecore.models import SDES
from ndecore.registry import Registry
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.solvers import EVERY_SOLVER
from ndecore.tasks import TASKS
from ndecore.training import train
from search_spaces.document import parse_document
from search_spaces.problems import SpecError
from studies.build import build, complete
from studies.spec import load_spec, read_spec
from studies.spec_search import SAMPLERS

SOLVER = """
from typing import ClassVar
from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite

B = (0.25, 0.75, 0.0)


class Ralston(ExplicitRungeKutta):
    '''Ralston's method of order 2.'''

    error_order: ClassVar[int | None] = None
    stability_size: ClassVar[float] = 2.0
    tableau: ClassVar[Tableau] = Tableau(order=2, c=(0.0, 2 / 3, 1.0), a=((2 / 3,), B[:-1]), b=B, dense=hermite(B))
"""
REGULARIZER = """
from dataclasses import dataclass
from typing import Annotated, ClassVar
from ndecore.keys import Above, check_fields
from ndecore.regularizers.base import Regularizer


@dataclass(frozen=True)
class Length(Regularizer):
    '''The way that the solution goes.'''

    exponent: Annotated[float, Above(0), "Of the length of each step, dimensionless."] = 1.0
    needs_differentiable_records: ClassVar[bool] = False

    def __post_init__(self):
        check_fields(self)

    def penalty(self, context):
        return (context.solution.y1 - context.solution.y1.detach() / 2).abs().mean() ** self.exponent
"""
SCHEDULE = """
from dataclasses import dataclass
from typing import Annotated
from ndecore.keys import Above, AtLeast, check_fields
from ndecore.regularizers.schedules import Schedule


@dataclass(frozen=True)
class Halving(Schedule):
    weight: Annotated[float, AtLeast(0), "At first, dimensionless."]
    every: Annotated[int, AtLeast(1), "The epochs after which the weight halves."] = 1

    def __post_init__(self):
        check_fields(self)

    def __call__(self, moment):
        return self.weight * 0.5 ** (moment.epoch // self.every)
"""
CONTROLLER = """
from ndecore.controllers.integral import IController
class Calm(IController):
    pass
"""
ADJOINT = """
from ndecore.integrate import Tape
class Mine(Tape):
    pass
"""
SDE = """
from ndecore.models.neural_sde import NaiveSDE
class Mine(NaiveSDE):
    pass
"""
SAMPLER = """
from optuna.samplers import RandomSampler
class Mine(RandomSampler):
    def __init__(self, seed, spec):
        super().__init__(seed=seed)
        self.trials = spec.trials
"""
TASK = """
from dataclasses import dataclass
from typing import Annotated, ClassVar
from ndecore.keys import AtLeast, AtMost, check_fields
from ndecore.metrics import Direction, Metric
from ndecore.tasks.spiral_ode import SpiralODE


@dataclass(frozen=True)
class Turns(SpiralODE):
    depth: Annotated[int, AtLeast(1), AtMost(4), "How deep it is."] = 2
    metrics: ClassVar = (Metric("closeness", "1", Direction.MAXIMIZE), Metric("mse", "1", Direction.MINIMIZE))

    def __post_init__(self):
        check_fields(self)

    def scores(self, output, batch):
        mse = super().scores(output, batch)["mse"]
        return {"closeness": 1 / (1 + mse), "mse": mse}
"""
MEMBERS: dict[str, tuple[Registry, str, str]] = {
    "solver": (EVERY_SOLVER, SOLVER, "Ralston"),
    "controller": (CONTROLLERS, CONTROLLER, "Calm"),
    "adjoint": (EVERY_ADJOINT, ADJOINT, "Mine"),
    "regularizer": (REGULARIZERS, REGULARIZER, "Length"),
    "schedule": (SCHEDULES, SCHEDULE, "Halving"),
    "sde": (SDES, SDE, "Mine"),
    "sampler": (SAMPLERS, SAMPLER, "Mine"),
    "task": (TASKS, TASK, "Turns"),
}
SPEC = """
name: own
task: turns.py
sampler: mine.py
trials: 3
objectives: [closeness, nfe]
thresholds: [closeness >= 0.1]
fixed: {epochs: 1, controller: constant, step_size: 0.25, solver: ralston.py}
space:
  depth: {int: [1, 3]}
  regularizer: {choice: [none, length.py]}
  schedule: {choice: [constant, halving.py], when: {regularizer: length.py}}
  every: {int: [1, 3], when: {schedule: halving.py}}
  exponent: {float: [0.5, 2], when: {regularizer: length.py}}
  weight: {log_float: [0.1, 1], when: {regularizer: length.py}}
start_from:
  - {depth: 3, regularizer: none}
  - {depth: 1, regularizer: length.py, schedule: halving.py, every: 2, exponent: 1, weight: 0.5}
"""
FILES = {"turns.py": TASK, "mine.py": SAMPLER, "ralston.py": SOLVER, "length.py": REGULARIZER, "halving.py": SCHEDULE}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "own.yaml").write_text(SPEC)
    return tmp_path


@pytest.mark.parametrize("family", MEMBERS)
def test_a_file_is_a_member_of_each_family_with_facts_and_keys(family: str, tmp_path: Path) -> None:
    registry, text, name = MEMBERS[family]
    (tmp_path / "added.py").write_text(text)
    path = str(tmp_path / "added.py")
    assert path in registry
    assert registry[path].__name__ == name
    assert registry[f"{path}:{name}"] is registry[path]
    assert registry.facts(path) is not None
    own = {"regularizer": {"exponent"}, "schedule": {"weight", "every"}, "task": {"depth"}}
    assert registry.keys_of(path).keys() == own.get(family, set())
    assert path not in list(registry)


def test_a_study_of_members_in_files_is_read_built_and_trained(folder: Path) -> None:
    spec = load_spec(str(folder / "own.yaml"))
    assert spec.task == str(folder / "turns.py")
    assert spec.objective_metrics[0] == Metric("closeness", "1", Direction.MAXIMIZE)
    assert [bound.name for bound in spec.metric_thresholds] == ["closeness"]
    config = spec.start[1].config
    plan = build(spec.task, config)
    assert [type(part).__name__ for part in (plan.task, plan.settings.solver, plan.penalties[0].regularizer)] == [
        "Turns", "Ralston", "Length",
    ]  # fmt: skip
    assert (plan.task.depth, plan.penalties[0].schedule.every, plan.penalties[0].regularizer.exponent) == (1, 2, 1.0)
    assert build(spec.task, complete(spec.task, config)).penalties == plan.penalties
    (record,) = train(plan)
    assert record.scores["closeness"] == pytest.approx(1 / (1 + record.scores["mse"]))
    sampler = SAMPLERS[spec.sampler](7, spec)
    assert isinstance(sampler, optuna.samplers.RandomSampler)
    assert sampler.trials == 3


def test_a_spec_written_out_reads_as_the_same_and_a_stored_one_without_the_files(folder: Path) -> None:
    spec = load_spec(str(folder / "own.yaml"))
    written = parse_document(spec.to_yaml(), "written.yaml")
    assert read_spec(written) == read_spec(written, is_stored=True) == spec
    for name in FILES:
        (folder / name).unlink()
    program = (
        "import sys\nfrom studies.spec import load_spec\nspec = load_spec('stored.yaml', is_stored=True)\n"
        "print(spec.objective_metrics[0].unit, spec.space.keys >= {'depth', 'weight'}, 'torch' in sys.modules)\n"
        "print(spec.start[1].config['weight'], spec.metric_thresholds[0].direction.value)"
    )
    (folder / "stored.yaml").write_text(spec.to_yaml())
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "True", "False", "0.5", "maximize"]


def test_the_default_objectives_are_the_task_s_first_metric_and_two_costs(folder: Path) -> None:
    (folder / "short.yaml").write_text("name: short\ntask: turns.py\n")
    assert load_spec(str(folder / "short.yaml")).objectives == ("closeness", "nfe", "train_s")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("depth: {int: [1, 3]}", "depth: {int: [1, 9]}", r"space.depth.int\[1\]: got 9, allowed: .* from 1 to 4"),
        ("task: turns.py", "task: turn.py", r"own.yaml:3: task: got 'turn.py', allowed: .*a file such as my_task.py"),
        ("[closeness, nfe]", "[accuracy, nfe]", r"objectives\[0\]: got 'accuracy', .* closeness, mse, "),
        ("closeness >= 0.1", "accuracy >= 0.1", r"own.yaml:\d+: thresholds: got .*; there are closeness, mse, nfe"),
        ("weight: 0.5}", "weight: -1}", r"own.yaml:\d+: start_from\[1\].weight: got -1, allowed: a finite number >= 0"),
        ("sampler: mine.py", "sampler: ming.py", r"own.yaml:4: sampler: got 'ming.py', allowed: tpe, "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_the_members_own_keys_and_metrics(
    folder: Path, old: str, new: str, message: str
) -> None:
    (folder / "own.yaml").write_text(SPEC.replace(old, new))
    with pytest.raises(SpecError, match=message):
        load_spec(str(folder / "own.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_such\n", r"added.py:1: ModuleNotFoundError: No module named 'nothing_such'"),
        ("x = 1\ny = x / 0\n", "added.py:2: ZeroDivisionError: division by zero"),
        ("x = (1,\n", "added.py:1: SyntaxError: "),
        ("raise SystemExit(3)\n", "added.py:1: SystemExit: 3"),
        ("x = 1\n", "added.py, which defines 0 classes derived from Solver; allowed: one"),
        (
            SOLVER + SOLVER.replace("Ralston", "Other"),
            "defines 2 classes derived from Solver, there are: Ralston, Other",
        ),
        ("from ndecore.solvers.base import Solver\nclass Half(Solver):\n    pass\n", "Half lacks scratch, start, step"),
    ],
)
def test_a_file_that_is_no_member_is_told_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "added.py").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        EVERY_SOLVER[str(tmp_path / "added.py")]
    assert "\n" not in str(caught.value)


def installed(folder: Path, groups: dict[str, dict[str, str]]) -> dict[str, str]:
    """An installed package with these entry points; the environment of a process that sees it."""
    info = folder / "added_members-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: added-members\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in groups[group].items()) for group in groups
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{folder}"}


def test_an_installed_package_adds_to_every_family_and_a_broken_one_hurts_only_who_names_it(tmp_path: Path) -> None:
    groups = {}
    for family, (_, text, name) in MEMBERS.items():
        (tmp_path / f"of_{family}.py").write_text(text)
        group = "studies.samplers" if family == "sampler" else f"ndecore.{family}s"
        groups[group] = {"added": f"of_{family}:{name}", "broken": "nothing_there:Broken"}
    program = """
from ndecore.errors import InputError
from ndecore.models import SDES
from search_spaces.document import parse_document
from search_spaces.parameters import FAMILIES
from studies.spec import read_spec
from studies.spec_search import SAMPLERS
for registry in (*FAMILIES.values(), SAMPLERS, SDES):
    assert {"added", "broken"} <= set(registry), registry.family
    assert registry.facts("added") is not None and registry["added"].__module__.startswith("of_")
    try:
        registry["broken"]
    except InputError as error:
        assert "'broken' of added-members, which cannot be loaded (ModuleNotFoundError" in str(error), error
    else:
        raise AssertionError(registry.family)
text = "name: s\\ntask: added\\nsampler: added\\nspace: {depth: 2, regularizer: added, exponent: 1, weight: 1}\\n"
spec = read_spec(parse_document(text, "s.yaml"))
print(spec.objectives, spec.space.keys)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=installed(tmp_path, groups), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.startswith("('closeness', 'nfe', 'train_s')")
