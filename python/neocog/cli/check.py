"""`neocog check`: a model on our kernels, held against stock PyTorch."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from neocog.cli._models import make_module, shape

BEYOND, BAD_MODEL = 1, 2  # exit codes

DESCRIPTION = """\
Run a PyTorch model on stock kernels and on neocog's, and compare every layer's output and every parameter's
gradient. The exit code is 1 where one is beyond its bound. MODEL is a name of neocog.models (resnet18), or
module:callable of a function or class that makes one (torchvision.models:mobilenet_v2, my_package.net:Net).
Needs PyTorch: pip install "neocog[torch]".
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `check` to the command's subcommands."""
    parser = subparsers.add_parser("check", help="compare a model with stock PyTorch", description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="a name of neocog.models, or module:callable")
    parser.add_argument(
        "--input",
        action="append",
        type=shape,
        metavar="SHAPE",
        help="shape of an input, 2x3x224x224 (the default); again for a second input. Its numbers are random.",
    )
    parser.add_argument("--eval", action="store_true", help="in evaluation mode (default: training)")
    parser.add_argument("--no-gradients", action="store_true", help="outputs only")
    parser.add_argument("--channels-last", action="store_true", help="model and inputs in channels_last memory")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check one model.

    Returns:
        0, or 1 where a bound is broken, or 2 where there is no such model or it does not take the input.
    """
    try:
        import torch

        from neocog.torch.check import check
    except ImportError as error:
        print(f'neocog check: {error}; pip install "neocog[torch]"', file=sys.stderr)
        return BAD_MODEL
    torch.manual_seed(args.seed)
    try:
        model = make_module(args.model).train(not args.eval)
        inputs = [torch.randn(sizes) for sizes in args.input or [(2, 3, 224, 224)]]
        if args.channels_last:
            model = model.to(memory_format=torch.channels_last)
            inputs = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs]
        report = check(model, inputs, gradients=not args.no_gradients, seed=args.seed)
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        print(f"neocog check: {args.model}: {error}", file=sys.stderr)
        return BAD_MODEL
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        _print(report)
    return 0 if report.ok else BEYOND


def _print(report: Any) -> None:
    if sys.stdout.isatty():
        try:
            from rich.console import Console
        except ImportError:
            pass
        else:
            Console().print(report)
            return
    print(report)
