"""The import rules of the house, kept by reading every module's syntax tree."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
ROOMS = ("ndecore", "search_spaces", "studies", "reports")

# Which room may import which other.
ARROWS = {
    "ndecore": set(),
    "search_spaces": {"ndecore"},
    "reports": {"ndecore"},
    "studies": {"ndecore", "search_spaces", "reports"},
}

# Inside ndecore, from the bottom up: a module imports its own layer or one below. The longest prefix counts.
LAYERS = (
    (
        "ndecore.errors",
        "ndecore.types",
        "ndecore.status",
        "ndecore.metrics",
        "ndecore.registry",
        "ndecore.declarations",
        "ndecore.keys",
        "ndecore.facts",
        "ndecore.compatibility",
        "ndecore.member_files",
        "ndecore.hyperparameters",
        "ndecore.double",
        "ndecore.findings",
        "ndecore.gathering",
        "ndecore.memory",
        "ndecore.optimizers",
        "ndecore.seeding",
    ),
    (
        "ndecore.norms",
        "ndecore.terms",
        "ndecore.running_cost",
        "ndecore.brownian",
        "ndecore.noise",
        "ndecore.states",
        "ndecore.undrawn_path",
        "ndecore.tolerances",
        "ndecore.times",
        "ndecore.autocast",
        "ndecore.transforms",
        "ndecore.given",
        "ndecore.graphs",
    ),
    ("ndecore.solvers", "ndecore.controllers"),
    ("ndecore.solution", "ndecore.dense", "ndecore.reliability"),
    ("ndecore.integrate",),
    ("ndecore.adjoints",),
    ("ndecore.observing",),
    ("ndecore.solving",),
    ("ndecore.blocks", "ndecore.events", "ndecore.dropin", "ndecore.dropin_options", "ndecore.dropin_sde"),
    ("ndecore.regularizers", "ndecore.models"),
    ("ndecore.solves",),
    ("ndecore.observation", "ndecore.batch_statistics"),
    ("ndecore.datasets", "ndecore.tasks"),
    ("ndecore.evaluation", "ndecore.plans"),
    ("ndecore.training",),
    ("ndecore.checking",),
)
# Neighbours in a layer that may not see each other.
STRANGERS = (
    ("ndecore.solvers", "ndecore.controllers"),
    ("ndecore.models", "ndecore.regularizers"),
    ("ndecore.datasets", "ndecore.tasks"),
)

DOORS = {
    "optuna": {"studies.ledger", "studies.proposals", "studies.replay", "studies.samplers", "studies.search"},
    "sqlalchemy": {"studies.experiment", "studies.proposals"},
    "ray": {
        "studies.trainable",
        "studies.search",
        "studies.run",
        "studies.recorder",
        "studies.ending",
        "studies.carried_files",
        "studies.cluster",
        "studies.benchmarks.faults",
    },
    "mlflow": {
        "studies.experiment",
        "studies.store",
        "studies.tracking",
        "studies.serving",
        "studies.served_model",
        "studies.registry",
        "reports.load",
        "reports.publish",
    },
    "pyarrow": {"ndecore.datasets.parquet_worker"},
    "safetensors": {"studies.weights"},
    "plotly": {"reports.figures"},
    "jinja2": {"reports.report_files"},
    "sklearn.ensemble": {"reports.importance", "studies.simulation.worlds"},
    "torchdiffeq": {
        "ndecore.adjoints.torchdiffeq",
        "studies.benchmarks.programs",
        "studies.benchmarks.solvers",
        "studies.benchmarks.work_precision",
        "studies.benchmarks.workloads",
    },
    "torchode": {"studies.benchmarks.solvers"},
    "torchsde": {
        "ndecore.adjoints.torchsde",
        "studies.benchmarks.stochastic",
        "studies.benchmarks.stochastic_workload",
    },
}
# What a room may not import at all.
STAYS_OUT = {
    "ndecore": {"ray", "optuna", "mlflow", "plotly", "pydantic", "yaml", "rich", "scipy"},
    "search_spaces": {"torch", "ray", "optuna", "mlflow", "plotly", "sklearn"},
    "reports": {"ray", "optuna"},
}
DYNAMIC_IMPORTS = {
    "ndecore",
    "ndecore.declarations",
    "ndecore.facts",
    "ndecore.keys",
    "ndecore.registry",
    "studies.cli",
    "studies.cli.bench",
    "studies.cli.completion",
    "studies.cli.export",
    "studies.cli.mv",
    "studies.cli.options",
    "studies.cli.run",
    "studies.cli.validate",
    "studies.trying",  # its parent process needs no torch
}


@dataclass(frozen=True)
class Imported:
    """An import of `target` in `module`, at the top of its file or inside a function."""

    module: str
    target: str
    line: int
    is_local: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the house by name."""
    found = {}
    for room in ROOMS:
        for path in sorted((HOUSE / room).rglob("*.py")):
            parts = path.relative_to(HOUSE).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def targets(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: relative import"
        base = node.module or ""
        # `from room import module` names a module; `from module import name` does not.
        yield from {f"{base}.{a.name}" if f"{base}.{a.name}" in sources() else base for a in node.names}


@cache
def imports() -> tuple[Imported, ...]:
    found = []
    for module, tree in sources().items():
        inside = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found += [Imported(module, target, node.lineno, id(node) in inside) for target in targets(node)]
    return tuple(found)


def room_of(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def own() -> list[Imported]:
    return [each for each in imports() if room_of(each.target) in ROOMS]


def broken(rule: list[Imported]) -> str:
    return "\n".join(map(str, rule))


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer_of(module: str) -> int:
    layers = [i for i, packages in enumerate(LAYERS) if any(is_in(module, package) for package in packages)]
    assert len(layers) == 1, f"{module} has no layer: add it to LAYERS"
    return layers[0]


def test_every_room_is_found() -> None:
    assert {room_of(module) for module in sources()} == set(ROOMS)
    assert len(imports()) > 100


def test_arrows_between_rooms_point_one_way() -> None:
    against = [e for e in own() if room_of(e.target) not in {room_of(e.module), *ARROWS[room_of(e.module)]}]
    assert not against, broken(against)


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    against = [e for e in own() if is_in(e.target, "studies.cli") and not is_in(e.module, "studies.cli")]
    assert not against, broken(against)


_REGISTRIES = ("adjoints", "controllers", "models", "regularizers", "solvers", "tasks")


def test_search_spaces_know_of_ndecore_its_registries_alone() -> None:
    allowed = {
        f"ndecore.{each}"
        for each in ("compatibility", "errors", "facts", "keys", "member_files", "metrics", "registry")
    }
    registries = {f"ndecore.{room}" for room in _REGISTRIES}
    against = [
        e
        for e in own()
        if room_of(e.module) == "search_spaces"
        and room_of(e.target) == "ndecore"
        and e.target not in allowed | registries
    ]
    assert not against, broken(against)


def test_layers_of_ndecore_import_downwards() -> None:
    inner = [e for e in own() if room_of(e.module) == "ndecore" and e.module != "ndecore"]
    against = [e for e in inner if layer_of(e.target) > layer_of(e.module)]
    assert not against, broken(against)


def test_neighbours_of_a_layer_do_not_import_each_other_against_their_order() -> None:
    against = [e for e in own() for lower, upper in STRANGERS if is_in(e.module, lower) and is_in(e.target, upper)]
    assert not against, broken(against)


def test_there_is_no_cycle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in sources()}
    for each in own():
        if each.target in graph and each.target != each.module:
            graph[each.module].add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(" <- ".join(cycle.args[1]))


def test_every_import_of_ours_names_a_module_that_exists() -> None:
    missing = [e for e in own() if e.target not in sources()]
    assert not missing, broken(missing)


def test_our_modules_are_imported_at_the_top_of_files() -> None:
    local = [e for e in own() if e.is_local]
    assert not local, broken(local)


def test_only_registries_and_the_command_line_import_by_name() -> None:
    dynamic = {
        module
        for module, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
        and (node.id if isinstance(node, ast.Name) else node.attr) in {"import_module", "__import__"}
    }
    assert dynamic <= DYNAMIC_IMPORTS


def test_nothing_hides_behind_type_checking() -> None:
    hiding = [
        module
        for module, tree in sources().items()
        if any(
            (isinstance(node, ast.Name) and node.id == "TYPE_CHECKING")
            or (isinstance(node, ast.Attribute) and node.attr == "TYPE_CHECKING")
            for node in ast.walk(tree)
        )
    ]
    assert hiding == []


@pytest.mark.parametrize("library", DOORS)
def test_third_party_enters_by_its_door(library: str) -> None:
    elsewhere = [
        e for e in imports() if is_in(e.target, library) and not any(is_in(e.module, door) for door in DOORS[library])
    ]
    assert not elsewhere, broken(elsewhere)


def test_rooms_keep_out_what_is_not_theirs() -> None:
    against = [e for e in imports() if room_of(e.target) in STAYS_OUT.get(room_of(e.module), set())]
    assert not against, broken(against)


def test_scikit_learn_enters_ndecore_by_its_datasets() -> None:
    against = [
        e
        for e in imports()
        if room_of(e.target) == "sklearn" and room_of(e.module) == "ndecore" and not is_in(e.module, "ndecore.datasets")
    ]
    assert not against, broken(against)


def loaded_by(code: str, *names: str) -> list[str]:
    """Which of `names` are loaded after `code` has run in a fresh process."""
    program = f"import sys\n{code}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=HOUSE)
    return done.stdout.split()


def test_ndecore_and_the_names_in_its_registries_load_without_torch() -> None:
    code = """
import ndecore
from ndecore.controllers import CONTROLLERS
from ndecore.metrics import METRICS
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.solvers import SOLVERS
from ndecore.tasks import TASKS
assert all(len(list(registry)) > 0 for registry in (CONTROLLERS, METRICS, REGULARIZERS, SCHEDULES, SOLVERS, TASKS))
assert "tsit5" in SOLVERS
"""
    assert loaded_by(code, "torch", "ray", "optuna", "mlflow", "numpy", "sklearn") == []


def test_solving_needs_torch_alone() -> None:
    code = "from ndecore.solving import solve"
    assert loaded_by(code, "ray", "optuna", "mlflow", "sklearn", "scipy", "plotly", "pydantic") == []


def test_every_public_name_of_ndecore_and_every_registered_name_loads() -> None:
    code = """
import ndecore
from ndecore.controllers import CONTROLLERS
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.tasks import TASKS
[getattr(ndecore, name) for name in dir(ndecore)]
families = (CONTROLLERS, REGULARIZERS, SCHEDULES, SDE_SOLVERS, SOLVERS, TASKS)
[registry[name] for registry in families for name in registry]
"""
    assert loaded_by(code, "ray", "optuna", "mlflow", "plotly") == []
