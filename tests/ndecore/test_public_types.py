"""A type checker knows the public names, which are loaded when they are first used."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
from mypy import api

import ndecore

STUB = Path(ndecore.__file__).with_suffix(".pyi")
SNIPPET = """
import ndecore
reveal_type(ndecore.Tsit5())
reveal_type(ndecore.NeuralODE)
with ndecore.observe() as solves:
    reveal_type(solves.nfe)
ndecore.no_such_name
"""


def test_stub_names_what_the_package_loads_from_where_it_loads_it() -> None:
    stubbed = {
        alias.asname: (node.module, alias.name)
        for node in ast.parse(STUB.read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = {name: (home, name) for name, home in ndecore._HOMES.items()}
    assert stubbed == loaded


def test_every_name_is_where_the_table_says() -> None:
    for name, home in ndecore._HOMES.items():
        assert getattr(import_module(home), name) is getattr(ndecore, name)
        assert getattr(ndecore, name) is getattr(ndecore, name), "no module of the name hides it"


@pytest.mark.slow
def test_type_checker_sees_types_and_misses_what_is_not_there(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    found, errors, _ = api.run([str(snippet), "--cache-dir", str(tmp_path / "cache")])
    assert not errors
    assert '"ndecore.solvers.tsit5.Tsit5"' in found
    assert "-> ndecore.blocks.NeuralODE" in found
    assert 'Revealed type is "int"' in found or 'Revealed type is "builtins.int"' in found
    assert 'has no attribute "no_such_name"' in found
