"""The rows of `python -m bench nets`: which cells there are, and that their networks are as if they were trained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is part of the repository, not of the package

from torch import nn  # noqa: E402

from bench import networks  # noqa: E402
from bench.nets.rows import LARGEST_PIXEL, Row, rows  # noqa: E402
from bench.networks import Network  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# GFLOP of one image, as published with the first measurements.
PUBLISHED = {
    "mini-Xception 180": "0.77",
    "ResNet-18 224": "3.6",
    "ResNet-50 224": "8.2",
    "U-Net base 32, 256": "24.1",
    "strided auto-encoder 256": "14.8",
    "Xception 299": "16.7",
}
TINY = Row(Network("tiny", "mini_xception", 2, 64))
PLAIN = Row(Network("no batch norm", "strided_autoencoder", 1, 16))
SMALL = (TINY, PLAIN, Row(Network("joins", "unet", 1, 16, {"base": 4})))


def test_the_cells_are_the_published_ones():
    cells = [(row.network.name, row.batch) for row in rows(networks.ROWS, (1, 8))]
    assert sorted(cells) == sorted((name, batch) for name in PUBLISHED for batch in (1, 8))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_cell_counts_what_was_published(name):
    one, eight = (row.flops() for row in rows([row for row in networks.ROWS if row.name == name], (1, 8)))
    digits = len(PUBLISHED[name].partition(".")[2])
    assert f"{one / 1e9:.{digits}f}" == PUBLISHED[name]
    assert eight == 8 * one


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_contenders_get_the_same_network_and_torch_s_random_numbers_are_left_alone(row):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    (one, x), (other, again) = ((row.build(), row.images()) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(x, again)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert not any(layer.training for layer in one.modules())


def test_every_batch_has_the_same_weights():
    one, eight = (row.build().state_dict() for row in rows([TINY.network], (1, 8)))
    assert all(torch.equal(one[name], eight[name]) for name in one)


def test_nobody_gets_away_with_forgetting_a_parameter_or_a_statistic():
    """None is zero or one throughout, as those of a new network are."""
    for row in SMALL:
        model = row.build()
        batches = {name for name in model.state_dict() if name.endswith("num_batches_tracked")}
        for name, tensor in model.state_dict().items():
            if name not in batches and tensor.numel() > 1:
                assert float(tensor.std()) > 1e-4, name


def test_batch_norms_are_as_if_trained_on_such_images():
    """What they give has nearly their bias as mean and their weight as deviation: activations stay in range."""
    row = Row(Network("tiny", "mini_xception", 16, 64))
    model, seen = row.build(), []
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda layer, x, y: seen.append((layer.weight, layer.bias, y.clone())))
    with torch.no_grad():
        model(row.images())
        assert len(seen) == 10
        for weight, bias, y in seen:
            assert float((y.mean((0, 2, 3)) - bias).abs().mean()) < 0.2
            assert 0.7 < float((y.std((0, 2, 3)) / weight).mean()) < 1.2


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_the_result_depends_on_the_image_and_stays_in_range(row):
    """Where biases outgrow the image from layer to layer, every error in the layers before is hidden."""
    model, x = row.build(), row.images()
    with torch.no_grad():
        y, other = model(x), model(x.flip(3))
    assert 0.1 < float(y.abs().max()) < 20
    assert float((y - other).abs().max() / y.abs().max()) > 2e-3


def test_images_come_as_the_network_takes_them():
    pixels, normalised = TINY.images(), PLAIN.images()
    assert float(pixels.min()) >= 0
    assert 0.9 * LARGEST_PIXEL[TINY.model] < float(pixels.max()) <= LARGEST_PIXEL[TINY.model]
    assert abs(float(normalised.mean())) < 0.1
    assert 0.9 < float(normalised.std()) < 1.1
