"""The texts that we write for others start from templates, in which @NAME@ stands for a word."""

from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).with_name("templates")


def filled(template: str, words: Mapping[str, str]) -> str:
    """The text of a template with its words."""
    text = (_FOLDER / template).read_text(encoding="utf-8")
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text
