"""`neocog convert`: a model of PyTorch or ONNX as a `.neocog` file."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neocog.cli._models import (
    EXPECTED,
    CommandError,
    add_precision,
    by_x,
    failed,
    in_brackets,
    names_file,
    open_model,
    positive,
    shape,
)

if TYPE_CHECKING:
    from neocog.engine.graph import Graph, Input

DESCRIPTION = """\
Write a model as a .neocog file, which `neocog run` and neocog.load read with NumPy alone. MODEL is a file of ONNX
(.onnx) or torch.export (.pt2), a name of neocog.models (resnet18), or module:callable of a function or class that
makes a torch.nn.Module (torchvision.models:mobilenet_v2). Batch norms are folded, activations and sums fused.
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `convert` to the command's subcommands."""
    summary = "write a model of ONNX or PyTorch as a .neocog file"
    parser = subparsers.add_parser("convert", help=summary, description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="model.onnx, model.pt2, a name, or module:callable")
    parser.add_argument("output", metavar="FILE", type=Path, help="where it goes, model.neocog")
    parser.add_argument(
        "--input",
        action="append",
        type=shape,
        metavar="SHAPE",
        help="shape of an example, 1x3x224x224, which loading prepares for; again for a second input. The batch of a "
        "named model stays open, and the image's size where the model allows it.",
    )
    names = parser.add_argument_group("for names of models, which need PyTorch")
    names.add_argument(
        "--weights", type=Path, metavar="FILE", help="a state_dict that torch.save wrote (default: fresh weights)"
    )
    names.add_argument("--num-classes", type=positive, metavar="N", help="of the model")
    names.add_argument("--in-channels", type=positive, metavar="N", help="of the model")
    names.add_argument("--seed", type=int, default=0, help="of fresh weights (default: 0)")
    add_precision(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert one model and say what became of it.

    Returns:
        0, or 2 where there is no such model, it is unsupported, or the file cannot be written.
    """
    try:
        report = _convert(args)
    except EXPECTED as error:
        return failed("convert", args.model, error)
    print(json.dumps(report, indent=2) if args.json else "\n".join(_text(report)))
    return 0


def _convert(args: argparse.Namespace) -> dict[str, Any]:
    import neocog

    output = args.output
    if output.suffix != ".neocog":
        raise CommandError(f"the file {output} must end in .neocog, by which it is known")
    if not output.parent.is_dir():
        raise CommandError(f"there is no folder {output.parent} for the file {output.name}; make it first")
    given = {"num_classes": args.num_classes, "in_channels": args.in_channels}
    options = {name: value for name, value in given.items() if value is not None}
    if Path(args.model).suffix not in (".onnx", ".neocog"):
        import torch

        torch.manual_seed(args.seed)
    is_file = names_file(args.model)
    model = open_model(args.model, None if is_file else args.input, args.weights, **options)
    source = args.model if Path(args.model).suffix == ".neocog" else model.graph
    example = model.shapes or (args.input and tuple(args.input))
    compiled = neocog.compile(source, example, precision=args.precision)
    compiled.save(output, metadata={"source": Path(args.model).name})
    graph = compiled.graph
    weights = {id(array): array for array in graph.constants.values()}.values()
    return {
        "model": args.model,
        "file": str(output),
        "bytes": output.stat().st_size,
        "weights": _weights(args, is_file),
        "numbers": sum(array.size for array in weights),
        "inputs": [_input(item) for item in graph.inputs],
        "outputs": graph.outputs,
        "prepared": [[list(shape) for shape, _ in sizes] for sizes in compiled.prepared],
        "operators": {"model": _operators(model.graph), "file": _operators(graph)},
        "fused": fused(model.graph, graph),
    }


def _weights(args: argparse.Namespace, is_file: bool) -> str:
    if is_file:
        return "those of the model"
    if args.weights:
        return f"those of {args.weights}"
    made = "" if ":" not in args.model else f"as {args.model} makes them, "
    return f"{made}with the seed {args.seed}: --weights FILE takes trained ones"


def _input(item: Input) -> dict[str, Any]:
    return {"name": item.name, "dtype": item.dtype, "shape": list(item.shape)}


def _operators(graph: Graph) -> dict[str, int]:
    return dict(Counter(node.op for node in graph.nodes).most_common())


def fused(before: Graph, after: Graph) -> dict[str, int]:
    """How many activations, sums and batch norms of one graph are part of other layers in the other."""

    def activations(graph: Graph) -> int:
        return sum(node.attributes.get("activation") is not None for node in graph.nodes)

    def sums(graph: Graph) -> int:
        with_residual = ("conv", "conv_transpose")
        return sum(
            node.op in with_residual and len(node.inputs) > 3 and node.inputs[3] is not None for node in graph.nodes
        )

    def batch_norms(graph: Graph) -> int:
        return sum(node.op == "batch_norm" for node in graph.nodes)

    return {
        "activations": activations(after) - activations(before),
        "sums": sums(after) - sums(before),
        "batch norms": batch_norms(before) - batch_norms(after),
    }


def _text(report: dict[str, Any]) -> Iterator[str]:
    before, after = report["operators"]["model"], report["operators"]["file"]
    yield f"{report['file']}: {report['bytes'] / 1e6:.1f} MB, {report['numbers']:,} numbers in weights"
    yield ""
    width = max(map(len, ["operator", *before, *after]))
    yield f"{'operator':{width}}  in the model  in the file"
    for name in dict.fromkeys([*before, *after]):
        yield f"{name:{width}}  {before.get(name, 0) or '-':>12}  {after.get(name, 0) or '-':>11}"
    yield f"{'all':{width}}  {sum(before.values()):>12}  {sum(after.values()):>11}"
    yield ""
    done = ", ".join(f"{count} {what if count != 1 else what[:-1]}" for what, count in report["fused"].items() if count)
    yield f"fused:    {done or 'nothing'}"
    for item in report["inputs"]:
        yield f"input:    {item['name']}: {item['dtype']} {in_brackets(item['shape'])}"
    yield f"outputs:  {', '.join(report['outputs'])}"
    for shapes in report["prepared"]:
        yield f"prepared: for {' and '.join(map(by_x, shapes))}"
    yield f"weights:  {report['weights']}"
