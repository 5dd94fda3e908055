"""Keras' "same" padding in the models: against `neocog.ops`, which has that rule, and against Keras' own layers."""

from __future__ import annotations

import importlib
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import neocog  # noqa: E402
from neocog import models, ops  # noqa: E402
from neocog.models._same import SameCrop2d, SameMaxPool2d, SamePad2d  # noqa: E402
from neocog.models.xception import SeparableConv2d  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SIZES = [(8, 8), (9, 9), (8, 9), (9, 8), (1, 2), (2, 1)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_pool_is_that_of_keras_at_even_and_odd_sizes(size, rng):
    # Negative numbers: padding by zeros would win over them.
    x = -1 - rng.random((2, 3, *size), np.float32)
    expected = ops.max_pool2d(x, 3, stride=2, padding="same")
    np.testing.assert_array_equal(SameMaxPool2d()(torch.from_numpy(x)).numpy(), expected)


def test_one_program_of_a_pool_serves_even_and_odd_sizes(rng):
    program = neocog.compile(SameMaxPool2d().eval(), (torch.zeros(2, 3, 10, 12),))
    for size in SIZES[:4]:
        x = -1 - rng.random((2, 3, *size), np.float32)
        np.testing.assert_array_equal(program(x), ops.max_pool2d(x, 3, stride=2, padding="same"))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (4, 3), (1, 2)])
def test_a_padded_convolution_is_that_of_keras(size, kernel, stride, rng):
    x = rng.standard_normal((2, 3, *size)).astype(np.float32)
    layer = nn.Sequential(SamePad2d(kernel, stride), nn.Conv2d(3, 4, kernel, stride=stride, bias=False))
    expected = ops.conv2d(x, layer[1].weight.detach().numpy(), stride=stride, padding="same")
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (5, 2), (2, 2), (3, 1)])
def test_a_cropped_transposed_convolution_is_that_of_keras(size, kernel, stride, rng):
    x = rng.standard_normal((2, 3, *size)).astype(np.float32)
    layer = nn.Sequential(nn.ConvTranspose2d(3, 4, kernel, stride=stride, bias=False), SameCrop2d(kernel, stride))
    weight = layer[0].weight.detach().numpy()
    expected = ops.conv_transpose2d(x, weight, stride=stride, padding="same")
    assert expected.shape[2:] == tuple(stride * n for n in size)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_crop_needs_something_to_cut():
    with pytest.raises(ValueError, match="`kernel_size` is 2; it must be at least `stride`, 3"):
        SameCrop2d(2, 3)


def test_the_auto_encoder_is_shifted_by_no_pixel(rng):
    """torch's symmetric padding would shift: then the whole network would, at even sizes, be another one."""
    model = models.strided_autoencoder().double().eval()
    x = rng.standard_normal((1, 3, 16, 24))
    p = {name: t.detach().numpy() for name, t in model.state_dict().items()}
    y = x
    for i in (1, 6, 11):
        y = ops.conv2d(y, p[f"encoder.{i}.weight"], p[f"encoder.{i}.bias"], stride=2, padding="same", activation="relu")
        w, b = p[f"encoder.{i + 2}.weight"], p[f"encoder.{i + 2}.bias"]
        y = ops.conv2d(y, w, b, padding="same", activation="relu")
    for i in (0, 5, 10):
        w, b = p[f"decoder.{i}.weight"], p[f"decoder.{i}.bias"]
        y = ops.relu(ops.conv_transpose2d(y, w, b, padding="same"))
        w, b = p[f"decoder.{i + 2}.weight"], p[f"decoder.{i + 2}.bias"]
        y = ops.relu(ops.conv_transpose2d(y, w, b, stride=2, padding="same"))
    y = ops.conv2d(y, p["head.weight"], p["head.bias"], padding="same")
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), y, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("size", [(45, 52), (52, 47)], ids=str)
def test_mini_xception_is_the_network_of_the_listing(size, keras, rng):
    """The Keras code as it stands in the lecture, its weights in ours: the same probability."""
    layers = importlib.import_module("keras.layers")
    inputs = keras.Input(shape=(*size, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    x = layers.Conv2D(filters=32, kernel_size=5, use_bias=False)(x)
    for width in [32, 64, 128, 256, 512]:
        residual = x
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(width, 1, strides=2, padding="same", use_bias=False)(residual)
        x = layers.add([x, residual])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    theirs = keras.Model(inputs=inputs, outputs=outputs)

    ours = models.mini_xception().eval()
    assert theirs.count_params() == 721_857
    with torch.no_grad():
        for block in ours.blocks:
            for norm in (block.body[0], block.body[3]):
                for tensor in (norm.weight, norm.running_var):
                    tensor.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, tensor.shape)))
                for tensor in (norm.bias, norm.running_mean):
                    tensor.copy_(torch.from_numpy(rng.normal(0, 0.2, tensor.shape)))
    give_weights(theirs, ours)
    x = rng.uniform(0, 255, (2, *size, 3)).astype(np.float32)
    with torch.no_grad():
        logits = ours(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))))
    expected = np.asarray(theirs.predict(x, verbose=0))
    np.testing.assert_allclose(torch.sigmoid(logits).numpy(), expected, rtol=1e-5)


def give_weights(theirs, ours) -> None:
    """Ours to the Keras model: kernels (O, I, R, S) to (R, S, I, O), depthwise (C, 1, R, S) to (R, S, C, 1)."""

    def tensors(layer: nn.Module) -> list[np.ndarray]:
        if isinstance(layer, nn.BatchNorm2d):
            found = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        elif isinstance(layer, nn.Linear):
            found = [layer.weight.T, layer.bias]
        elif layer.groups > 1:
            found = [layer.weight.permute(2, 3, 0, 1)]
        else:
            found = [layer.weight.permute(2, 3, 1, 0)]
        return [t.detach().numpy() for t in found]

    kinds = {"SeparableConv2D": [], "Conv2D": [], "BatchNormalization": [], "Dense": []}
    for layer in ours.modules():
        if isinstance(layer, SeparableConv2d):
            kinds["SeparableConv2D"].append([*tensors(layer.depthwise), *tensors(layer.pointwise)])
    kinds["Conv2D"] = [tensors(ours.stem), *(tensors(block.shortcut) for block in ours.blocks)]
    kinds["BatchNormalization"] = [tensors(m) for m in ours.modules() if isinstance(m, nn.BatchNorm2d)]
    kinds["Dense"] = [tensors(ours.fc)]
    for layer in theirs.layers:
        if layer.get_weights():
            layer.set_weights(kinds[type(layer).__name__].pop(0))
    assert not any(kinds.values()), "both networks have as many layers"
