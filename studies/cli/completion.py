"""Print what makes a shell complete the commands, their options and the names of studies.

bash:  nde-study completion bash > ~/.local/share/bash-completion/completions/nde-study
zsh:   nde-study completion zsh > a folder of your $fpath, as the file _nde-study
"""

import argparse
from importlib import import_module

import shtab

from studies.cli import COMMANDS

EXAMPLES = """  eval "$(nde-study completion bash)"
  nde-study completion zsh > ~/.zfunc/_nde-study"""

# Answered by the shell itself: a command of ours would take half a second at each Tab.
_STUDIES = shtab.cmd('cd "${NDE_STUDY_ROOT:-nde-runs}" 2>/dev/null && for f in */events.jsonl; do echo "${f%/*}"; done')
_FILES = ("spec", "config", "output", "root", "a", "b")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="whose script to print")


def main(args: argparse.Namespace) -> int:
    """Print the script."""
    print(shtab.complete(_whole_parser(), shell=args.shell))
    return 0


def _whole_parser() -> argparse.ArgumentParser:
    """All commands in one parser, which the command line itself does without: it would import all their modules."""
    parser = argparse.ArgumentParser(prog="nde-study")
    commands = parser.add_subparsers()
    for name, text in COMMANDS.items():
        own = commands.add_parser(name, help=text)
        import_module(f"studies.cli.{name}").configure(own)
        for action in own._actions:
            if action.dest in ("study", "name") and not action.option_strings:
                action.complete = _STUDIES  # type: ignore[attr-defined]
            elif action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return parser
