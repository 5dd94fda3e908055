"""Who competes in `nets`: neocog and its peers behind one signature. An absent peer is left out by name."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import Any, ClassVar

import torch

import bench.nets
from bench.nets.case import Case
from bench.nets.rows import Row
from bench.peers import Contender, Results
from bench.timing import timed

# Largest error allowed, as a part of the largest value. Sums in another order err by up to 3e-6 in these networks; the
# Winograd transforms of ncnn and MNN by up to 1e-3, which the table shows and which is not called wrong.
EXACT, WINOGRAD = 1e-5, 5e-3
# Where operands are rounded to eight bits in every layer; ResNets err by 4e-3 to 5e-3.
BF16 = 5e-2


@dataclass(frozen=True)
class Entry:
    """A contender that may still fail to be built."""

    peer: str
    layout: str
    channels_last: bool
    tolerance: float
    build: Callable[[Case], Contender]


class Peer(ABC):
    name: ClassVar[str]
    distribution: ClassVar[str]
    # What must be importable, and how one gets it where that has another name.
    modules: ClassVar[tuple[str, ...]] = ()
    tolerance: ClassVar[float] = EXACT
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, or None."""
        absent = [module for module in cls.modules if not find_spec(module)]
        return f"{' and '.join(absent)} not installed" if absent else None

    def version(self) -> str:
        return metadata.version(self.distribution)

    def unsuited(self, row: Row) -> str | None:
        """Why it cannot run this row, or None."""
        return None if row.precision in self.precisions else f"is not asked for {row.precision}"

    def entries(self) -> Iterator[Entry]:
        """The layouts it runs in: NCHW alone where a library chooses its own inside."""
        yield Entry(self.name, "NCHW", False, self.tolerance, self.build)

    @abstractmethod
    def build(self, case: Case) -> Contender:
        """Ready to be timed: it takes an array, or a tensor, in NCHW and returns the result in NCHW."""


class Neocog(Peer):
    """The module as a `.neocog` file, loaded and called with NumPy arrays."""

    name = bench.nets.NEOCOG
    distribution = "neocog"
    precisions = ("fp32", "bf16")

    def build(self, case: Case) -> Contender:
        import neocog

        path = case.folder / "model.neocog"
        example, precision = (torch.from_numpy(case.x),), case.row.precision
        neocog.compile(case.module, example, dynamic=False, precision=precision).save(path)
        # The memory that waits from other shapes would make the first call faster than that of a fresh program.
        neocog.empty_cache()
        model, seconds = timed(partial(neocog.load, path, num_threads=case.threads))
        return Contender(lambda: model(case.x), lambda y: (y,), seconds)


class Torch(Peer):
    """PyTorch eager, in both memory formats."""

    name = "torch"
    distribution = "torch"
    modules = ("torch",)
    precisions = ("fp32", "bf16")

    def entries(self) -> Iterator[Entry]:
        yield from super().entries()
        yield Entry(self.name, "channels_last", True, self.tolerance, partial(self.build, channels_last=True))

    def build(self, case: Case, channels_last: bool = False) -> Contender:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        dtype = _DTYPES[case.row.precision]
        module = copy.deepcopy(case.module).to(dtype=dtype, memory_format=layout)
        return _inference(module, torch.from_numpy(case.x).to(dtype).contiguous(memory_format=layout))


class Compiled(Peer):
    """`torch.compile` with weights frozen, which folds batch norms and packs weights for oneDNN."""

    name = "torch.compile"
    distribution = "torch"
    modules = ("torch",)

    def build(self, case: Case) -> Contender:
        compiled = torch.compile(copy.deepcopy(case.module), options={"freezing": True})
        return _inference(compiled, torch.from_numpy(case.x))


def _inference(module: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Contender:
    def call() -> torch.Tensor:
        with torch.inference_mode():
            return module(x)

    def results(y: Any) -> Results:
        return (y.float().numpy(),)

    return Contender(call, results)


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def everyone() -> dict[str, type[Peer]]:
    """By name, in the order of the columns, neocog first."""
    from bench.nets.runtimes import Mnn, Ncnn, OnnxRuntime, OpenVino

    return {peer.name: peer for peer in (Neocog, Torch, Compiled, OnnxRuntime, OpenVino, Ncnn, Mnn)}


def find(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """neocog and the wanted peers that are here, and why the others are not."""
    known = everyone()
    absent = {name: reason for name in names if (reason := known[name].missing())}
    return [Neocog(), *(known[name]() for name in names if name not in absent)], absent
