"""The weights of the choice between convolution methods, and the command that fits them."""

from __future__ import annotations

import json

import neocog
import numpy as np
import pytest
from neocog import _core, ops

from bench import costs
from bench.__main__ import main

SHAPE = costs.Shape("3x3", costs.FORWARD, (2, 40, 9, 14), (33, 40, 3, 3))


def synthetic(generator: np.random.Generator, count: int = 300) -> tuple[list[costs.Sample], list[np.ndarray]]:
    """Samples whose times are their counts by known weights, but for a tenth of noise."""
    weights = [np.array([1.0, 20.0]), np.array([0.5, 300.0])]
    samples = []
    for _ in range(count):
        counts = [generator.uniform(1, 1000, 2) for _ in weights]
        exact = [each @ weight for each, weight in zip(counts, weights, strict=True)]
        direct, winograd = (1e-9 * time * generator.uniform(0.9, 1.1) for time in exact)
        both = [each.tolist() for each in counts]
        samples.append(costs.Sample(SHAPE, direct, winograd, *both, taken=bool(generator.integers(2))))
    return samples, weights


def test_known_weights_are_found(rng):
    pytest.importorskip("scipy")
    samples, weights = synthetic(rng)
    found = costs.fit(samples)
    for each, expected in zip(found, weights, strict=True):
        np.testing.assert_allclose(each, expected, rtol=0.5)
    now, then = (np.mean(costs.losses(samples, given)) for given in (None, found))
    assert then < 1.01 < now


def test_a_loss_is_that_of_the_choice():
    sample = costs.Sample(SHAPE, 2.0, 1.0, [1.0], [3.0], taken=False)
    assert costs.losses([sample]) == [2.0]
    assert costs.losses([sample], (np.array([4.0]), np.array([1.0]))) == [1.0]
    assert costs.losses([sample], (np.array([2.0]), np.array([1.0]))) == [2.0]


@pytest.mark.parametrize("use", costs.USES)
@pytest.mark.parametrize("kernel", costs.KERNELS)
def test_shapes_are_the_same_for_the_same_seed_and_have_counts(kernel, use):
    first, second = (list(costs.shapes(kernel, use, 6, seed=3)) for _ in range(2))
    assert first == second
    for shape in first:
        assert costs.WORK[0] < shape.flops < costs.WORK[1]
        direct, winograd, _ = shape.counts()
        assert sum(direct) > 0
        assert sum(winograd) > 0


@pytest.mark.parametrize("use", costs.USES)
def test_both_methods_are_timed_and_agree(use):
    shape = costs.Shape("3x3", use, (1, 16, 9, 8), (16, 16, 3, 3))
    sample = costs.measure(shape, rounds=1)
    assert sample.direct > 0
    assert sample.winograd > 0
    call = shape.call(np.random.default_rng(0))
    with neocog.strict():
        plain = call()
    with costs.winograd_always():
        assert call().tobytes() != plain.tobytes(), "takes another method"


def test_products_are_counted(without_tiles):
    """3x3 on whole tiles: 36 products of a tile where the plain sum has 144."""
    direct, winograd, pays = costs.Shape("3x3", costs.FORWARD, (4, 64, 32, 32), (48, 64, 3, 3)).counts()
    pixels, vectors = 4 * 32 * 32, 3
    assert direct == [pixels * 9 * 64 * vectors, 0, pixels * vectors, pixels * 4, 9 * 64 * vectors, *[0] * 6]
    points = 36 * pixels // 16
    assert winograd == [points * 64 * vectors, 0, points * 4, points * vectors, 36 * 64 * vectors, 0, 0, 0, 0]
    assert pays is True
    # Transposed, the sides change places; of weights, tiles are whole.
    direct, winograd, _ = costs.Shape("3x3", costs.TRANSPOSED, (4, 64, 32, 32), (48, 64, 3, 3)).counts()
    assert direct[:4] == [pixels * 9 * 48 * 4, 0, pixels * 4, pixels * 3]
    assert winograd[2:4] == [points * 3, points * 4]
    _, winograd, _ = costs.Shape("3x3", costs.WEIGHT, (1, 64, 30, 29), (48, 64, 3, 3)).counts()
    assert winograd[0] == 36 * 64 * 64 * vectors


def test_phases_and_moves_are_counted(without_tiles):
    _, winograd, _ = costs.Shape("3x3 stride 2", costs.FORWARD, (4, 64, 64, 64), (64, 64, 3, 3)).counts()
    assert winograd[0] == pytest.approx(81 / 16 * 4 * 32 * 32 * 64 * 4)  # of 100, were the phases of equal length
    _, winograd, _ = costs.Shape("8x8 stride 4", costs.FORWARD, (2, 3, 64, 64), (64, 3, 8, 8)).counts()
    assert winograd[-2:] == [2 * 17 * 17 * 48, 64 * 48 * 4]
    direct, _, _ = costs.Shape("4x4 stride 2", costs.TRANSPOSED, (2, 64, 32, 32), (64, 64, 4, 4)).counts()
    assert direct == [0, 2 * 16 * 16 * 16 * 64 * 4, 2 * 32 * 32 * 4, 2 * 16 * 16 * 4, 0, 4 * 16 * 64 * 4, *[0] * 5]


@pytest.mark.skipif("amx" not in _core.available_isas(), reason="this CPU has no AMX")
def test_products_in_parts_are_counted_by_themselves():
    before = _core.active_isa()
    _core.set_isa("amx")
    try:
        direct, _, _ = costs.Shape("3x3", costs.FORWARD, (4, 64, 32, 32), (48, 64, 3, 3)).counts()
        few, _, _ = costs.Shape("3x3", costs.FORWARD, (4, 8, 32, 32), (48, 8, 3, 3)).counts()
        gradient, _, _ = costs.Shape("3x3", costs.WEIGHT, (4, 64, 32, 32), (480, 64, 3, 3)).counts()
        narrow, _, _ = costs.Shape("3x3", costs.WEIGHT, (4, 16, 32, 32), (16, 16, 3, 3)).counts()
    finally:
        _core.set_isa(before)
    pixels, vectors = 4 * 32 * 32, 3
    products, packed = pixels * 9 * 64 * vectors, 9 * 64 * vectors
    assert direct == [0, 0, pixels * vectors, 0, 0, 0, products, 0, pixels * 4, packed, 0]
    assert few[-5:] == [0] * 5
    # One image is turned, the pixels of the other are split under each tap.
    assert gradient == [0, 0, pixels * 30, *[0] * 3, products * 10, 0, pixels * 30, packed * 10, pixels * 9 * 4]
    assert narrow[-5:] == [0] * 5


def test_a_choice_depends_neither_on_threads_nor_on_vectors(isa, threads):
    for kernel in ("3x3", "5x5", "4x4 stride 2", "9x9 stride 4"):
        for shape in costs.shapes(kernel, costs.FORWARD, 8):
            stride, dilation, padding = zip(*(axis[2:] for axis in shape.axes), strict=True)
            weight = np.zeros(shape.weight, np.float32)
            both = [pad for pad in padding for _ in range(2)]
            name = _core.conv_kernel(shape.image, weight, stride, both, dilation, 1, True)
            assert name.startswith("Winograd") == shape.counts()[2], shape


def test_strict_comes_first():
    x, weight = np.ones((1, 64, 20, 20), np.float32), np.ones((64, 64, 3, 3), np.float32)
    with costs.winograd_always(), neocog.strict():
        assert ops.conv2d(x, weight).tobytes() == ops.conv2d(x, weight, algorithm="direct").tobytes()


def test_the_command_tells_losses_and_weights(tmp_path, capsys):
    pytest.importorskip("scipy")
    target = tmp_path / "costs.json"
    arguments = ["costs", "--kernels", "^1x3$", "--shapes", "2", "--repeat", "1", "--json", str(target)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    record = json.loads(target.read_text())
    assert [each["use"] for each in record["losses"]] == list(costs.USES)
    assert len(record["samples"]) == 6
    for name in (costs.SUMS, costs.GRADIENTS):
        assert f"{name}, winograd: " in printed
        assert all(value >= 0 for values in record["weights"][name].values() for value in values)


def test_a_kernel_that_nobody_knows_is_named(capsys):
    assert main(["costs", "--kernels", "2x7"]) == 2
    assert "matches none of" in capsys.readouterr().err


@pytest.mark.parametrize("use", [-1, 3])
def test_a_use_that_does_not_exist_is_refused(use):
    with pytest.raises(ValueError, match="`use` must be"):
        _core.conv_counts((1, 8, 9, 9), (8, 8, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, use)
