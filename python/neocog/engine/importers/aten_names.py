"""Names for people: of layers, of operators, and of sizes that are open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from neocog.engine.graph import Size as GraphSize
from neocog.engine.importers.aten_registry import plain_sizes

_AXES = {1: ("batch",), 2: ("batch", "features"), 3: ("batch", "channels", "length")}
_IMAGE_AXES = ("batch", "channels", "height", "width")


class SizeNames:
    """Names for the open sizes of inputs; one size has one name."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._taken: set[str] = set()

    def of(self, shape: Sequence[int | torch.SymInt]) -> tuple[GraphSize, ...]:
        axes = _AXES.get(len(shape), _IMAGE_AXES)
        sizes: list[GraphSize] = []
        for axis, size in enumerate(plain_sizes(shape)):
            if isinstance(size, int):
                sizes.append(size)
                continue
            expression = size.node.expr
            if expression not in self._names:
                like = axes[axis] if axis < len(axes) else f"axis{axis}"
                name, count = like, 1
                while name in self._taken:
                    count += 1
                    name = f"{like}{count}"
                self._taken.add(name)
                self._names[expression] = name
            sizes.append(self._names[expression])
        return tuple(sizes)


def operator_of(node: fx.Node) -> str:
    return str(node.target).removesuffix(".default")


def layer_of(node: fx.Node) -> str:
    """The qualified name of the module that the node comes from: "layer1.0.conv1"."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((entry[0] for entry in reversed(list(stack.values())) if isinstance(entry, tuple)), "")
    if path.startswith("_empty_nn_module_stack"):
        return ""
    # torch.compile has L['self'].layer1[0], and may spell out the containers.
    path = re.sub(r"^L\[[^\]]*\]\.?|\._modules(?=\W)", "", path)
    return re.sub(r"\[['\"]?([^\]'\"]*)['\"]?\]", r".\1", path).strip(".")


def describe(node: fx.Node, reason: str) -> tuple[str, str]:
    """A node as people know it, and the reason: for `UnsupportedError`."""
    layer = layer_of(node)
    where = f"{layer} ({node.name})" if layer else node.name
    return where, f"{operator_of(node)}: {reason}" if node.op == "call_function" else reason
