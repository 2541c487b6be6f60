"""Exported configs as YAML: one document each, every float with all its digits, nothing half written."""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from math import inf
from pathlib import Path
from typing import Any

import yaml

from ndecore.errors import InputError
from reports.export import ExportedConfig
from reports.records import Deployment

SUFFIXES = (".yaml", ".yml")
_KEYS = tuple(field.name for field in fields(ExportedConfig))
_NEW_KEYS = ("tolerances", "confirmed", "deployment")  # files of earlier versions lack them
_TEXTS = ("study", "label", "role", "task")

# YAML 1.1 takes 1e-6, which people write, for a text: read as a float, and texts that look so are written in quotes.
_FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice; PyYAML would take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""


_Loader.add_implicit_resolver(*_FLOAT)
_Dumper.add_implicit_resolver(*_FLOAT)


def to_yaml(configs: Sequence[ExportedConfig], file_name: str) -> str:
    """The configs as the text of one file, under a comment that says how to use it.

    Args:
        configs: one YAML document each.
        file_name: for the comment.
    """
    header = (
        f"# Pareto-optimal configs of study {configs[0].study}, {len(configs)} in this file.\n"
        f"# Train again and compare with what is expected:  nde-study train {file_name}\n"
    )
    documents = [asdict(config) for config in configs]
    # Not allow_unicode: PyYAML then writes U+0085 so that it reads back as a space.
    text: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, explicit_start=True)
    return header + text


def config_file_name(config: ExportedConfig) -> str:
    """The file of one config: trial-0007.yaml."""
    return f"trial-{config.trial:04d}.yaml"


def write_yaml(path: Path, configs: Sequence[ExportedConfig]) -> None:
    """Write the configs into one file, beside its place and moved there when complete; one that was there is
    replaced.

    Args:
        path: of the file; missing parents are made.
        configs: one or more.

    Raises:
        InputError: no configs, or the path cannot be written.
    """
    if not configs:
        raise InputError(f"{path}: got no configs to write; allowed is one or more.")
    try:
        _replace(path, to_yaml(configs, path.name))
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from error


def read_yaml(path: Path) -> tuple[ExportedConfig, ...]:
    """The inverse of `write_yaml`, for a file or all those in a directory.

    Raises:
        InputError: one line that names file, document and key, what was got and what is allowed.
    """
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES) if path.is_dir() else [path]
    configs = tuple(config for file in files for config in _read_file(file))
    if not configs:
        raise InputError(f"{path}: got no config; allowed is what `nde-study export` writes.")
    return configs


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)  # mkstemp's 0o600 would hide an export from one's colleagues
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read_file(path: Path) -> Iterator[ExportedConfig]:
    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_Loader))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: got bytes that are not UTF-8; allowed is a YAML text.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    for number, document in enumerate(documents, start=1):
        yield _config(f"{path}: document {number}", document)


def _config(place: str, document: Any) -> ExportedConfig:
    if not isinstance(document, dict):
        raise InputError(f"{place}: got {_got(document)}; allowed is a mapping with {', '.join(_KEYS)}.")
    if "space" in document:
        raise InputError(f"{place}: got a study, for `nde-study run`; allowed is what `nde-study export` writes.")
    for key in document:
        _require(key in _KEYS, place, "key", key, f"only {', '.join(_KEYS)}")
    for key in _KEYS:
        _require(key in document or key in _NEW_KEYS, place, key, "nothing", "every key that `nde-study export` writes")
    for key in _TEXTS:
        _require(isinstance(document[key], str), place, key, document[key], "a text")
    number = document["trial"]
    is_count = isinstance(number, int) and not isinstance(number, bool) and number >= 0
    _require(is_count, place, "trial", number, "an integer, 0 or more")
    for key in ("config", "expected", "versions", "tolerances", "confirmed"):
        value = document.get(key, {})
        is_flat = isinstance(value, dict) and all(isinstance(name, str) for name in value)
        _require(is_flat, place, key, value, "a mapping of names")
    for name, value in document["config"].items():
        _require(not isinstance(value, dict), place, f"config.{name}", value, "a plain value or a list of them")
    for key in ("expected", "tolerances", "confirmed"):
        for name, value in document.get(key, {}).items():
            _require(_is_number(value), place, f"{key}.{name}", value, "a number, as 1.0e-06")
    for name, value in document["versions"].items():
        _require(isinstance(value, str), place, f"versions.{name}", value, "a text in quotes")
    return ExportedConfig(**document | {"deployment": _deployment(place, document.get("deployment"))})


def _deployment(place: str, value: Any) -> Deployment | None:
    if value is None:
        return None
    is_whole = isinstance(value, dict) and sorted(value) == sorted(field.name for field in fields(Deployment))
    _require(is_whole, place, "deployment", value, "null, or a mapping of solver, rtol and atol")
    _require(isinstance(value["solver"], str), place, "deployment.solver", value["solver"], "a text")
    for name in ("rtol", "atol"):
        is_positive = _is_number(value[name]) and 0.0 < value[name] < inf
        _require(is_positive, place, f"deployment.{name}", value[name], "a finite number > 0")
    return Deployment(**value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(is_so: bool, place: str, key: str, got: Any, allowed: str) -> None:
    if not is_so:
        raise InputError(f"{place}: {key}: got {_got(got)}; allowed is {allowed}.")


def _got(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
