"""What torch.nn lacks: "same" with a stride, separable convolutions, and the fused block; and nets made of layers."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import neocog.nn as ours  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from neocog.ops import ACTIVATIONS  # noqa: E402
from torch import nn as stock  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def images(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def close(found: Any, expected: Any) -> None:
    bound = (1e-12 if found.dtype is torch.float64 else 1e-5) * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


# Size, kernel, stride, and Keras' padding (low, high) for them, by hand.
SAME = [(7, 3, 2, (1, 1)), (8, 3, 2, (0, 1)), (8, 4, 3, (1, 1)), (5, 2, 2, (0, 1)), (6, 1, 3, (0, 0))]


@pytest.mark.parametrize(("size", "kernel", "stride", "ends"), SAME)
def test_same_with_a_stride_is_keras_rule(size: int, kernel: int, stride: int, ends: tuple[int, int]) -> None:
    x = images(2, 2, size, size)
    padded = F.pad(x, ends + ends)
    out = -(-size // stride)

    conv = ours.Conv2d(2, 3, kernel, stride, padding="same").double()
    close(conv(x), F.conv2d(padded, conv.weight, conv.bias, stride))
    assert conv(x).shape[2:] == (out, out)
    assert "padding=same" in repr(conv)
    line = ours.Conv1d(2, 3, kernel, stride, padding="same").double()
    close(line(x[:, :, 0]), F.conv1d(F.pad(x[:, :, 0], ends), line.weight, line.bias, stride))
    narrow = conv.bfloat16()  # on torch's kernels
    y = narrow(x.bfloat16())
    assert torch.equal(y, F.conv2d(padded.bfloat16(), narrow.weight, narrow.bias, stride))

    low = F.pad(x, ends + ends, value=-torch.inf)
    close(ours.MaxPool2d(kernel, stride, padding="same")(x), F.max_pool2d(low, kernel, stride))
    line_low = F.pad(x[:, :, 0], ends, value=-torch.inf)
    close(ours.MaxPool1d(kernel, stride, padding="same")(x[:, :, 0]), F.max_pool1d(line_low, kernel, stride))
    close(ours.AvgPool2d(kernel, stride, padding="same")(x), F.avg_pool2d(padded, kernel, stride))
    counts = F.avg_pool2d(F.pad(torch.ones_like(x), ends + ends), kernel, stride)
    without = ours.AvgPool2d(kernel, stride, padding="same", count_include_pad=False)
    close(without(x), F.avg_pool2d(padded, kernel, stride) / counts)
    assert ours.AvgPool1d(kernel, stride, padding="same")(x[:, :, 0]).shape[2] == out


def test_same_with_a_stride_pads_in_the_mode_asked_for() -> None:
    x = images(1, 2, 8, 8)
    conv = ours.Conv2d(2, 3, 3, 2, padding="same", padding_mode="reflect").double()
    close(conv(x), F.conv2d(F.pad(x, (0, 1, 0, 1), mode="reflect"), conv.weight, conv.bias, 2))


def test_same_pooling_of_what_the_kernels_do_not_compute_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"`x` has dtype torch\.bfloat16"):
        ours.MaxPool2d(2, padding="same")(torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16))


SEPARABLE: dict[str, tuple[Any, dict[str, Any], tuple[int, ...]]] = {
    "2d": (ours.SeparableConv2d, {"kernel_size": (3, 2), "stride": 2, "padding": 1}, (2, 3, 7, 6)),
    "2d multiplied": (ours.SeparableConv2d, {"kernel_size": 3, "depth_multiplier": 2, "bias": False}, (2, 3, 7, 6)),
    "2d same": (ours.SeparableConv2d, {"kernel_size": 3, "stride": 2, "padding": "same"}, (2, 3, 8, 7)),
    "2d unbatched": (ours.SeparableConv2d, {"kernel_size": 3, "dilation": 2}, (3, 7, 6)),
    "1d": (ours.SeparableConv1d, {"kernel_size": 3, "stride": 2, "padding": "same"}, (2, 3, 8)),
    "1d unbatched": (ours.SeparableConv1d, {"kernel_size": 4, "padding": "valid"}, (3, 8)),
}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", SEPARABLE)
def test_separable_is_its_two_convolutions(case: str, dtype: Any, layout: str) -> None:
    kind, keywords, shape = SEPARABLE[case]
    layer = kind(3, 5, **keywords).to(dtype)
    x = images(*shape, dtype=dtype)
    if layout == "channels_last" and len(shape) == 4:
        x, layer = x.to(memory_format=torch.channels_last), layer.to(memory_format=torch.channels_last)
    spatial = len(layer.kernel_size)
    Conv = stock.Conv1d if spatial == 1 else stock.Conv2d
    keywords = {name: value for name, value in keywords.items() if name in ("kernel_size", "stride", "dilation")}
    M = 3 * layer.depth_multiplier
    padding = 0 if isinstance(layer.padding, str) else layer.padding
    depthwise = Conv(3, M, groups=3, bias=False, padding=padding, **keywords)
    pair = stock.Sequential(depthwise, Conv(M, 5, 1, bias=layer.bias is not None)).to(dtype)
    if layout == "channels_last" and len(shape) == 4:
        pair = pair.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for ours_, theirs in zip(layer.parameters(), pair.parameters(), strict=True):
            theirs.copy_(ours_)
    leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    ends = {"2d same": (1, 1, 0, 1), "1d": (0, 1)}.get(case, (0,) * 2 * spatial)
    y, expected = layer(leaf), pair(F.pad(other, ends) if any(ends) else other)
    if layer.padding != "same":  # a padded copy has a memory format of its own
        assert y.stride() == expected.stride()
    weights = images(*y.shape, dtype=dtype)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    if dtype is torch.bfloat16:
        assert torch.equal(y, expected)
        return
    close(y, expected)
    close(leaf.grad, other.grad)
    for ours_, theirs in zip(layer.parameters(), pair.parameters(), strict=True):
        close(ours_.grad, theirs.grad)


def test_separable_starts_like_its_two_convolutions_and_says_what_it_is() -> None:
    torch.manual_seed(0)
    layer = ours.SeparableConv2d(4, 6, 3, depth_multiplier=2, padding="same", bias=False)
    torch.manual_seed(0)
    depthwise = stock.Conv2d(4, 8, 3, groups=4, bias=False)
    pointwise = stock.Conv2d(8, 6, 1, bias=False)
    assert torch.equal(layer.depthwise_weight, depthwise.weight)
    assert torch.equal(layer.pointwise_weight, pointwise.weight)
    assert list(layer.state_dict()) == ["depthwise_weight", "pointwise_weight"]
    assert repr(layer) == (
        "SeparableConv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=same, depth_multiplier=2, bias=False)"
    )
    with pytest.raises(ValueError, match="`padding` is 'full'"):
        ours.SeparableConv2d(1, 1, 3, padding="full")
    with pytest.raises(ValueError, match="`depth_multiplier` is 0"):
        ours.SeparableConv2d(1, 1, 3, depth_multiplier=0)


def apart(block: Any) -> Any:
    """The three layers of a block, of torch.nn, with its parameters."""
    conv, bn = block.conv, block.bn
    padding = conv.padding if conv.padding != "same" else 1
    three = stock.Sequential()
    three.conv = stock.Conv2d(
        *(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, padding),
        *(conv.dilation, conv.groups, conv.bias is not None),
    )
    three.bn = stock.BatchNorm2d(bn.num_features, bn.eps, bn.momentum, bn.affine, bn.track_running_stats)
    three = three.to(conv.weight.dtype)
    three.load_state_dict(block.state_dict())
    names = {"gelu_tanh": lambda z: F.gelu(z, approximate="tanh"), None: lambda z: z}
    activation = names.get(block.activation) or getattr(F, block.activation)
    three.register_forward_hook(lambda module, inputs, y: activation(y))
    return three.train(block.training)


def assert_same_pass(block: Any, three: Any, x: Any) -> None:
    leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = block(leaf), three(other)
    assert y.stride() == expected.stride()
    close(y, expected)
    weights = images(*y.shape, dtype=y.dtype)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    close(leaf.grad, other.grad)
    for ours_, theirs in zip(block.parameters(), three.parameters(), strict=True):
        bound = 1e-10 * max(1.0, theirs.grad.abs().max().item())  # a bias before batch norm has the gradient 0
        torch.testing.assert_close(ours_.grad, theirs.grad, rtol=0, atol=bound)
        ours_.grad = theirs.grad = None
    for ours_, theirs in zip(block.buffers(), three.buffers(), strict=True):
        torch.testing.assert_close(ours_, theirs)


BLOCKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided groups": {"stride": 2, "groups": 2, "bias": True, "padding": 1},
    "same": {"padding": "same"},
    "average": {"momentum": None},
    "no parameters": {"affine": False, "eps": 0.1},
    "untracked": {"track_running_stats": False},
}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", BLOCKS)
def test_block_is_its_three_layers(case: str, layout: str) -> None:
    block = ours.ConvBNAct(4, 6, 3, **BLOCKS[case]).double()
    assert block.state_dict().keys() == apart(block).state_dict().keys()
    x = images(3, 4, 7, 6)
    three = apart(block)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
        block, three = block.to(memory_format=torch.channels_last), three.to(memory_format=torch.channels_last)
    assert_same_pass(block, three, x)
    assert_same_pass(block, three, x.flip(0))
    block.eval()
    three.eval()
    assert_same_pass(block, three, x)  # batch norm frozen, the rest learning
    with torch.no_grad():
        close(block(x), three(x))


KERNELS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "vectors of channels": ((20, 24, 3), {"padding": 1}),
    "pointwise": ((20, 70, 1), {"bias": True}),
    "strided": ((20, 18, 3), {"padding": 1, "stride": 2}),
    "depthwise": ((20, 20, 3), {"padding": 1, "groups": 20}),
    "vectors of pixels": ((20, 3, 3), {"padding": 1}),
}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "a view with gaps"])
@pytest.mark.parametrize("case", KERNELS)
def test_block_is_its_three_layers_whoever_takes_the_statistics(case: str, layout: str) -> None:
    sizes, keywords = KERNELS[case]
    block = ours.ConvBNAct(*sizes, **keywords).double()
    x = images(2, sizes[0], 19, 34) + 100
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    if layout == "a view with gaps":
        x = x[..., ::2]
    assert_same_pass(block, apart(block), x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_block_with_every_activation(activation: str | None, training: bool) -> None:
    block = ours.ConvBNAct(2, 3, 3, activation=activation).double().train(training)
    assert_same_pass(block, apart(block), images(2, 2, 6, 5))
    narrow = block.bfloat16()  # on torch's kernels
    x = images(2, 2, 6, 5, dtype=torch.bfloat16)
    expected = apart(narrow)(x)
    assert torch.equal(narrow(x), expected)


def saved_bytes(model: Any, x: Any) -> int:
    """Of the tensors that a forward pass keeps for the backward pass, without parameters and x, each memory once."""
    kept: dict[int, int] = {}
    known = {p.untyped_storage().data_ptr() for p in model.parameters()} | {x.untyped_storage().data_ptr()}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = model(x)
    y.sum().backward()
    return sum(kept.values())


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_block_keeps_one_image_less_than_its_layers(activation: str) -> None:
    block = ours.ConvBNAct(4, 8, 3, padding=1, activation=activation)
    three = apart(block)
    x = torch.randn(4, 4, 16, 16)
    image = 4 * 8 * 16 * 16 * 4
    block_bytes, three_bytes = saved_bytes(block, x), saved_bytes(three, x)
    # What the convolution gives, and the statistics; the three keep the normalised or the activated image too.
    assert image <= block_bytes < image + 1024
    assert three_bytes >= 2 * image


def test_block_runs_apart_where_somebody_listens() -> None:
    block = ours.ConvBNAct(2, 3, 3).double()
    x = images(2, 2, 6, 5)
    expected = apart(block)(x)
    heard = []
    block.conv.register_forward_hook(lambda module, inputs, y: heard.append(y.shape))
    close(block(x), expected)
    assert heard == [(2, 3, 4, 3)]


def test_block_of_one_value_per_channel_is_torchs_error() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        ours.ConvBNAct(2, 3, 3)(torch.randn(1, 2, 3, 3))
    assert ours.ConvBNAct(2, 3, 3)(torch.randn(1, 2, 3, 4)).shape == (1, 3, 1, 2)


def test_block_rejects_an_unknown_activation() -> None:
    with pytest.raises(ValueError, match="`activation` is 'selu'"):
        ours.ConvBNAct(1, 1, 1, activation="selu")


def small_net() -> Any:
    torch.manual_seed(0)
    return stock.Sequential(
        ours.ConvBNAct(1, 4, 3, padding="same", stride=2),
        ours.SeparableConv2d(4, 6, 3, padding=1),
        ours.BatchNorm2d(6),
        stock.ReLU(),
        ours.MaxPool2d(2, padding="same"),
        ours.ConvTranspose2d(6, 4, 2, 2),
        ours.AvgPool2d(2),
        ours.Conv2d(4, 3, 3, padding=1),
        ours.AdaptiveAvgPool2d(1),
        stock.Flatten(),
    )


def test_compiled_net_gives_the_same_numbers() -> None:
    net, twin = small_net(), small_net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, as it starts
        compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
        for size in (12, 15):
            x = torch.randn(2, 1, size, size)
            for _ in range(2):
                y, expected = compiled(x), net(x)
                close(y, expected)
                y.square().sum().backward()
                expected.square().sum().backward()
        for found, stepped in zip(twin.parameters(), net.parameters(), strict=True):
            close(found.grad, stepped.grad)
        for found, stepped in zip(twin.buffers(), net.buffers(), strict=True):
            torch.testing.assert_close(found, stepped)
        with torch.no_grad():
            close(torch.compile(twin.eval(), backend="aot_eager")(x), net.eval()(x))


def test_net_under_vmap_is_a_loop() -> None:
    net = small_net().eval()
    x = torch.randn(3, 2, 1, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(torch.vmap(net)(x), torch.stack([net(sample) for sample in x]))


def test_net_learns_under_autocast() -> None:
    net = small_net()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = stock.Sequential(net, stock.Linear(3, 2))(torch.randn(2, 1, 12, 12))
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
