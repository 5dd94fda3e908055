"""What a network returned, for people and for programs: classes, ranges, files."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neocog.cli._models import CommandError, by_x
from neocog.cli._pictures import is_picture, write_pictures

Array = NDArray[Any]


def are_classes(array: Array) -> bool:
    """Whether a result has the shape of scores, (N, classes), also as images of one pixel."""
    return (
        array.dtype.kind == "f" and array.ndim >= 2 and array.shape[1] > 1 and array.size == math.prod(array.shape[:2])
    )


def top_classes(array: Array, count: int, labels: Sequence[str] | None = None) -> list[list[dict[str, Any]]]:
    """The classes with the highest scores of each item of the batch.

    Args:
        array: As `are_classes` wants it.
        count: How many classes.
        labels: Their names.
    Returns:
        For each item dicts of class, label (if there are labels), score, and probability: the softmax of the scores,
        or the scores themselves where they are probabilities already.
    """
    items, classes = array.shape[:2]
    scores = array.reshape(items, classes).astype(np.float64)
    if labels is not None and len(labels) != scores.shape[1]:
        raise CommandError(
            f"--labels has {len(labels)} lines, and the network {scores.shape[1]} classes; they must agree"
        )
    found = []
    for row in scores:
        probable = _probabilities(row)
        order = np.argsort(-row, kind="stable")[:count]
        found.append(
            [
                {
                    "class": int(i),
                    **({} if labels is None else {"label": labels[i]}),
                    "score": float(row[i]),
                    "probability": float(probable[i]),
                }
                for i in order
            ]
        )
    return found


def _probabilities(row: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.all(row >= 0) and abs(row.sum() - 1) < 1e-3:
        return row
    finite = np.isfinite(row)
    if not finite.any():
        return np.full_like(row, np.nan)
    powers = np.exp(np.where(finite, row, -np.inf) - row[finite].max())
    return np.asarray(powers / powers.sum())


def summary(array: Array, count: int, labels: Sequence[str] | None) -> dict[str, Any]:
    """Shape, dtype, range, and classes where these are scores."""
    made: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    finite = array[np.isfinite(array)]
    if finite.size:
        made |= {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean(dtype=np.float64))}
    if finite.size < array.size:
        made["not_finite"] = int(array.size - finite.size)
    if are_classes(array):
        made["top"] = top_classes(array, count, labels)
    return made


def lines(name: str, described: Mapping[str, Any], items: Sequence[str]) -> Iterator[str]:
    """One result for people.

    Args:
        name: Of the result.
        described: Its `summary`.
        items: Names of the items of the batch.
    """
    text = f"{name}: {described['dtype']} {by_x(described['shape'])}"
    if "min" in described:
        text += f", from {described['min']:.4g} to {described['max']:.4g}, mean {described['mean']:.4g}"
    if "not_finite" in described:
        text += f"; {described['not_finite']} VALUES ARE NO FINITE NUMBERS"
    yield text
    for i, ranked in enumerate(described.get("top", ())):
        yield f"  {items[i] if i < len(items) else f'item {i}'}"
        width = max(len(entry.get("label", "")) for entry in ranked)
        for place, entry in enumerate(ranked, 1):
            label = f"{entry['label']:{width}}  " if "label" in entry else ""
            numbers = f"{entry['score']:>9.4f}  {entry['probability']:>6.1%}"
            yield f"  {place:>3}.  class {entry['class']:>5}  {label}{numbers}"


def write(results: Mapping[str, Array], path: Path) -> tuple[list[Path], float]:
    """Write results to a file whose suffix says how: .npz (all of them), .npy (the only one) or a picture.

    Returns:
        The files, and which part of a picture's values was beyond 0 to 1 and had to be cut.
    """
    if path.suffix == ".npz":
        _write_npz(results, path)
        return [path], 0.0
    if path.suffix == ".npy":
        if len(results) != 1:
            raise CommandError(f"--output {path} holds one result, and the network has {len(results)}; use .npz")
        np.save(path, next(iter(results.values())))
        return [path], 0.0
    pictures = [array for array in results.values() if is_picture(array)]
    if len(pictures) != 1:
        found = ", ".join(f"{name} ({by_x(array.shape)})" for name, array in results.items())
        raise CommandError(f"--output {path} needs one result that is N x 3 or 1 x H x W; there are {found}; use .npz")
    return write_pictures(pictures[0], path)


def _write_npz(results: Mapping[str, Array], path: Path) -> None:
    # numpy.savez takes no array called "file".
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in results.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written, before any work is done."""
    if path.suffix.lower() not in (".npz", ".npy", ".png", ".jpg", ".jpeg"):
        raise CommandError(f"--output {path} must end in .npz, .npy, .png or .jpg")
    if not path.parent.is_dir():
        raise CommandError(f"--output {path}: there is no folder {path.parent}; make it first")


def read_labels(path: Path) -> list[str]:
    """Names of classes, one a line."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CommandError(f"--labels {path} is no text in UTF-8; give one name a line") from error


def strict_json(value: Any) -> str:
    """JSON in which floats that are not finite are null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
