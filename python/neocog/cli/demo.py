"""`neocog demo`: a photograph enlarged by a small network, measured and drawn."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neocog.demo.run import DemoResult

MISSING_EXTRA, BAD_FILE = 1, 2  # exit codes

DESCRIPTION = """\
Enlarge a photograph twofold with a small convolutional network (ESPCN x2) and compare with bicubic
interpolation: the photograph is made half its size, enlarged again both ways, and held against itself.
Without --image it is a photograph that the network never saw in training. Needs Pillow and scikit-image:
pip install "neocog[demo]".
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `demo` to the command's subcommands."""
    summary = "enlarge a photograph, measure and draw"
    parser = subparsers.add_parser("demo", help=summary, description=DESCRIPTION)
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="your own photograph, measured and then enlarged itself"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("neocog-demo.png"),
        metavar="FILE",
        help="where the side-by-side picture goes (default: %(default)s)",
    )
    parser.add_argument(
        "--enlarged",
        type=Path,
        metavar="FILE",
        help="with --image: where it goes at twice its size (default: NAME-x2.png in the current directory)",
    )
    parser.add_argument("--repeat", type=_positive, default=9, metavar="N", help="timed frames (default: 9)")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out even if it is installed")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo and print its result.

    Returns:
        0, or 1 where the demo extra is missing, or 2 where a file cannot be read or written.
    """
    from neocog.demo.images import ImageFileError, MissingExtraError
    from neocog.demo.run import OutputFileError, run_demo

    progress = _Progress() if sys.stderr.isatty() else None
    try:
        result = run_demo(
            args.image,
            output=args.output,
            enlarged=args.enlarged,
            repeat=args.repeat,
            use_torch=not args.no_torch,
            progress=progress,
        )
    except (MissingExtraError, ImageFileError, OutputFileError) as error:
        print(f"neocog demo: {error}", file=sys.stderr)
        return MISSING_EXTRA if isinstance(error, MissingExtraError) else BAD_FILE
    finally:
        if progress is not None:
            progress.clear()
    print(_as_json(result) if args.json else "\n".join(_table(result)))
    return 0


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


class _Progress:
    """One line on a terminal's stderr, written over and at last removed."""

    def __call__(self, doing: str, done: float) -> None:
        print(f"\r\x1b[K{doing}: {done:4.0%}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _as_json(result: DemoResult) -> str:
    values = dataclasses.asdict(result)
    for name in ("psnr_bicubic", "psnr_neocog"):
        if math.isinf(values[name]):
            values[name] = None  # equal images; JSON has no infinity
    return json.dumps(values, indent=2, default=str, allow_nan=False)


def _table(result: DemoResult) -> Iterator[str]:
    origin = "held out of training, " if result.held_out else ""
    yield f"{result.image} ({origin}{_size(result.low_size)} enlarged to {_size(result.high_size)})"
    yield ""
    yield f"{'':20}{'PSNR of luma':>14}{'ms per frame':>16}{'frames/s':>12}"
    yield f"{'bicubic':20}{result.psnr_bicubic:>11.2f} dB"
    yield f"{'neocog':20}{result.psnr_neocog:>11.2f} dB{_speed(result.seconds)}"
    if result.torch is not None:
        for layout, seconds in result.torch.seconds.items():
            ratio = f"{seconds / result.seconds:.2f} x neocog's time"
            yield f"{'torch ' + layout:20}{'':>14}{_speed(seconds)}   {ratio}"
    yield ""
    threads = "1 thread" if result.num_threads == 1 else f"{result.num_threads} threads"
    timed = f"median of {result.repeat} frames of {_size(result.frame_size)}"
    kernels = "; ".join(f"{kernel} ({', '.join(layers)})" for kernel, layers in result.kernels.items())
    yield f"neocog: {result.isa}, {threads}; {timed}"
    yield f"kernels: {kernels}"
    if result.torch is not None:
        same = f"torch {result.torch.version}, same weights, {threads}"
        yield f"{same}: largest difference {result.torch.largest_difference:.1e} (luma from 0 to 1)"
    yield f"picture: {result.picture}"
    if result.enlarged is not None:
        yield f"enlarged: {result.enlarged}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _speed(seconds: float) -> str:
    return f"{1e3 * seconds:>16.1f}{1.0 / seconds:>12.0f}"
