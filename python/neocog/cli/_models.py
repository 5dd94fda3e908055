"""Models as words of a command line name them: files, names of neocog.models, functions that make one."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neocog.engine.graph import Graph

SUFFIXES = (".onnx", ".pt2", ".neocog")
BAD_USAGE = 2  # exit code

# What a command prints in one line: wrong words, missing files, models that are damaged or unsupported. Frameworks
# report much of it as RuntimeError. Anything else is a bug, and deserves its traceback.
EXPECTED = (ImportError, AttributeError, TypeError, ValueError, RuntimeError, OSError)

_EXTRAS = {"onnx": "neocog[onnx]", "torch": "neocog[torch]", "PIL": "pillow"}


class CommandError(ValueError):
    """Words that make no sense together; the message says which, and the repair."""


@dataclass(frozen=True)
class Model:
    """What a model's name stands for.

    Args:
        name: As it was given.
        graph: As it was imported: nothing is fused yet.
        path: The file, if it is one.
        module: What PyTorch runs: the nn.Module, or that of the .pt2 file; None for other files.
        shapes: Of the example inputs that the graph was made with; None for files.
    """

    name: str
    graph: Graph
    path: Path | None = None
    module: Any = None
    shapes: tuple[tuple[int, ...], ...] | None = None


def read_model(name: str) -> Model:
    """Read a .onnx, .pt2 or .neocog file."""
    from neocog.engine.compile import graph_of

    path = Path(name)
    if path.suffix not in SUFFIXES:
        what = f"is no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file"
        raise CommandError(f"it {what}; write one with torch.onnx.export, torch.export.save or `neocog convert`")
    if not path.is_file():
        what = "is no file" if path.exists() else f"does not exist (the current directory is {Path.cwd()})"
        raise CommandError(f"it {what}; check the path")
    if path.suffix == ".pt2":
        program = _exported_program(path)
        return Model(name, graph_of(program, None), path, program.module())
    return Model(name, graph_of(path, None), path)


def open_model(
    name: str, shapes: Sequence[tuple[int, ...]] | None = None, weights: Path | None = None, **options: Any
) -> Model:
    """Read a file, or make the model of a name.

    Args:
        name: A path with one of `SUFFIXES`, a name of neocog.models, or module:callable.
        shapes: Of example inputs for models that are made; None chooses by their first layer.
        weights: A state_dict for models that are made.
        options: Arguments of the function that makes the model.
    """
    if names_file(name):
        if shapes is not None or weights is not None or options:
            raise CommandError(
                "a file has its weights and sizes; shapes, --weights and options are for names of models"
            )
        return read_model(name)
    import torch

    from neocog.engine.compile import graph_of

    module = make_module(name, **options).eval()
    if weights is not None:
        module.load_state_dict(_state(weights))
    shapes = tuple(shapes or [_usual_shape(module)])
    generator = torch.Generator().manual_seed(0)
    example = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    return Model(name, graph_of(module, example), None, module, shapes)


def names_file(name: str) -> bool:
    """Whether it is a path, not a name of neocog.models or module:callable."""
    path = Path(name)
    return ":" not in name and (bool(path.suffix) or path.exists() or len(path.parts) > 1)


def make_module(name: str, **options: Any) -> Any:
    """The nn.Module of a name of neocog.models, or of module:callable."""
    module, colon, attribute = name.partition(":")
    if not colon:
        from neocog.models import create_model

        return create_model(name, **options)
    made = importlib.import_module(module)
    for part in attribute.split("."):
        made = getattr(made, part)
    return made(**options)  # type: ignore[operator]


def _usual_shape(module: Any) -> tuple[int, ...]:
    """An image of 224x224, or a second of sound at 16 kHz, with the channels of the first convolution."""
    weight = next((p for p in module.parameters() if p.dim() in (3, 4)), None)
    if weight is None:
        raise CommandError("it begins with no convolution; give the shape of its input with --input, as 1x784")
    return (1, weight.shape[1], 16000) if weight.dim() == 3 else (1, weight.shape[1], 224, 224)


def _state(path: Path) -> dict[str, Any]:
    import pickle

    import torch

    if not path.is_file():
        raise CommandError(f"--weights {path} is no file; check the path")
    try:
        # weights_only: nothing in the file is executed.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise CommandError(
            f"--weights {path} is no state_dict; write it with torch.save(model.state_dict())"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CommandError(f"--weights {path} is no state_dict; write it with torch.save(model.state_dict())")
    return state


def _exported_program(path: Path) -> Any:
    import zipfile

    import torch

    if not zipfile.is_zipfile(path):
        raise CommandError("it is damaged, or no .pt2 file; write it with torch.export.save")
    return torch.export.load(path)


def failed(command: str, model: str, error: Exception) -> int:
    """Print why a command failed, and return its exit code."""
    said = explained(error).removeprefix(f"{model}: ")  # errors of .neocog files begin with their path
    print(f"neocog {command}: {model}: {said}", file=sys.stderr)
    return BAD_USAGE


def explained(error: Exception) -> str:
    """An error in one line, with its repair."""
    from neocog.engine.importers import UnsupportedError

    if isinstance(error, UnsupportedError):
        return _unsupported(error.unsupported)
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return f'this needs {error.name}, which is not installed; pip install "{_EXTRAS[error.name]}"'
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror.lower()}; check the path and its permissions"
    return " ".join(str(error).split()) or type(error).__name__


def _unsupported(nodes: Sequence[tuple[str, str]], most: int = 3) -> str:
    """The reasons, the most frequent first, each with the first of its nodes."""
    places: dict[str, list[str]] = defaultdict(list)
    for node, reason in nodes:
        places[" ".join(reason.split()).rstrip(".")].append(node)
    ranked = sorted(places.items(), key=lambda item: -len(item[1]))
    said = [f"{at[0]}{f' and {len(at) - 1} more' if len(at) > 1 else ''}: {reason}" for reason, at in ranked[:most]]
    rest = f"; {len(ranked) - most} more reasons" if len(ranked) > most else ""
    count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    return f"{count} cannot be imported: {'; '.join(said)}{rest}; replace these layers, or leave them out of the model"


def shape(text: str) -> tuple[int, ...]:
    """The type of an argument like 2x3x224x224."""
    try:
        sizes = tuple(int(n) for n in text.split("x"))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; write it like 2x3x224x224")
    return sizes


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add `--precision` to a command that compiles a model."""
    from neocog.engine.operators import PRECISIONS

    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of convolutions and linear layers; bf16 rounds what they multiply (default: the file's, or fp32)",
    )


def positive(text: str) -> int:
    """The type of an argument that counts something."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def by_x(sizes: Sequence[object]) -> str:
    """A shape of numbers for people."""
    return "x".join(map(str, sizes)) or "scalar"


def in_brackets(sizes: Sequence[object]) -> str:
    """A shape for people in which sizes may be names."""
    return f"({', '.join(map(str, sizes))})"
