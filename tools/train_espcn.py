"""Train the demo's super-resolution network (ESPCN x2, see `neocog.demo.network`) and write its weights.

    pip install "neocog[demo,torch]" scikit-learn
    python tools/train_espcn.py --output python/neocog/demo/espcn_x2.npz

Photographs: only files inside the wheels of scikit-image and scikit-learn. `astronaut` is held out: no pixel
of it is trained on or looked at before the last line but one that this script prints. `chelsea` and `coffee`
are for validation: the recipe below was chosen by them, and no weight is fitted to them.

Recipe: luma patches with their half-size versions made by Pillow's bicubic filter from 8-bit colour; every
photograph also at half its size, which hides JPEG artefacts and sensor noise; the eight flips and quarter
turns; mean squared error, that is PSNR itself; Adam with a linear warm-up and a cosine decay to zero; the
weights kept are an exponential moving average. One thread and fixed seeds: two runs on one machine give the
same bits. It takes about seven minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from neocog.demo import enlarge, images, measure, network, torch_network
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

VALIDATION = ("chelsea", "coffee")
SCIKIT_IMAGE = (
    "brick", "camera", "coins", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "retina", "rocket", "text",
)  # fmt: skip
SCIKIT_LEARN = ("china.jpg", "flower.jpg")
SHRUNK = 0.5
WARM_UP = 200  # steps
AVERAGED = 0.999  # part of the moving average that stays at each step


def photographs() -> dict[str, Image.Image]:
    """The photographs of the training set, RGB, sides even."""
    arrays = {name: getattr(data, name)() for name in SCIKIT_IMAGE}
    arrays["motorcycle_left"], arrays["motorcycle_right"], _ = data.stereo_motorcycle()
    arrays |= {name: load_sample_image(name) for name in SCIKIT_LEARN}
    assert not {*VALIDATION, images.HELD_OUT} & set(arrays)
    pictures = {name: Image.fromarray(array).convert("RGB") for name, array in arrays.items()}
    for name, picture in list(pictures.items()):
        size = round(SHRUNK * picture.width), round(SHRUNK * picture.height)
        pictures[f"{name} x {SHRUNK}"] = picture.resize(size, Image.Resampling.BICUBIC)
    return {name: images.crop_to_even(picture) for name, picture in pictures.items()}


class Patches:
    """An endless draw of training pairs.

    Args:
        pictures: The training set.
        size: Sides of a patch at low resolution, its halo not counted.
        seed: Of the draw.
    """

    def __init__(self, pictures: dict[str, Image.Image], size: int, seed: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(seed)
        self._high = [enlarge.luma(picture) for picture in pictures.values()]
        halves = [enlarge.luma(images.halve(picture)) for picture in pictures.values()]
        self._low = [np.pad(half, network.HALO, mode="edge") for half in halves]
        areas = np.array([high.size for high in self._high], np.float64)
        self._share = areas / areas.sum()

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Low (count, 1, size + 2 * HALO, ...) and high (count, 1, 2 * size, ...), float32."""
        pairs = [self._pair() for _ in range(count)]
        low, high = (torch.from_numpy(np.stack(side)[:, None]) for side in zip(*pairs, strict=True))
        return low, high

    def _pair(self) -> tuple[np.ndarray, np.ndarray]:
        picture = int(self._rng.choice(len(self._high), p=self._share))
        n, around = self._size, self._size + 2 * network.HALO
        height, width = self._low[picture].shape
        row, column = self._rng.integers((height - around + 1, width - around + 1))
        low = self._low[picture][row : row + around, column : column + around]
        high = self._high[picture][2 * row : 2 * (row + n), 2 * column : 2 * (column + n)]
        turns, flip = self._rng.integers((4, 2))
        low, high = np.rot90(low, turns), np.rot90(high, turns)
        return (low.T, high.T) if flip else (low, high)


def initial_parameters() -> dict[str, torch.Tensor]:
    """He's initialisation; a small last layer and a bicubic skip, so that training starts at bicubic."""
    parameters = {}
    for name, shape in network.SHAPES.items():
        if name == "skip.weight":
            tensor = torch.from_numpy(network.bicubic_kernel())
        elif name.endswith(".bias"):
            tensor = torch.zeros(shape)
        else:
            tensor = torch.randn(shape) * math.sqrt(2.0 / math.prod(shape[1:]))
            tensor *= 0.1 if name == "conv3.weight" else 1.0
        parameters[name] = tensor.requires_grad_()
    return parameters


def learning_rates(peak: float, steps: int) -> Iterator[float]:
    """Linear warm-up, then half a cosine down to zero."""
    for step in range(steps):
        yield peak * min((step + 1) / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * step / steps))


def evaluate(espcn: network.Espcn, picture: Image.Image) -> dict[str, float]:
    """PSNR in decibels of bicubic and of the network, on the picture's half-size version."""
    half = images.halve(picture)
    made = {"bicubic": enlarge.bicubic(half), "neocog": enlarge.enlarge(half, espcn)}
    return {name: round(measure.psnr(image, picture), 3) for name, image in made.items()}


def train(args: argparse.Namespace) -> network.Espcn:
    """Run the recipe; print the loss and the validation PSNR as it goes."""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    torch.use_deterministic_algorithms(True)
    pictures = photographs()
    patches = Patches(pictures, args.patch, args.seed)
    validation = {name: images.crop_to_even(Image.fromarray(getattr(data, name)())) for name in VALIDATION}
    parameters = initial_parameters()
    optimizer = torch.optim.Adam(parameters.values(), lr=args.learning_rate)
    average = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    metadata = {
        "architecture": "ESPCN x2, luma, bicubic skip",
        "seed": args.seed,
        "steps": args.steps,
        "batch": args.batch,
        "patch": args.patch,
        "learning_rate": args.learning_rate,
        "train": list(pictures),
        "validation": list(VALIDATION),
        "held_out": images.HELD_OUT,
    }
    start, losses = time.perf_counter(), []
    for step, rate in enumerate(learning_rates(args.learning_rate, args.steps), start=1):
        low, high = patches.batch(args.batch)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(torch_network.valid(parameters, low), high)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        kept = min(AVERAGED, step / (step + 10))
        with torch.no_grad():
            for name, tensor in parameters.items():
                average[name].lerp_(tensor, 1.0 - kept)
        if step % args.report == 0 or step == args.steps:
            espcn = network.Espcn({name: tensor.numpy().copy() for name, tensor in average.items()}, metadata)
            scores = {name: evaluate(espcn, picture) for name, picture in validation.items()}
            shown = "  ".join(
                f"{name} {score['neocog']:.2f} (bicubic {score['bicubic']:.2f})" for name, score in scores.items()
            )
            print(
                f"step {step:6d} of {args.steps}  {time.perf_counter() - start:6.0f} s  "
                f"PSNR in dB: training {-10 * math.log10(np.mean(losses)):.2f}  {shown}",
                flush=True,
            )
            losses.clear()
    return network.Espcn(espcn.parameters, {**metadata, "psnr": scores})


def main() -> None:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--output", type=Path, required=True, help="where the weights go (.npz)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=16, help="patches a step (default: %(default)s)")
    parser.add_argument("--patch", type=int, default=24, help="low-resolution side (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--report", type=int, default=500, help="steps between two printed lines")
    args = parser.parse_args()
    espcn = train(args)
    scores = evaluate(espcn, images.held_out_photograph().rgb)
    print(f"{images.HELD_OUT} (held out) {scores['neocog']:.3f} dB, bicubic {scores['bicubic']:.3f} dB")
    metadata = {**espcn.metadata, "psnr": {**espcn.metadata["psnr"], images.HELD_OUT: scores}}
    np.savez(args.output, metadata=np.array(json.dumps(metadata)), **espcn.parameters)
    print(f"{args.output}: {args.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
