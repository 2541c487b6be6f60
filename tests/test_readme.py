"""What the README shows is run."""

import re
from pathlib import Path

import pytest

from search_spaces.document import parse_document
from studies.spec import read_spec

_README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"```(\w+)\n(.*?)```", _README, flags=re.DOTALL)


@pytest.mark.parametrize("code", [code for language, code in _BLOCKS if language == "python"])
def test_python_of_the_readme_runs(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("text", [text for language, text in _BLOCKS if language == "yaml"])
def test_study_of_the_readme_is_valid(text: str) -> None:
    spec = read_spec(parse_document(f"name: readme\ntask: digits_node\n{text}", "README.md"))
    assert len(spec.start) == 1


def test_readme_shows_both_kinds_of_example() -> None:
    assert {language for language, _ in _BLOCKS} == {"python", "yaml"}


def test_pictures_of_the_readme_are_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", _README)
    assert pictures
    assert all((Path(__file__).parents[1] / picture).exists() for picture in pictures)
