"""`neocog demo`: its network against float64, its pictures against Pillow, its command line, its errors."""

from __future__ import annotations

import argparse
import io
import json
import math
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the demo extra is not installed")
pytest.importorskip("skimage", reason="the demo extra is not installed")

from neocog.cli import demo as command
from neocog.demo import enlarge, images, measure, network, picture, run
from PIL import Image


@pytest.fixture(scope="module")
def espcn():
    return network.load()


def main(*arguments):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["demo", *map(str, arguments)])
    return args.run(args)


def gradient(width=40, height=30):
    """A smooth colour image whose every pixel differs from its neighbours."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([40 + 170 * x, 200 - 150 * y, 60 + 120 * x * y], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


# The network.


def oracle(parameters, luma):
    """The network in float64: luma (H, W) with its halo -> (2H, 2W), no package code."""

    def conv(x, weight, bias):
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))
        return np.einsum("chwrs,ocrs->ohw", windows, weight, optimize=True) + bias[:, None, None]

    p = {name: array.astype(np.float64) for name, array in parameters.items()}
    x = luma.astype(np.float64)[None]
    h = np.maximum(conv(x, p["conv1.weight"], p["conv1.bias"]), 0)
    h = np.maximum(conv(h, p["conv2.weight"], p["conv2.bias"]), 0)
    y = conv(h, p["conv3.weight"], p["conv3.bias"]) + conv(x[:, 2:-2, 2:-2], p["skip.weight"], np.zeros(4))
    shuffled = np.empty((2 * y.shape[1], 2 * y.shape[2]))
    for channel in range(4):
        shuffled[channel // 2 :: 2, channel % 2 :: 2] = y[channel]
    return shuffled


def test_network_agrees_with_float64(espcn):
    luma = np.random.default_rng(0).random((2, 17, 22), np.float32)
    y = espcn(luma)
    assert y.shape == (2, 34, 44)
    assert y.dtype == np.float32
    magnitudes = {name: abs(array) for name, array in espcn.parameters.items()}
    for image, result in zip(luma, y, strict=True):
        padded = np.pad(image, network.HALO, mode="edge")
        bound = 32 * np.finfo(np.float32).eps * oracle(magnitudes, padded)
        assert np.all(abs(result - oracle(espcn.parameters, padded)) <= bound)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (180, 250)])
def test_every_layer_has_a_kernel(espcn, height, width):
    layers = [layer for layers in espcn.kernels(height, width).values() for layer in layers]
    assert sorted(layers) == ["conv1", "conv2", "conv3", "skip"]


def test_a_new_skip_is_pillows_bicubic():
    luma = np.random.default_rng(1).random((12, 15), np.float32)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in network.SHAPES.items()}
    linear = network.Espcn({**zeros, "skip.weight": network.bicubic_kernel()}, {})
    expected = np.asarray(enlarge.bicubic(Image.fromarray(luma)))
    # Pillow renormalises at the border, where the network sees border pixels again.
    np.testing.assert_allclose(linear(luma[None])[0, 4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-6)


def test_shipped_weights_are_small_and_never_saw_the_held_out_photograph(espcn):
    assert resources.files("neocog.demo").joinpath("espcn_x2.npz").stat().st_size < 200_000
    assert espcn.metadata["held_out"] == images.HELD_OUT == "astronaut"
    used = [*espcn.metadata["train"], *espcn.metadata["validation"]]
    assert used
    assert not any(images.HELD_OUT in name for name in used)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv3.bias": None}, "'conv3.bias': None"),
        ({"conv3.bias": np.zeros(5, np.float32)}, r"'conv3.bias': \(\(5,\), 'float32'\)"),
        ({"conv3.bias": np.zeros(4)}, "float64"),
        ({"conv3.bias": np.array([{}], object)}, "allow_pickle=False"),
    ],
    ids=["missing", "misshapen", "wrong_dtype", "pickled"],
)
def test_damaged_weights_are_refused(espcn, change, message):
    arrays = {**espcn.parameters, **change}
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    file.seek(0)
    with pytest.raises(ValueError, match=message):
        network.load(file)


# Pictures.


def test_network_beats_bicubic_on_the_held_out_photograph(espcn):
    original = images.held_out_photograph().rgb
    half = images.halve(original)
    smooth = measure.psnr(enlarge.bicubic(half), original)
    sharp = measure.psnr(enlarge.enlarge(half, espcn), original)
    assert sharp > smooth + 2.0
    recorded = espcn.metadata["psnr"][images.HELD_OUT]
    assert (smooth, sharp) == pytest.approx((recorded["bicubic"], recorded["neocog"]), abs=0.01)


def test_tiles_leave_no_seams(espcn, monkeypatch):
    image = images.held_out_photograph().rgb.crop((100, 150, 203, 241))
    whole = np.asarray(enlarge.enlarge(image, espcn), np.int16)
    monkeypatch.setattr(enlarge, "TILE", 32)
    tiled = np.asarray(enlarge.enlarge(image, espcn), np.int16)
    assert whole.shape == tiled.shape == (182, 206, 3)
    assert abs(whole - tiled).max() <= 1  # a last bit may turn a rounding
    assert np.mean(whole != tiled) < 1e-3


def test_chroma_is_bicubic_and_luma_is_the_networks(espcn):
    image = gradient()
    made = np.asarray(enlarge.enlarge(image, espcn), np.float64)
    smooth = np.asarray(enlarge.bicubic(image), np.float64)
    for high, low in ((0, 1), (2, 1)):  # differences of colours do not change with Y
        assert abs((made[..., high] - made[..., low]) - (smooth[..., high] - smooth[..., low])).max() <= 1.0
    expected = 255.0 * espcn(enlarge.luma(image)[None])[0]
    assert abs(255.0 * enlarge.luma(Image.fromarray(made.astype(np.uint8))) - expected).max() <= 0.51


def test_psnr_is_its_formula_and_leaves_the_border_out():
    gray = np.full((300, 20, 3), 100, np.uint8)
    other = gray + np.uint8(5)
    expected = 20 * math.log10(255 / 5)
    assert measure.psnr(Image.fromarray(other), Image.fromarray(gray)) == pytest.approx(expected)
    border = gray.copy()
    border[:2], border[-2:], border[:, :2], border[:, -2:] = 0, 0, 0, 0
    assert measure.psnr(Image.fromarray(border), Image.fromarray(gray)) == math.inf
    border[2, 2] = 0
    assert measure.psnr(Image.fromarray(border), Image.fromarray(gray)) < 60
    with pytest.raises(ValueError, match="make them equal"):
        measure.psnr(gradient(20, 20), gradient(20, 22))


def test_details_are_where_the_network_gains():
    original = Image.new("RGB", (200, 160), (90, 90, 90))
    smooth = original.copy()
    smooth.paste((120, 120, 120), (100, 40, 140, 80))
    smooth.paste((100, 100, 100), (0, 120, 40, 160))
    versions = picture.Versions(smooth, original, original)
    assert picture.details(versions, 40) == [(100, 40, 140, 80), (0, 120, 40, 160)]


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (1400, 90), (700, 1200)])
def test_picture_has_a_bounded_size(size):
    image = gradient(*size)
    drawn = picture.side_by_side(picture.Versions(image, image, image), (30.0, math.inf), "any title")
    assert drawn.mode == "RGB"
    assert drawn.width <= 1600
    assert drawn.height <= 700


def test_medians_are_interleaved_after_a_warm_up():
    order = []
    medians = measure.interleaved_medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4
    assert all(seconds > 0 for seconds in medians.values())


# Files of any kind.

MODES = {
    "1": ("png", 60),
    "L": ("png", 2),
    "P": ("png", 40),
    "RGB": ("png", 0),
    "CMYK": ("tif", 3),
    "YCbCr": ("jpg", 12),
    "I;16": ("png", 2),
    "I": ("tif", 2),
    "F": ("tif", 2),
}


@pytest.mark.parametrize(("mode", "suffix", "tolerance"), [(m, *v) for m, v in MODES.items()], ids=MODES)
def test_any_mode_is_read(tmp_path, mode, suffix, tolerance):
    path = tmp_path / f"image.{suffix}"
    shades = np.asarray(gradient().convert("L"))
    if mode in ("I;16", "I"):
        Image.fromarray(shades.astype(np.uint16 if mode == "I;16" else np.int32) * 257).save(path)
    elif mode == "F":
        Image.fromarray(shades.astype(np.float32) / 255).save(path)
    else:
        gradient().convert(mode).save(path)
    rgb = images.read_photograph(path).rgb
    assert rgb.mode == "RGB"
    assert rgb.size == (40, 30)
    error = np.asarray(rgb.convert("L"), np.int16) - shades
    assert abs(error.mean() if mode == "1" else abs(error).mean()) <= tolerance


def test_exif_orientation_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show the file's left edge at the top
    gradient().save(tmp_path / "turned.png", exif=exif)
    read = images.read_photograph(tmp_path / "turned.png").rgb
    assert np.array_equal(np.asarray(read), np.rot90(np.asarray(gradient()), -1))


def test_opacity_and_colour_profile_are_kept(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = Image.new("L", (40, 30), 0)
    alpha.paste(255, (8, 8, 32, 24))
    image = gradient()
    image.paste((255, 0, 255), (0, 0, 40, 8))  # hidden: must not shine through
    image.putalpha(alpha)
    image.save(tmp_path / "cut.png", icc_profile=profile)
    result = run.run_demo(
        tmp_path / "cut.png",
        output=tmp_path / "demo.png",
        enlarged=tmp_path / "cut-x2.png",
        repeat=1,
        use_torch=False,
    )
    with Image.open(result.enlarged) as made:
        assert made.mode == "RGBA"
        assert made.size == (80, 60)
        assert made.info["icc_profile"] == profile
        pixels = np.asarray(made)
    assert np.all(pixels[20:44, 20:60, 3] == 255)
    assert np.all(pixels[:12, :, 3] == 0)
    expected = np.asarray(enlarge.bicubic(gradient()), np.int16)
    opaque = pixels[..., 3] > 128
    assert abs(pixels[..., :3].astype(np.int16) - expected)[opaque].mean() < 8


# The command.


def test_command_prints_a_table_and_writes_the_picture(tmp_path, capsys):
    path = tmp_path / "demo.png"
    assert main("--output", path, "--repeat", 1, "--no-torch") == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # progress is for terminals
    for expected in ("astronaut (held out of training", "256 x 256", "512 x 512", " dB", str(path)):
        assert expected in printed.out
    assert "torch" not in printed.out
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as drawn:
        drawn.load()
        assert drawn.width > 1000


def test_progress_is_shown_on_a_terminal_and_removed(tmp_path, capsys, monkeypatch):
    gradient().save(tmp_path / "mine.png")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    files = "--image", tmp_path / "mine.png", "--output", tmp_path / "o.png", "--enlarged", tmp_path / "e.png"
    assert main(*files, "--repeat", 1, "--no-torch") == 0
    shown = capsys.readouterr().err
    assert "enlarging 40 x 30: 100%" in shown
    assert shown.endswith("\r\x1b[K")


def test_own_image_is_measured_at_half_size_and_enlarged(tmp_path, capsys, monkeypatch):
    gradient(41, 33).save(tmp_path / "mine.png")
    monkeypatch.chdir(tmp_path)
    assert main("--image", "mine.png", "--json", "--repeat", 2, "--no-torch") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["image"] == "mine"
    assert values["held_out"] is False
    assert values["low_size"] == [20, 16]
    assert values["high_size"] == [40, 32]
    assert values["repeat"] == 2
    assert values["seconds"] > 0
    assert values["psnr_neocog"] > 30
    assert values["torch"] is None
    assert (values["picture"], values["enlarged"]) == ("neocog-demo.png", "mine-x2.png")
    with Image.open("mine-x2.png") as made:
        assert made.size == (82, 66)


def test_json_has_no_infinity(tmp_path, capsys):
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    files = "--output", tmp_path / "o.png", "--enlarged", tmp_path / "e.png"
    assert main("--image", tmp_path / "black.png", *files, "--json", "--repeat", 1, "--no-torch") == 0
    assert json.loads(capsys.readouterr().out)["psnr_bicubic"] is None


def test_torch_runs_the_same_network(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    assert main("--output", tmp_path / "demo.png", "--repeat", 1, "--json") == 0
    values = json.loads(capsys.readouterr().out)["torch"]
    assert values["version"] == torch.__version__
    assert set(values["seconds"]) == {"NCHW", "channels_last"}
    assert 0 < values["largest_difference"] < 1e-5
    assert torch.get_num_threads() == threads


def write_text(path):
    path.write_text("not an image")


def write_half_a_file(path):
    gradient(200, 200).save(path, "png")
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize(
    ("make", "repair"),
    [
        (lambda path: None, "does not exist; check the path"),
        (Path.mkdir, "is a directory; give the path of an image file"),
        (write_text, "is not an image Pillow knows; convert it"),
        (write_half_a_file, "cannot be decoded"),
        (lambda path: gradient(15, 40).save(path, "png"), "15 x 40 pixels; give an image of at least"),
        (lambda path: Image.new("1", (8001, 8000)).save(path, "png"), "crop it to at most 64 million pixels"),
    ],
    ids=["missing", "directory", "text", "truncated", "too_small", "too_large"],
)
def test_a_bad_image_is_named_with_its_repair(tmp_path, capsys, make, repair):
    path = tmp_path / "image.png"
    make(path)
    assert main("--image", path, "--output", tmp_path / "demo.png") == 2
    message = capsys.readouterr().err
    assert message.startswith(f"neocog demo: {path} ")
    assert repair in message
    assert not (tmp_path / "demo.png").exists()


@pytest.mark.parametrize(
    ("output", "repair"),
    [
        ("nowhere/demo.png", "No such file or directory"),
        ("demo.xyz", "use for example .png"),
        ("demo", "use for example .png"),
        ("mine.png", "would be lost; choose another path"),
        ("mine-x2.png", "was given for two results"),
    ],
)
def test_a_bad_output_is_named_before_any_work(tmp_path, capsys, monkeypatch, output, repair):
    monkeypatch.chdir(tmp_path)
    gradient().save("mine.png")
    before = Path("mine.png").read_bytes()
    monkeypatch.setattr(enlarge, "enlarge", lambda *_: pytest.fail("work had begun"))
    assert main("--image", "mine.png", "--output", output) == 2
    assert repair in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
    assert Path("mine.png").read_bytes() == before


@pytest.mark.parametrize("repeat", ["0", "-1", "many"])
def test_repeat_must_be_a_positive_number(capsys, repeat):
    with pytest.raises(SystemExit) as exit_:
        main("--repeat", repeat)
    assert exit_.value.code == 2
    assert "is not a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(("module", "name"), [("PIL", "Pillow"), ("skimage", "scikit-image")])
def test_a_missing_extra_says_how_to_get_it(capsys, monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    assert main("--no-torch") == 1
    message = capsys.readouterr().err
    assert f'the demo needs {name}, not found here; run: pip install "neocog[demo]"' in message


def test_the_command_line_imports_nothing_before_it_is_used():
    code = "import sys, neocog.cli.demo; print(sorted({'PIL', 'skimage', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
