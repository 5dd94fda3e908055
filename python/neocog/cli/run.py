"""`neocog run`: a network on pictures, arrays or random numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from neocog.cli import _inputs, _results
from neocog.cli._inputs import Given, Wanted, make_inputs, named_file, numbers, positive_numbers
from neocog.cli._models import EXPECTED, add_precision, by_x, failed, positive, read_model
from neocog.cli._pictures import Preparation

DESCRIPTION = """\
Run a network once and print its results: the best classes of scores (N, classes), the range of anything else.
Pictures are scaled until they cover the network's size, and their middle is cut out; values from 0 to 1 become
(value - mean) / std. Inputs that are not given are random. Reading pictures needs Pillow.
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `run` to the command's subcommands."""
    parser = subparsers.add_parser("run", help="run a network on pictures or arrays", description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="model.neocog, model.onnx or model.pt2")
    parser.add_argument(
        "--image", action="append", type=Path, metavar="FILE", help="a picture; again for more, in one batch"
    )
    parser.add_argument(
        "--input", action="append", type=named_file, metavar="[NAME=]FILE", help="a .npy file for an input"
    )
    _inputs.add_arguments(parser)
    parser.add_argument(
        "--resize", type=positive, metavar="N", help="bring the shorter side of pictures to N before they are cut"
    )
    parser.add_argument(
        "--mean", type=numbers, default=(0.0,), metavar="M[,M,M]", help="0.485,0.456,0.406 is ImageNet's (default: 0)"
    )
    parser.add_argument(
        "--std",
        type=positive_numbers,
        default=(1.0,),
        metavar="S[,S,S]",
        help="0.229,0.224,0.225 is ImageNet's (default: 1)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write results: all as .npz, one as .npy, pictures as .png or .jpg"
    )
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="how many classes (default: 5)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes, one a line")
    add_precision(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="default: as neocog.get_num_threads")
    parser.add_argument("--profile", action="store_true", help="print the time of every step")
    parser.add_argument("--explain", action="store_true", help="print the kernel of every step")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one network.

    Returns:
        0, or 2 where there is no such model, it is unsupported, or inputs or outputs do not fit it.
    """
    try:
        report = _run(args)
    except EXPECTED as error:
        return failed("run", args.model, error)
    if args.json:
        report |= {key: report[key].to_json() for key in ("explanation", "profile") if key in report}
        print(_results.strict_json(report))
    else:
        _print(report, [path.name for path in args.image or ()])
    return 0


def _run(args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    import neocog

    if args.output is not None:
        _results.check_output(args.output)
    labels = None if args.labels is None else _results.read_labels(args.labels)
    how = Preparation(args.size, args.resize, args.mean, args.std)
    model = neocog.compile(read_model(args.model).graph, precision=args.precision, num_threads=args.threads)
    given = make_inputs(model.inputs, Wanted(args.input or (), args.image or (), how, args.batch, args.seed))
    arrays = [item.array for item in given]
    results = {name: np.asarray(result) for name, result in zip(model.graph.outputs, model.run(*arrays), strict=True)}
    report: dict[str, Any] = {
        "model": args.model,
        "inputs": [_described(item) for item in given],
        "outputs": {name: _results.summary(array, args.top, labels) for name, array in results.items()},
    }
    if args.output is not None:
        paths, cut = _results.write(results, args.output)
        report |= {"written": [str(path) for path in paths], "cut": cut}
    if args.explain:
        report["explanation"] = model.explain(*arrays)
    if args.profile:
        report["profile"] = model.profile(*arrays)
    return report


def _described(item: Given) -> dict[str, Any]:
    return {
        "name": item.name,
        "shape": list(item.array.shape),
        "dtype": str(item.array.dtype),
        "from": item.origin,
    }


def _print(report: dict[str, Any], pictures: list[str]) -> None:
    for item in report["inputs"]:
        print(f"{item['name']}: {item['dtype']} {by_x(item['shape'])}, from {item['from']}")
    for name, described in report["outputs"].items():
        print("\n".join(_results.lines(name, described, pictures)))
    if "written" in report:
        cut = f" ({report['cut']:.1%} of the values were beyond 0 to 1 and are cut)" if report["cut"] else ""
        print(f"written: {', '.join(report['written'])}{cut}")
    for part in ("explanation", "profile"):
        if part in report:
            print(f"\n{report[part]}")
