"""neocog.nn's layers against torch.nn's: numbers, strides, gradients, parameters, state_dict and repr."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import neocog.nn as ours  # noqa: E402
from torch import nn as stock  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning"),  # torch's own
]

# The layer, its arguments, the shape of x.
CASES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "conv1d": ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9)),
    "conv1d same": ("Conv1d", (4, 6, 4), {"padding": "same", "dilation": 2}, (2, 4, 9)),
    "conv1d unbatched": ("Conv1d", (4, 6, 3), {"bias": False}, (4, 9)),
    "conv2d": ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "groups": 2}, (2, 4, 7, 6)),
    "conv2d same": ("Conv2d", (4, 6, (4, 3)), {"padding": "same"}, (2, 4, 7, 6)),
    "conv2d valid": ("Conv2d", (4, 6, 3), {"padding": "valid", "dilation": 2}, (2, 4, 7, 6)),
    "conv2d reflect": ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "reflect"}, (2, 4, 7, 6)),
    "conv2d unbatched": ("Conv2d", (4, 6, 3), {"bias": False}, (4, 7, 6)),
    "conv2d one channel": ("Conv2d", (1, 1, 3), {"padding": 1}, (2, 1, 7, 6)),
    "conv2d one pixel": ("Conv2d", (3, 5, 1), {}, (2, 3, 1, 1)),
    "conv2d depthwise": ("Conv2d", (4, 8, 3), {"groups": 4}, (1, 4, 7, 6)),
    "conv2d empty": ("Conv2d", (4, 6, 3), {}, (0, 4, 7, 6)),
    "conv_transpose1d": ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, (2, 4, 5)),
    "conv_transpose1d unbatched": ("ConvTranspose1d", (4, 6, 3), {"stride": 2}, (4, 5)),
    "conv_transpose2d": (
        "ConvTranspose2d",
        (4, 6, (3, 4)),
        {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
        (2, 4, 5, 3),
    ),
    "conv_transpose2d dilated": ("ConvTranspose2d", (4, 6, 3), {"dilation": 2, "bias": False}, (2, 4, 5, 3)),
    "conv_transpose2d unbatched": ("ConvTranspose2d", (4, 6, 3), {"padding": 1}, (4, 5, 3)),
    "batch_norm1d": ("BatchNorm1d", (4,), {}, (3, 4, 5)),
    "batch_norm1d vectors": ("BatchNorm1d", (4,), {"eps": 0.1}, (5, 4)),
    "batch_norm2d": ("BatchNorm2d", (4,), {"momentum": 0.3}, (2, 4, 5, 6)),
    "batch_norm2d average": ("BatchNorm2d", (4,), {"momentum": None, "affine": False}, (2, 4, 5, 6)),
    "batch_norm2d untracked": ("BatchNorm2d", (4,), {"track_running_stats": False}, (2, 4, 5, 6)),
    "batch_norm2d one channel": ("BatchNorm2d", (1,), {}, (2, 1, 5, 6)),
    "max_pool1d": ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 4, 9)),
    "max_pool1d unbatched": ("MaxPool1d", (3,), {"ceil_mode": True}, (4, 8)),
    "max_pool2d": ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (2, 4, 7, 6)),
    "max_pool2d ceil": ("MaxPool2d", ((2, 3),), {"ceil_mode": True}, (2, 4, 7, 7)),
    "max_pool2d dilated": ("MaxPool2d", (2, 1), {"dilation": (2, 3)}, (2, 4, 7, 6)),
    "max_pool2d indices": ("MaxPool2d", (2,), {"return_indices": True}, (2, 4, 7, 6)),
    "max_pool2d indices unbatched": ("MaxPool2d", (2,), {"return_indices": True}, (4, 7, 6)),
    "avg_pool1d": ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (2, 4, 9)),
    "avg_pool2d": ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 4, 8, 7)),
    "avg_pool2d divisor": ("AvgPool2d", ((2, 3),), {"divisor_override": 5}, (2, 4, 7, 6)),
    "avg_pool2d unbatched": ("AvgPool2d", (3,), {"count_include_pad": False, "padding": 1}, (4, 7, 6)),
    "adaptive_avg_pool1d": ("AdaptiveAvgPool1d", (4,), {}, (2, 3, 9)),
    "adaptive_avg_pool2d": ("AdaptiveAvgPool2d", (1,), {}, (2, 4, 7, 6)),
    "adaptive_avg_pool2d none": ("AdaptiveAvgPool2d", ((None, 3),), {}, (2, 4, 7, 6)),
    "adaptive_avg_pool2d unbatched": ("AdaptiveAvgPool2d", ((2, 3),), {}, (4, 7, 6)),
    "adaptive_max_pool1d": ("AdaptiveMaxPool1d", (4,), {"return_indices": True}, (2, 3, 9)),
    "adaptive_max_pool2d": ("AdaptiveMaxPool2d", ((3, 4),), {}, (2, 4, 7, 6)),
    "adaptive_max_pool2d indices": ("AdaptiveMaxPool2d", ((3, None),), {"return_indices": True}, (4, 7, 6)),
}
# Bounds, relative to the largest value: sums of less than a few hundred products.
BOUND = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.0}


def pair_of(case: str, dtype: Any = torch.float32, channels_last: bool = False) -> tuple[Any, Any, Any]:
    """Stock layer, our layer with the same parameters, and x."""
    kind, arguments, keywords, shape = CASES[case]
    layers = []
    for module in (stock, ours):
        torch.manual_seed(0)
        layers.append(getattr(module, kind)(*arguments, **keywords).to(dtype))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    if channels_last and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
        layers = [layer.to(memory_format=torch.channels_last) for layer in layers]
    return layers[0], layers[1], x


def assert_same(found: Any, expected: Any, what: str) -> None:
    assert type(found) is type(expected), what
    for y, reference in zip(flat(found), flat(expected), strict=True):
        assert (y.shape, y.stride(), y.dtype) == (reference.shape, reference.stride(), reference.dtype), what
        if not y.is_floating_point() or not y.numel():
            assert torch.equal(y, reference), what
            continue
        bound = BOUND[y.dtype] * reference.abs().max().item()
        torch.testing.assert_close(y, reference, rtol=0, atol=bound, msg=lambda text: f"{what}: {text}")


def flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def step(layer: Any, x: Any) -> dict[str, Any]:
    """y, the gradients, and what the layer keeps after one pass."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    first = flat(y)[0]
    weights = torch.linspace(-1, 2, first.numel(), dtype=torch.float64).square().to(first.dtype).view(first.shape)
    (first * weights).sum().backward()
    gradients = {f"gradient of {name}": p.grad for name, p in layer.named_parameters()}
    return {"y": y, "gradient of x": x.grad, **gradients, **dict(layer.named_buffers())}


def assert_same_step(layer: Any, reference: Any, x: Any) -> None:
    found, expected = step(layer, x), step(reference, x)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert_same(found[name], value, name)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_training_step_is_that_of_torch(case: str, dtype: Any, layout: str) -> None:
    reference, layer, x = pair_of(case, dtype, layout == "channels_last")
    assert_same_step(layer, reference, x)
    assert_same_step(layer, reference, x.flip(0))  # statistics of a second batch


@pytest.mark.parametrize("case", CASES)
def test_evaluation_is_that_of_torch(case: str) -> None:
    reference, layer, x = pair_of(case)
    if x.numel():
        layer(x)
        reference(x)
    assert_same_step(layer.eval(), reference.eval(), x)
    with torch.no_grad():
        assert_same(layer(x), reference(x), "y without gradients")


@pytest.mark.parametrize("case", CASES)
def test_what_the_kernels_do_not_compute_runs_on_torch(case: str) -> None:
    reference, layer, x = pair_of(case, torch.bfloat16, channels_last=True)
    assert_same_step(layer, reference, x)
    if CASES[case][2].get("momentum", 0) is None:
        return  # torch reads its count of batches, which a meta tensor does not have
    meta = layer.to("meta")(x.to("meta"))
    for y, expected in zip(flat(meta), flat(reference(x)), strict=True):
        assert (y.device.type, y.shape) == ("meta", expected.shape)


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("conv2d reflect", "conv2d empty")])
def test_layers_run_on_our_operators(case: str) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    _, layer, x = pair_of(case)
    called: list[str] = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.append(str(func))
            return func(*args, **(kwargs or {}))

    with Record():
        layer(x)
    computing = [name for name in called if any(word in name for word in ("conv", "norm", "pool"))]
    assert [name.split(".")[0] for name in computing] == ["neocog"]


@pytest.mark.parametrize("case", CASES)
def test_repr_parameters_and_state_are_those_of_torch(case: str) -> None:
    reference, layer, _ = pair_of(case)
    assert repr(layer) == repr(reference)
    assert isinstance(layer, type(reference))
    state = reference.state_dict()
    assert list(layer.state_dict()) == list(state)
    for name, value in layer.state_dict().items():  # one seed, one set of numbers
        assert torch.equal(value, state[name])
    changed = {name: torch.full_like(value, 3) for name, value in state.items()}
    layer.load_state_dict(changed)
    reference.load_state_dict(layer.state_dict())
    assert all(bool((value == 3).all()) for value in reference.state_dict().values())


@pytest.mark.parametrize("kind", sorted({case[0] for case in CASES.values()}))
def test_arguments_and_defaults_are_those_of_torch(kind: str) -> None:
    def arguments(module: Any) -> list[Any]:
        parameters = inspect.signature(getattr(module, kind)).parameters.values()
        return [(p.name, p.default, p.kind) for p in parameters]

    assert arguments(ours) == arguments(stock)


def test_layers_can_be_copied_and_pickled() -> None:
    _, layer, x = pair_of("conv2d same")
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(copied) is ours.Conv2d
        assert torch.equal(copied(x), layer(x))


def test_output_size_of_a_transposed_convolution() -> None:
    reference, layer, x = pair_of("conv_transpose2d")
    for size in ([9, 6], [10, 7]):
        reference.output_padding = layer.output_padding = (0, 0)
        assert_same(layer(x, size), reference(x, size), str(size))
    with pytest.raises(ValueError, match="requested an output size"):
        layer(x, [20, 20])


def test_one_value_per_channel_is_torchs_error() -> None:
    layer = ours.BatchNorm2d(3)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(torch.randn(1, 3, 1, 1))


def test_wrong_rank_is_torchs_error() -> None:
    with pytest.raises(ValueError, match="expected 4D input"):
        ours.BatchNorm2d(3)(torch.randn(2, 3))
    with pytest.raises(RuntimeError):
        ours.Conv2d(3, 4, 3)(torch.randn(2, 3))


@pytest.mark.parametrize("case", ["conv2d", "conv_transpose1d", "batch_norm2d", "max_pool2d", "avg_pool1d"])
def test_autocast_runs_in_float32(case: str) -> None:
    _, layer, x = pair_of(case)
    narrow = x.bfloat16()
    expected = copy.deepcopy(layer)(narrow.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(narrow)
    assert y.dtype is torch.float32
    assert torch.equal(y, expected)
