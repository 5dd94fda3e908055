"""tools/train_espcn.py: what it trains on, that its pairs fit together, and that it repeats itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn", reason="training takes two photographs of scikit-learn")
pytest.importorskip("skimage", reason="the demo extra is not installed")

import torch
from neocog.demo import images, network, torch_network

SCRIPT = Path(__file__).parents[2] / "tools" / "train_espcn.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_espcn", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_espcn"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["train_espcn"]


@pytest.fixture
def restored_torch():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def test_shipped_weights_came_from_these_photographs(script):
    pictures = script.photographs()
    assert list(pictures) == network.load().metadata["train"]
    held_out = np.asarray(images.held_out_photograph().rgb)
    for picture in pictures.values():
        assert picture.width % 2 == picture.height % 2 == 0
        assert picture.size != held_out.shape[1::-1] or not np.array_equal(np.asarray(picture), held_out)


def test_a_pair_is_one_place_at_two_sizes(script):
    """Bicubic enlargement of the low patch is nearer to the high patch than to any shift or turn of it."""
    patches = script.Patches({"one": images.held_out_photograph().rgb}, size=24, seed=3)
    low, high = patches.batch(32)
    assert low.shape == (32, 1, 32, 32)
    assert high.shape == (32, 1, 48, 48)
    zeros = {name: torch.zeros(shape) for name, shape in network.SHAPES.items()}
    bicubic = {**zeros, "skip.weight": torch.from_numpy(network.bicubic_kernel())}

    def error(other):
        return torch.mean((torch_network.valid(bicubic, low) - other) ** 2).item()

    others = [high.roll(1, 2), high.roll(1, 3), high.roll(-1, 2), high.rot90(1, (2, 3)), high.mT]
    assert error(high) < 0.8 * min(error(other) for other in others)


def test_rates_rise_and_fall_to_zero(script):
    rates = list(script.learning_rates(0.5, 1000))
    assert len(rates) == 1000
    peak = int(np.argmax(rates))
    assert 0 < rates[0] < 0.01
    assert 0.4 < rates[peak] < 0.5
    assert all(np.diff(rates[:peak]) > 0)
    assert all(np.diff(rates[peak:]) < 0)
    assert rates[-1] < 1e-5


@pytest.mark.usefixtures("restored_torch")
def test_two_runs_give_the_same_bits(script, tmp_path, monkeypatch, capsys):
    loaded = []
    for name in ("first", "second"):
        path = tmp_path / f"{name}.npz"
        small = ["--steps", "2", "--batch", "2", "--patch", "8", "--report", "1"]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--output", str(path), *small])
        script.main()
        with path.open("rb") as file:
            loaded.append(network.load(file))
    first, second = loaded
    for name, array in first.parameters.items():
        assert np.array_equal(array, second.parameters[name])
    assert first.metadata == second.metadata
    assert first.metadata["steps"] == 2
    assert set(first.metadata["psnr"]) == {*script.VALIDATION, images.HELD_OUT}
    assert capsys.readouterr().out.count("step ") == 4
