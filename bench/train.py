"""Training steps: PyTorch in its modes, and the same models on our kernels. Needs PyTorch."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import neocog.torch
import torch

from bench import limits as machine_limits
from bench import report, standings
from bench.check import WrongResult
from bench.compare import Outcome, Step
from bench.networks import Network, State, Training, session
from bench.standings import Standing
from bench.timing import interleaved

# Relative to the reference's loss, and in the Euclidean norm to each parameter's gradient. Rounding alone errs by 1e-5,
# but of the windows of a max pool a few have two largest values that it makes change places, whatever the weights:
# gradients of mini-Xception and Xception err by up to 2e-2 then, PyTorch's too; a kernel that is wrong, by 0.1 to 1.
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 5e-2
# Of the largest gradient of all parameters: less than this is zero, such as of a bias in front of a batch norm.
ZERO = 1e-12

TORCH, COMPILE, PATCH, NN = "torch", "torch.compile", "neocog.torch.patch", "neocog.nn"
OURS = (PATCH, NN)
FORMATS = {False: "NCHW", True: "channels_last"}


class Unavailable(Exception):
    """A contender that cannot run here: skipped by name."""


@dataclass(frozen=True)
class Contender:
    """One way to train a model that was written in plain PyTorch."""

    name: str
    channels_last: bool
    build: Callable[[Network, bool], Training]
    session: Callable[[], AbstractContextManager[Any]] = nullcontext
    # Whether an exception while it computes only says that this machine lacks something.
    optional: bool = False


def _eager(network: Network, channels_last: bool) -> Training:
    return Training(network, channels_last)


def _compiled(network: Network, channels_last: bool) -> Training:
    return Training(network, channels_last, compile=torch.compile)


def _converted(network: Network, channels_last: bool) -> Training:
    try:
        convert = importlib.import_module("neocog.nn").convert
    except (ImportError, AttributeError) as error:
        raise Unavailable(str(error)) from error
    return Training(network, channels_last, convert=convert)


CONTENDERS = (
    Contender(TORCH, False, _eager),
    Contender(TORCH, True, _eager),
    # In one format: the compiler chooses the layout of activations itself, and needs a C++ compiler.
    Contender(COMPILE, False, _compiled, optional=True),
    Contender(PATCH, False, _eager, neocog.torch.patch),
    Contender(PATCH, True, _eager, neocog.torch.patch),
    Contender(NN, False, _converted),
    Contender(NN, True, _converted),
)


@dataclass
class Comparison(Standing):
    """A row of the table."""

    network: Network

    def ratio(self, *ours: str) -> float | None:
        """The fastest mode of PyTorch over the fastest of ours; of all of ours by default."""
        theirs, best = self.best(TORCH, COMPILE), self.best(*(ours or OURS))
        return theirs.seconds / best.seconds if theirs and best else None


def compare(
    network: Network,
    contenders: Sequence[Contender],
    rounds: int,
    step: Step = lambda doing, part: None,
) -> Comparison:
    """Check one step of every contender against float64, then time those that are right, in turn."""
    step(f"{network.name}: float64 reference", 0.0)
    expected = Training(network, dtype=torch.float64).calm_step()
    row = Comparison(network, [], {}, network.flops())
    timed: list[tuple[Outcome, Training, Contender]] = []
    try:
        for contender in contenders:
            label = f"{contender.name} {FORMATS[contender.channels_last]}"
            step(f"{network.name}: checking {label}", 0.0)
            outcome = Outcome(contender.name, FORMATS[contender.channels_last], contender.channels_last)
            row.outcomes.append(outcome)
            try:
                training = contender.build(network, contender.channels_last)
                with contender.session():
                    outcome.error = largest_error(*training.calm_step(), *expected)
            except Unavailable as error:
                row.skipped[label] = str(error)
            except Exception as error:  # whatever a library does, the others are measured
                text = f"{type(error).__name__}: {error}".partition("\n")[0]
                if contender.optional and not isinstance(error, WrongResult):
                    row.skipped[label] = text
                else:
                    outcome.failure = text
            else:
                timed.append((outcome, training, contender))
        del expected
        samples = interleaved(
            [training.step for _, training, _ in timed],
            rounds,
            lambda done: step(f"{network.name}: round {done + 1} of {rounds}", done / rounds),
            [contender.session for _, _, contender in timed],
        )
    finally:
        torch.compiler.reset()  # the compiled model of this row and its memory
    for (outcome, _, _), seconds in zip(timed, samples, strict=True):
        outcome.samples = seconds
    row.outcomes = [o for o in row.outcomes if o.samples or o.failure]
    return row


def largest_error(loss: float, gradients: State, expected_loss: float, expected: State) -> float:
    """The largest error of the gradient of any parameter, as a part of that gradient, both in the Euclidean norm.

    Where the gradient is zero, the error is held against the largest gradient of all parameters.

    Raises:
        WrongResult: The loss or a gradient errs by more than its tolerance, or a gradient is missing.
    """
    error = abs(loss - expected_loss) / abs(expected_loss)
    if not error <= LOSS_TOLERANCE:  # NaN is wrong too
        raise WrongResult(f"the loss errs by {error:.1e}; {LOSS_TOLERANCE:.0e} is allowed")
    if gradients.keys() != expected.keys():
        names = ", ".join(sorted(gradients.keys() ^ expected.keys()))
        raise WrongResult(f"gradients that are missing or that nobody asked for: {names}")
    norms = {name: float(exact.norm()) for name, exact in expected.items()}
    largest, longest = 0.0, max(norms.values())
    for name, exact in expected.items():
        gradient = gradients[name]
        if gradient.shape != exact.shape or gradient.dtype != torch.float32:
            shape = tuple(exact.shape)
            raise WrongResult(f"grad of {name} is {gradient.dtype} {tuple(gradient.shape)}, not float32 {shape}")
        length = norms[name] if norms[name] > ZERO * longest else longest
        error = float((gradient - exact).norm()) / length
        if not error <= GRADIENT_TOLERANCE:
            raise WrongResult(f"grad of {name} errs by {error:.1e}; {GRADIENT_TOLERANCE:.0e} is allowed")
        largest = max(largest, error)
    return largest


def measure(
    networks: Sequence[Network], contenders: Sequence[Contender], threads: int, rounds: int
) -> tuple[machine_limits.Limits, list[Comparison]]:
    """All rows, and the machine's limits."""
    with session(threads):
        return standings.measure(networks, lambda row, step: compare(row, contenders, rounds, step), threads)


def table(rows: Sequence[Comparison], limits: machine_limits.Limits) -> Iterator[str]:
    """Milliseconds of a step, what the fastest of ours reaches, PyTorch's fastest over ours, their geometric mean."""
    present = {(o.peer, o.channels_last) for row in rows for o in row.outcomes}
    columns = [(c.name, c.channels_last) for c in CONTENDERS if (c.name, c.channels_last) in present]
    ways = [name for name in OURS if any(column[0] == name for column in columns)]
    ratios = [*((way, (way,)) for way in ways), ("best", ())]
    groups: list[tuple[str, list[str]]] = [("", ["training step", "batch", "GFLOP"])]
    for name in dict.fromkeys(name for name, _ in columns):
        layouts = ["NCHW" if not last else "ch_last" for peer, last in columns if peer == name]
        groups.append((f"{name}, ms", layouts))
    groups.append(("our fastest", ["GFLOP/s", "of peak"]))
    groups.append(("fastest torch / ours", [way.rpartition(".")[2] for way, _ in ratios]))
    lines = []
    for row in rows:
        by_column = {(o.peer, o.channels_last): o for o in row.outcomes}
        cells = [row.network.name, str(row.network.batch), f"{row.flops / report.GIGA:.1f}"]
        cells += [report.milliseconds(by_column.get(column)) for column in columns]
        ours = row.best(*OURS)
        speed = row.flops / ours.seconds if ours else math.nan
        cells += [f"{speed / report.GIGA:.0f}", f"{speed / limits.fma_peak:.0%}"] if ours else ["-", "-"]
        lines.append([*cells, *(report.ratio_text(row.ratio(*names)) for _, names in ratios)])
    means = [report.ratio_text(standings.mean(rows, *names)) for _, names in ratios]
    lines.append(["geometric mean", *[""] * (4 + len(columns)), *means])
    yield from report.aligned(groups, lines)
    if (worst := standings.worst_row(rows)) is not None:
        yield f"worst: {worst.network.name}, {report.ratio_text(worst.ratio())}"
