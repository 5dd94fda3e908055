"""The `neocog` command. A subcommand is a module of this package with `add_parser` and `run(args)`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

# In the order of the help text. The modules import what they need when they run, extras above all.
COMMANDS = ("demo", "info", "check", "convert", "run", "bench")

INTERRUPTED = 130  # exit code of a command that Ctrl-C ended, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Its words; None takes them from the command line.
    Returns:
        The exit code: 0, what the subcommand says, or 130 after Ctrl-C.
    Raises:
        SystemExit: The words make no command (code 2), or ask for help or the version (code 0).
    """
    args = _parser().parse_args(argv)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`neocog info | head`): nobody is left to tell, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    import neocog

    parser = argparse.ArgumentParser(prog="neocog", description=neocog.__doc__)
    parser.add_argument("--version", action="version", version=f"neocog {neocog.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"neocog.cli.{name}").add_parser(subparsers)
    return parser
