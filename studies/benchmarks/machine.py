"""Where a benchmark ran: absolute times mean nothing without it, and little with it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

_CPU_FACTS = Path("/proc/cpuinfo")


def machine_lines(*packages: str) -> list[str]:
    """Processor, cores, threads and versions, one Markdown list item each."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    return [
        f"- machine: {_processor()}, {os.cpu_count()} cores, {platform.system()}",
        f"- versions: Python {platform.python_version()}, {versions}",
        f"- torch threads: {torch.get_num_threads()}",
    ]


def _processor() -> str:
    if _CPU_FACTS.exists():
        names = [
            line.partition(":")[2].strip()
            for line in _CPU_FACTS.read_text().splitlines()
            if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
