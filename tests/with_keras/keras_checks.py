"""Run by test_keras_patch.py where KERAS_BACKEND is torch: each layer, and networks in fit and predict."""

from __future__ import annotations

import keras
import neocog.keras
import neocog.torch
import numpy as np
import pytest
import torch
from keras import layers
from torch.utils._python_dispatch import TorchDispatchMode

LAYERS = {
    "conv": lambda **k: layers.Conv2D(6, 3, **k),
    "conv with stride": lambda **k: layers.Conv2D(6, (3, 5), strides=2, **k),
    "conv with dilation": lambda **k: layers.Conv2D(6, 3, dilation_rate=2, activation="relu", **k),
    "conv in groups": lambda **k: layers.Conv2D(6, 3, groups=2, use_bias=False, **k),
    "depthwise": lambda **k: layers.DepthwiseConv2D(3, depth_multiplier=2, **k),
    "separable": lambda **k: layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2, **k),
    "transposed 3, stride 2": lambda **k: layers.Conv2DTranspose(6, 3, strides=2, **k),
    "transposed 4, stride 2": lambda **k: layers.Conv2DTranspose(6, 4, strides=2, **k),
    "transposed 2, stride 3": lambda **k: layers.Conv2DTranspose(6, 2, strides=3, **k),
    "max pool": lambda **k: layers.MaxPooling2D(3, strides=2, **k),
    "max pool 2": lambda **k: layers.MaxPooling2D(2, **k),
    "average pool": lambda **k: layers.AveragePooling2D(3, strides=2, **k),
    "average pool 2": lambda **k: layers.AveragePooling2D(2, **k),
}
SIGNALS = {
    "conv1d": lambda **k: layers.Conv1D(6, 5, strides=2, **k),
    "separable1d": lambda **k: layers.SeparableConv1D(6, 3, **k),
    "transposed1d": lambda **k: layers.Conv1DTranspose(6, 4, strides=2, **k),
    "max pool 1d": lambda **k: layers.MaxPooling1D(3, **k),
}


class Watch(TorchDispatchMode):
    """Names of the operators that run, and of copies as large as an image."""

    def __init__(self, image: int) -> None:
        super().__init__()
        self.image, self.names, self.copies = image, [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        self.names.append(name)
        result = function(*args, **(kwargs or {}))
        if name in ("aten::clone", "aten::copy_", "aten::contiguous", "aten::constant_pad_nd"):
            self.copies += [name] if result.numel() >= self.image else []
        return result


def both(function):
    """What it gives without the patch and with it."""
    stock = function()
    with neocog.keras.patch():
        return stock, function()


def near(ours, theirs):
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, np.abs(theirs).max()))


def run_layer(make, shape, seed=0):
    """The output, and the gradients of a weighted sum of it."""
    keras.utils.set_random_seed(seed)
    layer = make()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    y = layer(x, training=True) if isinstance(layer, layers.BatchNormalization) else layer(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    wanted = [x, *(v.value for v in layer.trainable_variables)]
    grads = torch.autograd.grad(y, wanted, weights)
    state = [v.value for v in layer.non_trainable_variables if v.dtype == "float32"]
    return [t.detach().numpy() for t in (y, *grads, *state)]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [(9, 12), (10, 7)])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, size, padding, data_format):
    shape = (2, *size, 4) if data_format == "channels_last" else (2, 4, *size)
    stock, ours = both(lambda: run_layer(lambda: LAYERS[name](padding=padding, data_format=data_format), shape))
    for mine, theirs in zip(ours, stock, strict=True):
        near(mine, theirs)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", SIGNALS)
def test_layer_of_signals(name, padding):
    stock, ours = both(lambda: run_layer(lambda: SIGNALS[name](padding=padding), (2, 17, 4)))
    for mine, theirs in zip(ours, stock, strict=True):
        near(mine, theirs)


@pytest.mark.parametrize(
    "make",
    [
        layers.BatchNormalization,
        lambda: layers.BatchNormalization(scale=False, momentum=0.8),
        lambda: layers.BatchNormalization(center=False, epsilon=1e-2),
        lambda: layers.BatchNormalization(axis=1),
    ],
)
@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (8, 3), (4, 9, 3)])
def test_batch_norm_in_training(make, shape):
    stock, ours = both(lambda: run_layer(make, shape))
    for mine, theirs in zip(ours, stock, strict=True):
        near(mine, theirs)


def classifier(size=36):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape=(size, size, 3))
    x = layers.Conv2D(8, 5, use_bias=False)(layers.Rescaling(1 / 255)(inputs))
    for width in (8, 16):
        around = layers.Conv2D(width, 1, strides=2, padding="same", use_bias=False)(x)
        for _ in range(2):
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
            x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.add([layers.MaxPooling2D(3, strides=2, padding="same")(x), around])
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def autoencoder():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape=(32, 32, 3))
    x = inputs
    for width in (8, 16):
        x = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(x)
    for width in (16, 8):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(x))


def data(size, targets):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (8, size, size, 3)).astype("float32")
    return x, x / 255 if targets == "images" else rng.integers(0, 2, 8).astype("float32")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own, with NumPy 2
@pytest.mark.parametrize(
    ("make", "size", "targets", "loss"),
    [(classifier, 36, "labels", "binary_crossentropy"), (autoencoder, 32, "images", "mse")],
)
def test_fit_and_predict(make, size, targets, loss):
    x, y = data(size, targets)

    def trained():
        model = make()
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss)
        losses = model.fit(x, y, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
        return np.array(losses), model.predict(x, verbose=0), *map(np.array, model.get_weights())

    stock, ours = both(trained)
    for mine, theirs in zip(ours, stock, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * max(1.0, np.abs(theirs).max()))


def test_every_layer_runs_here_and_no_image_is_copied():
    model, (x, _) = classifier(), data(36, "labels")
    images = torch.from_numpy(x)
    with neocog.keras.patch(), Watch(8 * 4 * 4 * 8) as watch:
        model(images, training=True).sum().backward()
    assert watch.names.count("neocog::conv") >= 3
    assert watch.names.count("neocog::batch_norm_training") == 4
    assert watch.names.count("neocog::max_pool") == 2
    assert any(name.startswith("neocog::separable_conv") for name in watch.names)
    assert not [name for name in watch.names if "aten::convolution" in name or "pool2d" in name]
    assert watch.copies == []


def test_a_call_without_a_block_holds_until_it_is_undone():
    from keras.src.backend.torch import nn

    before = {name: getattr(nn, name) for name in ("conv", "max_pool", "batch_normalization")}
    call = layers.BatchNormalization.call
    patched = neocog.keras.patch()
    with neocog.keras.patch():
        pass
    assert nn.conv is not before["conv"]
    assert neocog.torch.is_enabled()
    patched.undo()
    patched.undo()
    assert {name: getattr(nn, name) for name in before} == before
    assert layers.BatchNormalization.call is call
    assert not neocog.torch.is_enabled()


def test_what_is_not_ours_is_kerass_own():
    def results():
        keras.utils.set_random_seed(0)
        half = layers.Conv2D(4, 3, dtype="mixed_bfloat16")(np.ones((1, 6, 6, 2), "float32"))
        solid = layers.Conv3D(2, 2)(np.ones((1, 4, 4, 4, 2), "float32"))
        uneven = layers.AveragePooling2D(2, padding="same")(np.arange(50, dtype="float32").reshape(1, 5, 5, 2))
        return [t.detach().float().numpy() for t in (half, solid, uneven)]

    stock, ours = both(results)
    for mine, theirs in zip(ours, stock, strict=True):
        assert np.array_equal(mine, theirs)


def test_wrong_shapes_are_kerass_errors():
    with neocog.keras.patch(), pytest.raises(ValueError, match="must be divisible"):
        keras.ops.conv(np.ones((1, 6, 6, 3), "float32"), np.ones((3, 3, 2, 4), "float32"))


def test_another_backend_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="Keras runs on 'jax'"):
        neocog.keras.patch()
    assert not neocog.torch.is_enabled()
