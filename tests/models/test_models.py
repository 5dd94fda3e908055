"""Networks against the published counts of their papers and frameworks, and through a step of training."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from neocog import models  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# name: (parameters, running statistics, shape of one input, shape of its logits, billions of multiply-adds)
PUBLISHED = {
    "resnet18": (11_689_512, 9_600, (3, 224, 224), (1000,), 1.814),
    "resnet50": (25_557_032, 53_120, (3, 224, 224), (1000,), 4.089),
    "xception": (22_855_952, 54_528, (3, 299, 299), (1000,), 8.357),
    "mini_xception": (718_849, 3_008, (3, 180, 180), (1,), 0.383),
    "strided_autoencoder": (2_880_643, 0, (3, 200, 200), (3, 200, 200), 4.510),
    "unet": (7_763_074, 5_888, (3, 256, 256), (2, 256, 256), 12.073),
    "m3": (221_194, 1_024, (1, 32_000), (10,), 0.557),
    "m5": (559_114, 2_048, (1, 32_000), (10,), 0.279),
    "m11": (1_786_442, 4_480, (1, 32_000), (10,), 0.225),
    "m18": (3_683_786, 7_808, (1, 32_000), (10,), 0.397),
}
SMALL = {  # a small input that every layer of the network can still halve
    "resnet18": (3, 33, 40),
    "resnet50": (3, 32, 32),
    "xception": (3, 37, 30),
    "mini_xception": (3, 29, 36),
    "strided_autoencoder": (3, 16, 24),
    "unet": (3, 16, 32),
    "m3": (1, 400),
    "m5": (1, 1_030),
    "m11": (1, 4_096),
    "m18": (1, 4_096),
}
KERAS = ("xception", "mini_xception")


def count(tensors) -> int:
    return sum(t.numel() for t in tensors if t.ndim)  # without the steps that batch norm counts


def on_meta(name: str, **kwargs) -> nn.Module:
    """Shapes without values, in no time."""
    with torch.device("meta"):
        return models.create_model(name, **kwargs).eval()


def test_every_model_is_held_against_published_numbers():
    assert models.list_models() == sorted(PUBLISHED)
    assert sorted(SMALL) == sorted(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_shapes_are_the_published_ones(name):
    parameters, statistics, x, logits, giga = PUBLISHED[name]
    model = on_meta(name)
    assert count(model.parameters()) == parameters
    assert count(model.buffers()) == statistics
    with FlopCounterMode(display=False) as counter:
        y = model(torch.empty(1, *x, device="meta"))
    assert tuple(y.shape) == (1, *logits)
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, abs=6e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_step_of_training_reaches_every_parameter(name):
    torch.manual_seed(0)
    model = models.create_model(name, num_classes=4).train()
    x = torch.randn(2, *SMALL[name])
    before = x.clone()
    y = model(x)
    assert tuple(y.shape) == (2, 4, *(SMALL[name][1:] if y.ndim == 4 else ()))
    assert torch.equal(x, before), "the input is the caller's"
    (y * torch.randn(y.shape)).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", PUBLISHED)
def test_classes_and_channels_change_the_first_and_the_last_layer_alone(name):
    usual, other = on_meta(name), on_meta(name, num_classes=7, in_channels=2)
    shapes = {key: tuple(t.shape) for key, t in usual.state_dict().items()}
    changed = {key: tuple(t.shape) for key, t in other.state_dict().items() if tuple(t.shape) != shapes[key]}
    first, *last = changed
    assert changed[first][1] == 2
    assert {key.rpartition(".")[2] for key in last} == {"weight", "bias"}
    assert all(changed[key][0] == 7 for key in last)


@pytest.mark.parametrize("name", KERAS)
def test_networks_of_keras_have_its_constants(name):
    norms = [layer for layer in on_meta(name).modules() if isinstance(layer, nn.BatchNorm2d)]
    # Keras counts what the running statistics keep, torch what the batch adds to them.
    assert {(layer.eps, layer.momentum) for layer in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [({"base": 64}, 31_037_698), ({"base": 16, "in_channels": 1, "num_classes": 4}, 1_942_340)],
    ids=["the_widths_of_the_paper", "a_small_one"],
)
def test_unet_has_the_known_number_of_parameters_at_other_widths(arguments, parameters):
    assert count(on_meta("unet", **arguments).parameters()) == parameters


def test_initial_weights_have_the_spread_of_their_papers():
    """Glorot: a uniform distribution of variance 2 / (fan_in + fan_out); He: a normal one of 2 / fan."""
    torch.manual_seed(1)
    with torch.no_grad():
        xception, resnet, unet = models.xception(), models.resnet18(), models.unet()
        pointwise = xception.middle[0].body[1].pointwise.weight
        bound = (6 / (728 + 728)) ** 0.5
        assert 0.999 * bound < float(pointwise.abs().max()) <= bound
        assert float(pointwise.std()) == pytest.approx(bound / 3**0.5, rel=0.01)
        depthwise = xception.middle[0].body[1].depthwise.weight  # Keras counts every channel as an input
        assert float(depthwise.abs().max()) == pytest.approx((6 / (9 * 728 + 9)) ** 0.5, rel=0.01)
        assert float(xception.fc.bias.abs().max()) == 0
        # The first of its stage: 128 channels in, 256 out.
        assert float(resnet.layer3[0].conv1.weight.std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
        assert float(unet.down[4][0].weight.std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
        assert float(unet.up[0].weight.std()) == pytest.approx((2 / 512) ** 0.5, rel=0.01)


def test_resnet_50_strides_in_its_3x3_convolution():
    first = on_meta("resnet50").layer2[0]
    assert (first.conv1.stride, first.conv2.stride, first.downsample[0].stride) == ((1, 1), (2, 2), (2, 2))


def test_resnet_has_the_names_of_torchvision_s_checkpoints():
    names = set(on_meta("resnet50").state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.downsample.1.bias", "layer4.2.conv3.weight"} <= names
    assert {"layer3.5.bn3.num_batches_tracked", "fc.weight", "fc.bias"} <= names
    assert len(names) == 320


@pytest.mark.parametrize(
    ("name", "side", "multiple"), [("unet", 24, 16), ("unet", 40, 16), ("strided_autoencoder", 20, 8)]
)
def test_a_size_that_cannot_come_back_is_explained(name, side, multiple):
    with pytest.raises(ValueError, match=rf"`x` has the shape \(1, 3, {side}, 32\).*multiples of {multiple}: pad"):
        on_meta(name)(torch.empty(1, 3, side, 32, device="meta"))


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("resnet81", {}, ValueError, "`name` is 'resnet81', which is no model; did you mean 'resnet18'"),
        ("zzz", {}, ValueError, "choose one of m11, m18, m3"),
        ("resnet18", {"num_classes": 0}, ValueError, "`num_classes` is 0"),
        ("m5", {"in_channels": -1}, ValueError, "`in_channels` is -1"),
        ("unet", {"base": 2.5}, TypeError, "`base` is 2.5"),
        ("xception", {"width": 3}, TypeError, "width"),
    ],
)
def test_a_wrong_argument_is_named(name, arguments, error, message):
    with pytest.raises(error, match=message):
        models.create_model(name, **arguments)


def test_names_are_found_by_pattern():
    assert models.list_models("resnet*") == ["resnet18", "resnet50"]
    assert models.list_models("no such") == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_is_also_a_function_of_its_name(name):
    assert getattr(models, name).__name__ == name


def test_import_neocog_leaves_torch_alone():
    """Models are imported explicitly: `import neocog` stays as light as NumPy."""
    script = "import json, sys, neocog; print(json.dumps([name in sys.modules for name in ('torch', 'neocog.models')]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, False]
