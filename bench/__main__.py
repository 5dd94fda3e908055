"""The command line of the benches; run from the repository's root."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import bench.nets
import bench.ops
from bench import limits as machine_limits
from bench import peers as everyone
from bench import readme, report, standings
from bench.compare import Comparison, compare, start
from bench.ops.row import PASSES, Row
from bench.progress import Progress

AS_MANY = "default: as many as neocog would use"


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 where a contender failed or computed something else."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure neocog beside its peers.")
    subparsers = parser.add_subparsers(metavar="WHAT", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json",
        type=_target,
        metavar="FILE",
        nargs="?",
        const="-",
        help="write everything as JSON; - or nothing replaces the table by it",
    )
    one_count = argparse.ArgumentParser(add_help=False)
    one_count.add_argument("--threads", type=_positive, metavar="N", help=AS_MANY)
    rounds = argparse.ArgumentParser(add_help=False)
    rounds.add_argument("--repeat", type=_positive, default=9, metavar="N", help="rounds (default: 9)")
    rows = argparse.ArgumentParser(add_help=False, parents=[rounds])
    rows.add_argument(
        "--rows", type=_pattern, default=_pattern(""), metavar="REGEX", help="only rows whose name has it"
    )
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument(
        "--show",
        type=partial(_names, report.SHOWN),
        default=[],
        metavar="NAME,...",
        help=f"more columns, of {', '.join(report.SHOWN)}: the first call of all, the root mean square of the error",
    )
    ops = subparsers.add_parser("ops", parents=[common, rows, more], help="single operators, forward and backward")
    ops.add_argument(
        "--set", choices=tuple(bench.ops.SETS), default=bench.ops.STANDARD, help="which rows (default: %(default)s)"
    )
    ops.add_argument("--pass", dest="pass_", choices=(*PASSES, "both"), default="both")
    ops.add_argument(
        "--threads", type=_counts, metavar="N,...", help=f"every row with each number of threads; {AS_MANY}"
    )
    _add_peers(ops, list(everyone.PEERS))
    ops.set_defaults(run=run_ops)
    nets = subparsers.add_parser(
        "nets", parents=[common, one_count, rounds, more], help="whole networks in inference; needs torch"
    )
    nets.add_argument(
        "--networks", type=_pattern, default=_pattern(""), metavar="REGEX", help="only networks whose name has it"
    )
    nets.add_argument(
        "--batch", type=_counts, default=(1, 8), metavar="N,...", help="every network with each batch (default: 1,8)"
    )
    nets.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="of convolutions and linear layers, of all"
    )
    _add_peers(nets, list(bench.nets.PEERS))
    nets.set_defaults(run=run_nets)
    train = subparsers.add_parser(
        "train", parents=[common, one_count, rows], help="training steps of whole networks; needs torch"
    )
    train.set_defaults(run=run_train)
    limits = subparsers.add_parser(
        "limits", parents=[common, one_count], help="the machine's FMA peak and memory bandwidth"
    )
    limits.set_defaults(run=run_limits)
    costs = subparsers.add_parser(
        "costs",
        parents=[common, one_count, rounds],
        help="what the choice between convolution methods loses, and weights that lose less; needs scipy",
    )
    costs.add_argument(
        "--shapes", type=_positive, default=60, metavar="N", help="of every kernel and use (default: 60)"
    )
    costs.add_argument(
        "--kernels", type=_pattern, default=_pattern(""), metavar="REGEX", help="only kernels whose name has it"
    )
    costs.set_defaults(run=run_costs)
    table = subparsers.add_parser("readme", help="put a stored record into its table in the README")
    table.add_argument("record", type=Path, metavar="FILE", help="JSON that `ops` or `nets` wrote")
    table.set_defaults(run=run_readme)
    return parser


def _add_peers(parser: argparse.ArgumentParser, known: list[str]) -> None:
    parser.add_argument(
        "--peers",
        type=partial(_names, known),
        default=known,
        metavar="NAME,...",
        help=f"of {', '.join(known)} (default: all that are installed); empty for none",
    )


def run_readme(args: argparse.Namespace) -> int:
    try:
        readme.write(args.record, Path(__file__).parents[1] / "README.md")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run_limits(args: argparse.Namespace) -> int:
    import neocog

    threads = args.threads or neocog.get_num_threads()
    limits = machine_limits.measure(threads)
    machine = describe([everyone.Neocog()], threads)
    lines = [*report.machine_text(machine, [threads]), "", *report.limits_text([limits])]
    _deliver(args.json, lines, {"format": 1, "machine": machine, "limits": vars(limits)})
    return 0


def run_costs(args: argparse.Namespace) -> int:
    import importlib.util

    import neocog

    from bench import costs

    if importlib.util.find_spec("scipy") is None:
        print("scipy: not installed; `costs` needs it", file=sys.stderr)
        return 2
    kernels = [name for name in costs.KERNELS if args.kernels.search(name)]
    if not kernels:
        known = "\n  ".join(costs.KERNELS)
        print(f"--kernels {args.kernels.pattern!r} matches none of\n  {known}", file=sys.stderr)
        return 2
    threads = args.threads or neocog.get_num_threads()
    samples = []
    progress = Progress(len(kernels) * len(costs.USES))
    try:
        with everyone.Neocog().session(threads):
            for name in kernels:
                for use in costs.USES:
                    progress.step(f"{name}, {use}")
                    samples += [costs.measure(shape, args.repeat) for shape in costs.shapes(name, use, args.shapes)]
                    progress.next()
    finally:
        progress.clear()
    fitted = costs.fit_all(samples)
    machine = describe([everyone.Neocog()], threads)
    lines = [*report.machine_text(machine, [threads]), "", *costs.table(samples, fitted)]
    settings = {"rounds": args.repeat, "shapes": args.shapes}
    record = {"format": 1, "machine": machine, "settings": settings, **costs.as_json(samples, fitted)}
    _deliver(args.json, lines, record)
    return 0


def run_ops(args: argparse.Namespace) -> int:
    import neocog

    rows = _chosen(bench.ops.SETS[args.set], args.rows)
    if not rows:
        return 2
    threads = args.threads or (neocog.get_num_threads(),)
    peers, absent = everyone.find(args.peers)
    _tell(absent)
    passes = PASSES if args.pass_ == "both" else (args.pass_,)
    limits, comparisons = measure(rows, passes, peers, threads, args.repeat)
    machine = describe(peers, threads[-1])
    settings = {"rounds": args.repeat, "passes": list(passes), "skipped_peers": absent, "set": args.set}
    wrong = report.failures(comparisons)
    lines = [*report.machine_text(machine, threads), *report.limits_text(limits)]
    lines += report.tables(comparisons, args.show)
    _deliver(args.json, lines, report.as_json(machine, limits, settings, comparisons))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def run_nets(args: argparse.Namespace) -> int:
    import neocog

    if not _has_torch("nets"):
        return 2
    from bench import networks
    from bench.nets import compare, rows
    from bench.nets import peers as contenders
    from bench.nets import report as nets_report

    chosen = _chosen(networks.ROWS, args.networks, "--networks")
    if not chosen:
        return 2
    threads = args.threads or neocog.get_num_threads()
    peers, absent = contenders.find(args.peers)
    _tell(absent)
    limits, comparisons = compare.measure(rows.rows(chosen, args.batch, args.precision), peers, threads, args.repeat)
    machine = describe(peers, threads)
    settings = {"rounds": args.repeat, "precision": args.precision, "skipped_peers": absent}
    lines = [*report.machine_text(machine, [threads]), *report.limits_text([limits])]
    lines += ["", *nets_report.table(comparisons, limits, args.show)]
    _deliver(args.json, lines, standings.as_json(machine, limits, settings, comparisons))
    return _complain(comparisons)


def run_train(args: argparse.Namespace) -> int:
    import neocog

    if not _has_torch("train"):
        return 2
    from bench import networks, train

    rows = _chosen(networks.ROWS, args.rows)
    if not rows:
        return 2
    threads = args.threads or neocog.get_num_threads()
    limits, comparisons = train.measure(rows, train.CONTENDERS, threads, args.repeat)
    machine = describe([everyone.Neocog(), everyone.Torch()], threads)
    lines = [*report.machine_text(machine, [threads]), *report.limits_text([limits])]
    lines += ["", *train.table(comparisons, limits)]
    _deliver(args.json, lines, standings.as_json(machine, limits, {"rounds": args.repeat}, comparisons, train.OURS))
    return _complain(comparisons)


def _has_torch(command: str) -> bool:
    if reason := everyone.Torch.missing():
        print(f"torch: {reason}; `{command}` needs it", file=sys.stderr)
    return reason is None


def _tell(absent: Mapping[str, str]) -> None:
    for name, reason in absent.items():
        print(f"{name}: {reason}; skipped", file=sys.stderr)


def _complain(comparisons: Sequence[standings.Standing]) -> int:
    """Says of every network who could not run and who failed; returns the exit code."""
    wrong = standings.failures(comparisons)
    for line in (*standings.skipped(comparisons), *wrong):
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def _chosen(rows: Sequence[Any], pattern: re.Pattern[str], option: str = "--rows") -> list[Any]:
    """The rows whose name has the pattern; where there are none, stderr lists all."""
    chosen = [row for row in rows if pattern.search(row.name)]
    if not chosen:
        names = "\n  ".join(row.name for row in rows)
        print(f"{option} {pattern.pattern!r} matches none of\n  {names}", file=sys.stderr)
    return chosen


def measure(
    rows: Sequence[Row], passes: Sequence[Any], peers: Sequence[everyone.Peer], threads: Sequence[int], rounds: int
) -> tuple[list[machine_limits.Limits], list[Comparison]]:
    """All rows in all passes with each number of threads, and the machine's limits with each.

    Limits are as they were before or after, whichever is higher.
    """
    chosen = [(row, pass_) for row in rows for pass_ in passes if pass_ in row.passes]
    progress = Progress(len(chosen) + 2)
    comparisons = []
    try:
        progress.step("the machine's limits")
        before = [machine_limits.measure(count) for count in threads]
        progress.next()
        with contextlib.ExitStack() as sessions:
            for peer in peers:
                sessions.enter_context(peer.session(threads[-1]))
            probes = [machine_limits.Probes(count) for count in threads]
            for count in threads:
                start(peers, count)
            for row, pass_ in chosen:
                comparisons += compare(row, pass_, peers, rounds, probes, progress.step)
                progress.next()
        progress.step("the machine's limits")
        after = [machine_limits.measure(count) for count in threads]
        return [one.best_of(other) for one, other in zip(before, after, strict=True)], comparisons
    finally:
        progress.clear()


def describe(peers: Sequence[everyone.Peer], threads: int) -> dict[str, Any]:
    """The machine and what ran on it, for a record that can be read a year later."""
    import neocog

    config = neocog.show_config()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **config,
        "openmp": [Path(path).name for path in config["openmp"] or ()],  # a record says nothing of folders
        "bench_threads": threads,
        "peers": {peer.name: peer.version() for peer in peers if peer.name != "neocog"},
    }


def _deliver(target: str | None, lines: Sequence[str], record: dict[str, Any]) -> None:
    if target != "-":
        print("\n".join(lines))
    if target is None:
        return
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def _counts(text: str) -> tuple[int, ...]:
    """Numbers of threads, each once, in rising order."""
    return tuple(sorted({_positive(part.strip()) for part in text.split(",")}))


def _target(text: str) -> str:
    # Now, and not after minutes of measuring.
    if text != "-" and (Path(text).is_dir() or not Path(text).parent.is_dir()):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: a folder, or in a folder that does not exist")
    return text


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None


def _names(known: Collection[str], text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
