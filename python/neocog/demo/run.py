"""The work of the demo: enlarge, measure, draw. It prints nothing; `neocog.cli.demo` shows the result."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neocog.demo import enlarge, images, measure, network

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

DEFAULT_PICTURE = Path("neocog-demo.png")
# The timed frame is at most this high and wide before enlargement: beyond it `enlarge` works in tiles.
FRAME = 512
QUALITY = 95  # of formats that lose something, as JPEG does
_KEEP_ALPHA = (".png", ".webp", ".tif", ".tiff")


class OutputFileError(ValueError):
    """A result cannot be written; the message names the path and the repair."""


@dataclass(frozen=True)
class TorchResult:
    """The same network on PyTorch.

    Attributes:
        version: Of PyTorch.
        seconds: Median seconds per frame, by memory layout: "NCHW" and "channels_last".
        largest_difference: Between neocog's luma and PyTorch's (either layout), black being 0 and white 1.
    """

    version: str
    seconds: dict[str, float]
    largest_difference: float


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        image: Name of the photograph.
        held_out: True for the photograph that ships with the demo and was held out of training.
        low_size, high_size: (width, height) of the half-size version and of the photograph it came from.
        psnr_bicubic, psnr_neocog: Decibels, of luma, against the photograph.
        frame_size: (width, height) of the timed luma frame before enlargement.
        seconds: Median seconds per frame: the network on luma.
        repeat: Timed frames.
        isa, kernels, num_threads: What ran; kernels by their names, each with its layers.
        torch: The same network on PyTorch; None when it is not installed or not wanted.
        picture: Where the side-by-side picture was written.
        enlarged: Where the given image, enlarged twofold, was written; None without one.
    """

    image: str
    held_out: bool
    low_size: tuple[int, int]
    high_size: tuple[int, int]
    psnr_bicubic: float
    psnr_neocog: float
    frame_size: tuple[int, int]
    seconds: float
    repeat: int
    isa: str
    kernels: dict[str, list[str]]
    num_threads: int
    torch: TorchResult | None
    picture: Path
    enlarged: Path | None


def run_demo(
    image: str | Path | None = None,
    *,
    output: str | Path = DEFAULT_PICTURE,
    enlarged: str | Path | None = None,
    repeat: int = 9,
    use_torch: bool = True,
    progress: enlarge.Progress | None = None,
) -> DemoResult:
    """Halve a photograph, enlarge it again by bicubic interpolation and by the network, and compare.

    Args:
        image: An image file, which is also enlarged itself; None takes the held-out photograph.
        output: Where the side-by-side picture goes.
        enlarged: Where the enlarged image goes; None makes it NAME-x2.png in the current directory.
        repeat: Frames to time, at least 1.
        use_torch: Run the network on PyTorch too, if it is installed.
        progress: Told what is being done.
    Returns:
        Sizes, decibels, seconds and paths.
    Raises:
        MissingExtraError: Pillow or scikit-image is not installed.
        ImageFileError: `image` cannot be used.
        OutputFileError: A result cannot be written.
        ValueError: `repeat` is less than 1.
    """
    if repeat < 1:
        raise ValueError(f"`repeat` is {repeat}; time at least 1 frame")
    photograph = images.held_out_photograph() if image is None else images.read_photograph(image)
    import neocog
    from neocog import _core
    from neocog.demo import picture  # needs Pillow, which is here now

    output = _writable(output, image)
    large = None if image is None else _writable(enlarged or f"{photograph.name}-x2.png", image)
    if large is not None and large.resolve() == output.resolve():
        raise OutputFileError(f"{output} was given for two results; choose another path for one of them")

    espcn = network.load()
    original = images.crop_to_even(photograph.over("white"))
    half = images.halve(original)
    smooth, sharp = enlarge.bicubic(half), enlarge.enlarge(half, espcn, progress)
    decibels = measure.psnr(smooth, original), measure.psnr(sharp, original)
    origin = " (held out of training)" if image is None else ""
    title = f"{photograph.name}{origin}: {_size(half)} enlarged to {_size(original)}"
    versions = picture.Versions(smooth, sharp, original)
    _save(picture.side_by_side(versions, decibels, title), output)
    if large is not None:
        _write_enlarged(large, photograph, espcn, progress)

    frame = enlarge.luma(half.crop((0, 0, min(half.width, FRAME), min(half.height, FRAME))))[None]
    seconds, peer = _time(espcn, frame, repeat, use_torch, progress)
    return DemoResult(
        image=photograph.name,
        held_out=image is None,
        low_size=half.size,
        high_size=original.size,
        psnr_bicubic=decibels[0],
        psnr_neocog=decibels[1],
        frame_size=(frame.shape[2], frame.shape[1]),
        seconds=seconds,
        repeat=repeat,
        isa=_core.active_isa(),
        kernels=espcn.kernels(*frame.shape[1:]),
        num_threads=neocog.get_num_threads(),
        torch=peer,
        picture=output,
        enlarged=large,
    )


def _time(
    espcn: network.Espcn,
    frame: NDArray[np.float32],
    repeat: int,
    use_torch: bool,
    progress: enlarge.Progress | None,
) -> tuple[float, TorchResult | None]:
    """Median seconds of a frame here, and on PyTorch with as many threads."""
    if not use_torch or importlib.util.find_spec("torch") is None:
        return measure.interleaved_medians({"neocog": lambda: espcn(frame)}, repeat, progress)["neocog"], None
    import torch

    import neocog
    from neocog.demo.torch_network import TorchEspcn

    layouts = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
    peers = {name: TorchEspcn(espcn.parameters, layout) for name, layout in layouts.items()}
    runs = {name: lambda peer=peer: peer(frame) for name, peer in peers.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(neocog.get_num_threads())
    try:
        seconds = measure.interleaved_medians({"neocog": lambda: espcn(frame), **runs}, repeat, progress)
        ours = espcn(frame)
        difference = max(float(np.abs(peer(frame) - ours).max()) for peer in peers.values())
    finally:
        torch.set_num_threads(threads)
    return seconds.pop("neocog"), TorchResult(torch.__version__, seconds, difference)


def _writable(path: str | Path, image: str | Path | None) -> Path:
    """The path, once it is sure that a picture can be written there; asked before the work, not after."""
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise OutputFileError(f"{path} does not end in the name of an image format; use for example .png")
    if Image.registered_extensions()[path.suffix.lower()] not in Image.SAVE:
        raise OutputFileError(f"{path}: Pillow cannot write {path.suffix} files; use for example .png")
    if image is not None and path.resolve() == Path(image).resolve():
        raise OutputFileError(f"{path} is the image to enlarge and would be lost; choose another path")
    try:
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OutputFileError(f"{path} cannot be written ({reason}); choose a path with --output") from error
    return path


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"


def _write_enlarged(
    path: Path, photograph: images.Photograph, espcn: network.Espcn, progress: enlarge.Progress | None
) -> None:
    from PIL import Image, ImageChops

    if photograph.alpha is None or path.suffix.lower() not in _KEEP_ALPHA:
        _save(enlarge.enlarge(photograph.over("white"), espcn, progress), path, photograph.icc_profile)
        return
    # Colours weighted by their opacity (over black): what hides under it cannot shine through at edges.
    alpha = enlarge.bicubic(photograph.alpha)
    weighted = enlarge.enlarge(photograph.over("black"), espcn, progress)
    bands = [ImageChops.darker(band, alpha) for band in weighted.split()]
    _save(Image.merge("RGBa", (*bands, alpha)).convert("RGBA"), path, photograph.icc_profile)


def _save(image: Image.Image, path: Path, icc_profile: bytes | None = None) -> None:
    try:
        image.save(path, icc_profile=icc_profile, quality=QUALITY)
    except (OSError, ValueError) as error:
        raise OutputFileError(f"{path} cannot be written ({error}); choose another path") from error
