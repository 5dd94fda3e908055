"""What a network is given on the command line: arrays from files, pictures, or random numbers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neocog.cli._models import CommandError, by_x, in_brackets, positive
from neocog.cli._pictures import Preparation, read_batch

if TYPE_CHECKING:
    from neocog.engine.graph import Input

Array = NDArray[Any]

# Sizes of random inputs where the network leaves them open: of an image, and of a second of sound at 16 kHz.
_IMAGE, _SOUND = 224, 16000


@dataclass(frozen=True)
class Given:
    """One argument of a call, and where it comes from, in words."""

    name: str
    array: Array
    origin: str


@dataclass(frozen=True)
class Wanted:
    """What the command line says about inputs.

    Args:
        files: Names of inputs and .npy files; the name may be empty where a network has one input.
        pictures: One batch, for the only input that takes pictures.
        preparation: Of pictures; its size serves random images too.
        batch: Of random inputs.
        seed: Of random inputs.
    """

    files: Sequence[tuple[str, Path]] = ()
    pictures: Sequence[Path] = ()
    preparation: Preparation = field(default_factory=Preparation)
    batch: int = 1
    seed: int = 0


def make_inputs(inputs: Sequence[Input], wanted: Wanted) -> list[Given]:
    """An array for each input of a network: from a file, from pictures, else random.

    Raises:
        CommandError: An input is unknown, given twice, or of a size that cannot be guessed.
    """
    given = _from_files(inputs, wanted)
    if wanted.pictures:
        item = _takes_pictures(inputs, given)
        given[item.name] = _from_pictures(item, wanted)
    rng = np.random.default_rng(wanted.seed)
    sizes: dict[str, int] = {}
    for item in inputs:
        if item.name in given:
            sizes.update(
                (name, size)
                for name, size in zip(item.shape, given[item.name].array.shape, strict=False)
                if isinstance(name, str)
            )
    return [given[item.name] if item.name in given else _random(item, sizes, wanted, rng) for item in inputs]


def _from_files(inputs: Sequence[Input], wanted: Wanted) -> dict[str, Given]:
    names = [item.name for item in inputs]
    given: dict[str, Given] = {}
    for name, path in wanted.files:
        if not name and len(inputs) != 1:
            raise CommandError(f"--input {path} must say which input it is, as {names[0]}={path}: {', '.join(names)}")
        name = name or names[0]
        if name not in names:
            raise CommandError(f"--input {name}={path} names no input of the network; it has {', '.join(names)}")
        if name in given:
            raise CommandError(f"--input {name}={path} gives the input {name} a second time; give it once")
        dtype = next(item.dtype for item in inputs if item.name == name)
        given[name] = Given(name, _read_array(path, dtype), str(path))
    return given


def _read_array(path: Path, dtype: str) -> Array:
    if not path.is_file():
        raise CommandError(f"--input {path} is no file; check the path (the current directory is {Path.cwd()})")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CommandError(f"--input {path} cannot be read ({error}); write it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise CommandError(f"--input {path} holds several arrays; write one with numpy.save")
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise CommandError(f"--input {path} has the dtype {array.dtype}, and the network takes {dtype}; convert it")
    return array.astype(dtype, copy=False)


def _takes_pictures(inputs: Sequence[Input], given: dict[str, Given]) -> Input:
    fitting = [
        item
        for item in inputs
        if item.name not in given
        and item.dtype == "float32"
        and len(item.shape) == 4
        and (item.shape[1] in (1, 3) or isinstance(item.shape[1], str))
    ]
    if len(fitting) != 1:
        found = ", ".join(f"{item.name} {in_brackets(item.shape)}" for item in inputs)
        raise CommandError(
            f"--image needs a network with one input of pictures, N x 3 or 1 x H x W; this one has {found}"
        )
    return fitting[0]


def _from_pictures(item: Input, wanted: Wanted) -> Given:
    batch, channels, *plane = item.shape
    how, paths = wanted.preparation, wanted.pictures
    if isinstance(batch, int) and batch != len(paths):
        raise CommandError(f"the network takes {batch} pictures at once, and --image gives {len(paths)}; give {batch}")
    if isinstance(plane[0], int) and isinstance(plane[1], int):
        fixed = plane[0], plane[1]
        if how.size not in (None, fixed):
            raise CommandError(f"--size is {by_x(how.size or ())}, but the network takes {by_x(fixed)}; leave it out")
        how = replace(how, size=fixed)
    array = read_batch(paths, 1 if channels == 1 else 3, how)
    return Given(item.name, array, ", ".join(map(str, paths)))


def _random(item: Input, sizes: dict[str, int], wanted: Wanted, rng: np.random.Generator) -> Given:
    if item.dtype != "float32":
        needed = f"the network needs {item.name}, {item.dtype} {in_brackets(item.shape)}"
        raise CommandError(f"{needed}; give --input {item.name}=FILE.npy")
    height, width = wanted.preparation.size or (_IMAGE, _IMAGE)
    sound = wanted.preparation.size[1] if wanted.preparation.size else _SOUND
    usual = {4: (wanted.batch, None, height, width), 3: (wanted.batch, None, sound)}.get(
        len(item.shape), (wanted.batch, *(None,) * (len(item.shape) - 1))
    )
    shape: list[int] = []
    for size, guess in zip(item.shape, usual, strict=False):
        if isinstance(size, str):
            known = sizes.get(size, guess)
            if known is None:
                asked = f"the size {size} of its input {item.name} {in_brackets(item.shape)} is open"
                raise CommandError(f"{asked}; give --input {item.name}=FILE.npy")
            size = sizes[size] = known
        shape.append(size)
    return Given(item.name, rng.standard_normal(shape, np.float32), f"random numbers, seed {wanted.seed}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of random inputs."""
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="of random inputs (default: 1)")
    parser.add_argument(
        "--size", type=plane, metavar="HxW", help="of images whose size the network leaves open: 224 or 224x320"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random inputs (default: 0)")


def plane(text: str) -> tuple[int, int]:
    """The type of --size: one number, or height and width."""
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 224 or 224x320, height first")
    return int(parts[0]), int(parts[-1])


def numbers(text: str) -> tuple[float, ...]:
    """The type of --mean: numbers between commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are no numbers; write them like 0.485,0.456,0.406") from None


def positive_numbers(text: str) -> tuple[float, ...]:
    """The type of --std."""
    values = numbers(text)
    if not all(value > 0 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} must be above 0")
    return values


def named_file(text: str) -> tuple[str, Path]:
    """The type of --input: NAME=FILE, or FILE."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else ("", Path(text))
