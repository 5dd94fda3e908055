"""`neocog bench`: a network here and in the libraries that are installed, checked and then timed in turn."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from neocog.cli import _inputs
from neocog.cli._models import EXPECTED, by_x, failed, open_model, positive

WRONG = 1  # exit code

# Of the largest difference, as a part of the largest value of a result: sums of float32 in another order, over many
# layers, stay far below it, and a wrong layer does not.
BOUND = 1e-3

DESCRIPTION = """\
Time a network against onnxruntime, openvino and torch, those of them that are installed and run the model as it is.
Results are compared first; then every round times every library once, and medians are printed. MODEL is a .onnx, .pt2
or .neocog file, or a name as `neocog convert` takes it. The exit code is 1 where results differ.
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `bench` to the command's subcommands."""
    parser = subparsers.add_parser("bench", help="time a network against other libraries", description=DESCRIPTION)
    parser.add_argument(
        "model", metavar="MODEL", help="model.onnx, model.pt2, model.neocog, a name, or module:callable"
    )
    _inputs.add_arguments(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="of all (default: as neocog.get_num_threads)")
    parser.add_argument("--rounds", type=positive, default=21, metavar="N", help="samples of each (default: 21)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, time and print.

    Returns:
        0, or 1 where results differ, or 2 where there is no such model, it is unsupported, or its inputs do not fit.
    """
    from neocog.cli._results import strict_json

    try:
        report = _bench(args)
    except EXPECTED as error:
        return failed("bench", args.model, error)
    print(strict_json(report) if args.json else "\n".join(_text(report)))
    return 0 if report["ok"] else WRONG


def _bench(args: argparse.Namespace) -> dict[str, Any]:
    import neocog
    from neocog.cli import _peers
    from neocog.cli._pictures import Preparation
    from neocog.cli._timing import interleaved_medians

    threads = args.threads or neocog.get_num_threads()
    model = open_model(args.model)
    given = _inputs.make_inputs(
        model.graph.inputs, _inputs.Wanted(preparation=Preparation(args.size), batch=args.batch, seed=args.seed)
    )
    arrays = [item.array for item in given]
    own = _peers.neocog(model, arrays, threads)
    peers, absent = _peers.find_peers(model, arrays, threads)
    contenders = [own, *peers]
    rows: list[dict[str, Any]] = [{"name": c.name, "version": c.version} for c in contenders]
    with _peers.torch_threads(contenders, threads):
        results = own.results(own.call())
        for row, peer in zip(rows[1:], peers, strict=True):
            row["difference"] = difference(results, peer.results(peer.call()))
        ok = all(row["difference"] <= BOUND for row in rows[1:])
        if ok:
            seconds = interleaved_medians([contender.call for contender in contenders], args.rounds)
            for row, time in zip(rows, seconds, strict=True):
                row |= {"seconds": time, "ratio": time / seconds[0]}
    return {
        "model": args.model,
        "inputs": [{"name": g.name, "shape": list(g.array.shape), "from": g.origin} for g in given],
        "threads": threads,
        "isa": neocog.show_config()["isa"]["active"],
        "rounds": args.rounds,
        "ok": ok,
        "rows": rows,
        "absent": absent,
    }


def difference(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The largest difference of two lists of results, as a part of the largest value; infinite if shapes differ."""
    import numpy as np

    if [a.shape for a in ours] != [b.shape for b in theirs]:
        return float("inf")
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.size:
            x, y = a.astype(np.float64), b.astype(np.float64)
            with np.errstate(invalid="ignore"):
                # Equal infinities do not differ; a NaN on one side alone does.
                apart = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, abs(x - y))
            finite = abs(y[np.isfinite(y)])
            scale = float(finite.max(initial=0.0)) or 1.0
            largest = float(apart.max()) / scale
            worst = max(worst, largest if largest == largest else float("inf"))
    return worst


def _text(report: dict[str, Any]) -> Iterator[str]:
    for item in report["inputs"]:
        yield f"{report['model']}, {item['name']}: {by_x(item['shape'])}, {item['from']}"
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    yield f"{report['isa']}, {threads}; medians of {report['rounds']} rounds, taken in turn"
    yield ""
    batch = next((item["shape"][0] for item in report["inputs"] if item["shape"]), 1)
    width = max(len(row["name"]) + len(row["version"]) + 1 for row in report["rows"])
    yield f"{'':{width}}  {'ms':>10}  {'items/s':>10}  {'x neocog':>8}  {'difference':>10}"
    for row in report["rows"]:
        name = f"{row['name']} {row['version']}"
        apart = f"{row['difference']:.1e}" if "difference" in row else ""
        if "seconds" in row:
            speed = f"{1e3 * row['seconds']:>10.3f}  {batch / row['seconds']:>10.1f}  {row['ratio']:>8.2f}"
        else:
            speed = f"{'not timed':>10}  {'':>10}  {'':>8}"
        wrong = "  DIFFERS" if row.get("difference", 0.0) > BOUND else ""
        yield f"{name:{width}}  {speed}  {apart:>10}{wrong}"
    for name, reason in report["absent"].items():
        yield f"{name}: {reason}"
    if not report["ok"]:
        yield f"a result differs by more than {BOUND:g} of its largest value, so nothing was timed"
