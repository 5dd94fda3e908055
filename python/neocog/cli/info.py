"""`neocog info`: versions, processor, threads, and what was found."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

DESCRIPTION = "Print what a bug report should say: versions, processor, instruction set, threads, libraries."


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `info` to the command's subcommands."""
    parser = subparsers.add_parser("info", help="versions, instruction set, threads, packages", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the configuration; returns 0."""
    from neocog._config import show_config

    config = show_config()
    print(json.dumps(config, indent=2) if args.json else "\n".join(_text(config)))
    return 0


def _text(config: dict[str, Any]) -> Iterator[str]:
    lines = list(_lines(config))
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        yield f"{label:{width}}  {value}".rstrip()


def _lines(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from neocog._config import OPTIONAL

    cpu, isa, threads, build = config["cpu"], config["isa"], config["threads"], config["build"]
    yield "neocog", config["neocog"]
    yield "Python", config["python"]
    yield "NumPy", config["numpy"]
    yield "platform", config["platform"]
    yield "CPU", f"{cpu['model']}, {_count(cpu['usable'], 'processor')} of {cpu['count']} usable"
    override = f"NEOCOG_ISA={isa['override']}" if isa["override"] else "NEOCOG_ISA not set"
    yield "instruction set", f"{isa['active']} (available: {', '.join(isa['available'])}; {override})"
    bf16 = config["bf16"]
    override = f"NEOCOG_BF16={bf16['override']}" if bf16["override"] else "NEOCOG_BF16 not set"
    yield "bfloat16", f"{bf16['active']} (available: {', '.join(bf16['available'])}; {override})"
    yield "threads", f"{threads['count']}, from {threads['source']}"
    for name, value in threads["environment"].items():
        yield "", f"{name}={value}{'' if name == threads['source'] else ' (not what decided)'}"
    yield "OpenMP", _openmp(config["openmp"], build["openmp"])
    sanitizer = f", sanitizer {build['sanitizer']}" if build["sanitizer"] else ""
    yield "build", f"{build['compiler']}, C++{build['cxx_standard']}, {build['build_type']}{sanitizer}"
    for name, version in config["packages"].items():
        extra = OPTIONAL[name]
        hint = f' (pip install "neocog[{extra}]")' if extra else ""
        yield name, version or f"not installed{hint}"


def _openmp(runtimes: list[str] | None, version: str) -> str:
    if not version:
        return "none: built without it, one thread"
    if runtimes is None:
        return f"{version}; which library is loaded cannot be told on this system"
    many = "; MORE THAN ONE RUNTIME, they compete for the cores" if len(runtimes) > 1 else ""
    return f"{version}, {', '.join(runtimes) or 'no shared library loaded'}{many}"


def _count(number: int | None, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
