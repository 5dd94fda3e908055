"""One row made ready for all contenders: the module, its images, the exact result, the files that peers read."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from bench.nets.rows import Row
from bench.ops.row import Array, aligned


class Case:
    """What is built once per row and shared; contenders leave it as it is.

    Args:
        row: The network and its batch.
        threads: As many threads as every contender is to use.
        folder: Where files are put; somebody else removes it.
    """

    def __init__(self, row: Row, threads: int, folder: Path) -> None:
        self.row, self.threads, self.folder = row, threads, folder
        self.module: nn.Module = row.build()
        self.x: Array = aligned(row.images().numpy())

    @cached_property
    def reference(self) -> Array:
        """The result in float64, of PyTorch."""
        with torch.inference_mode():
            y: torch.Tensor = copy.deepcopy(self.module).double()(torch.from_numpy(self.x).double())
        return y.numpy()

    @cached_property
    def onnx(self) -> Path:
        """The network as an ONNX file, x -> y of fixed shapes, written by PyTorch's exporter at the first use."""
        path = self.folder / "model.onnx"
        with _quiet_exporter():
            torch.onnx.export(
                self.module,
                (torch.from_numpy(self.x),),
                path,
                dynamo=True,
                input_names=["x"],
                output_names=["y"],
                external_data=False,
                verbose=False,
            )
        return path


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's remarks about itself and about packages that no network here needs."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)
