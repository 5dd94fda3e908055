"""torch.ops.neocog.*: torch's own opcheck, fakes against kernels, gradients against differences, vmap and autocast."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import neocog.torch.library  # noqa: E402
from neocog import _core  # noqa: E402
from neocog.ops import ACTIVATIONS  # noqa: E402
from neocog.torch.library.images import is_channels_last  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.autograd import forward_ad, gradcheck, gradgradcheck  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

OPS = torch.ops.neocog
ALL = [True, True, True]


class Make:
    """Seeded tensors of one dtype and memory format that require gradients."""

    def __init__(self, dtype: Any, channels_last: bool, grad: bool = True) -> None:
        self.dtype, self.channels_last, self.grad = dtype, channels_last, grad
        self.random = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int, positive: bool = False) -> Any:
        values = torch.randn(shape, generator=self.random, dtype=torch.float64).to(self.dtype)
        if positive:
            values = values.abs() + 0.5
        if self.channels_last and len(shape) == 4:
            values = values.contiguous(memory_format=torch.channels_last)
        return values.requires_grad_(self.grad)

    def indices(self, *arguments: Any) -> Any:
        return OPS.max_pool(*arguments)[1]


# One call of every operator, or more where it has cases; small, for each is traced with symbolic sizes.
CALLS: dict[str, Callable[[Make], tuple[Any, ...]]] = {
    "conv": lambda t: (t(2, 4, 5, 6), t(4, 2, 3, 2), t(4), [2, 1], [0, 1, 2, 1], [1, 2], 2),
    "conv: one axis, no bias": lambda t: (t(2, 2, 5), t(3, 2, 3), None, [2], [1], [1], 1),
    "conv_backward": lambda t: (t(2, 4, 3, 6), t(2, 2, 5, 6), t(4, 2, 3, 3), [2, 1], [1, 1], [1, 1], 1, ALL),
    "conv_backward: some": lambda t: (t(2, 3, 3), t(2, 2, 5), t(3, 2, 3), [2], [1], [1], 1, [True, False, True]),
    "conv_transpose": lambda t: (t(2, 4, 2, 3), t(4, 1, 3, 2), t(2), [2, 1], [1, 0], [1, 0], 2, [1, 1]),
    "conv_transpose: one axis, cropped": lambda t: (t(2, 4, 3), t(4, 2, 3), None, [2], [0, 1], [0], 1, [1]),
    "conv_transpose_backward": lambda t: (
        *(t(2, 2, 4, 4), t(2, 4, 2, 3), t(4, 1, 3, 2)),
        *([2, 1], [1, 0], [1, 0], 2, [1, 1], ALL),
    ),
    "separable_conv": lambda t: (t(2, 2, 4, 5), t(4, 1, 2, 3), t(3, 4, 1, 1), t(3), [2, 1], [1, 0], [1, 1]),
    "separable_conv: one axis": lambda t: (t(2, 2, 5), t(4, 1, 2), t(3, 4, 1), None, [2], [1, 0], [1]),
    "separable_conv_backward": lambda t: (
        *(t(2, 3, 3, 3), t(2, 2, 4, 5), t(4, 1, 2, 3), t(3, 4, 1, 1)),
        *([2, 1], [1, 0], [1, 1], [True] * 4),
    ),
    "max_pool": lambda t: (t(2, 2, 4, 5), [2, 2], [1], [1, 0], [1], True),
    "max_pool: one axis": lambda t: (t(2, 2, 7), [3], [], [0, 1], [2], False),
    "max_pool_backward": lambda t: (
        t(2, 2, 2, 2),
        t.indices(t(2, 2, 4, 5), [2], [], [0], [1], False),
        [4, 5],
        t.channels_last,
    ),
    "avg_pool": lambda t: (t(2, 2, 4, 5), [2, 2], [1, 2], [0, 1, 1, 0], True, False, None),
    "avg_pool: one axis": lambda t: (t(2, 2, 7), [3], [], [1], False, True, 2),
    "avg_pool_backward": lambda t: (t(2, 2, 2, 2), [4, 5], [2, 2], [], [0], False, True, None, t.channels_last),
    "adaptive_avg_pool": lambda t: (t(2, 2, 4, 5), [2, 3]),
    "adaptive_avg_pool: one axis": lambda t: (t(2, 2, 7), [3]),
    "adaptive_avg_pool_backward": lambda t: (t(2, 2, 2, 3), [4, 5], t.channels_last),
    "adaptive_max_pool": lambda t: (t(2, 2, 4, 5), [2, 3]),
    "adaptive_max_pool: one axis": lambda t: (t(2, 2, 7), [3]),
    "batch_norm_training": lambda t: (t(2, 2, 2, 3), t(2), t(2), 1e-3),
    "batch_norm_training: no parameters": lambda t: (t(4, 2), None, None, 1e-3),
    "batch_norm_inference": lambda t: (t(2, 2, 2, 3), t(2), t(2, positive=True), t(2), t(2), 1e-3),
    "batch_norm_inference: no parameters": lambda t: (t(2, 2, 3), t(2), t(2, positive=True), None, None, 1e-3),
    "batch_norm_backward": lambda t: (
        *(t(2, 2, 2, 3), t(2, 2, 2, 3), t(2), t(2, positive=True), t(2)),
        *(1e-3, True, ALL),
    ),
    "batch_norm_backward: inference, some": lambda t: (
        *(t(2, 2, 3), t(2, 2, 3), t(2), t(2, positive=True), None),
        *(1e-3, False, [True, False, True]),
    ),
    "batch_norm_act_backward": lambda t: (
        *(t(2, 2, 2, 3), t(2, 2, 2, 3), t(2), t(2, positive=True), t(2), t(2)),
        *(1e-3, True, "gelu", ALL),
    ),
    "batch_norm_act_backward: inference, some": lambda t: (
        *(t(2, 2, 3), t(2, 2, 3), t(2), t(2, positive=True), None, t(2)),
        *(1e-3, False, "tanh", [True, False, True]),
    ),
    "conv_bn_act_training": lambda t: (
        *(t(2, 2, 3, 3), t(2, 2, 2, 2), t(2), t(2), t(2)),
        *([1, 1], [1, 1], [1, 1], 1, 1e-2, "silu"),
    ),
    "conv_bn_act_inference": lambda t: (
        *(t(2, 2, 3, 3), t(2, 2, 2, 2), None, t(2), t(2, positive=True), t(2), t(2)),
        *([1, 1], [1, 1], [1, 1], 1, 1e-2, "relu"),
    ),
}
FIRST = [name for name in CALLS if ":" not in name]
FORMATS = {"contiguous": False, "channels_last": True}
ALONE = ["test_schema", "test_autograd_registration", "test_faketensor"]


def overload(name: str) -> Any:
    return getattr(OPS, name.split(":")[0]).default


def results(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def test_every_operator_is_called_here() -> None:
    registered = {
        name.removeprefix("neocog::").split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("neocog::")
    }
    assert registered == set(FIRST)


# opcheck looks at what lies inside an operator that is made of others.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize(
    ("name", "dtype", "layout"),
    [
        (name, dtype, layout)
        for name, dtype, layout in itertools.product(CALLS, (torch.float32, torch.float64), FORMATS)
        if name in FIRST or (dtype is torch.float32) == FORMATS[layout]
    ],
)
def test_opcheck(name: str, dtype: Any, layout: str) -> None:
    # Tracing with symbolic sizes takes most of the time, and knows nothing of dtypes.
    traced = dtype is torch.float32 and layout == "channels_last" and name in FIRST
    arguments = CALLS[name](Make(dtype, FORMATS[layout]))
    found = torch.library.opcheck(
        overload(name), arguments, test_utils=[*ALONE, "test_aot_dispatch_dynamic"] if traced else ALONE
    )
    assert set(found.values()) == {"SUCCESS"}


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", CALLS)
def test_first_and_second_derivatives(name: str, layout: str) -> None:
    arguments = CALLS[name](Make(torch.float64, FORMATS[layout]))

    def call(*tensors: Any) -> Any:
        given = iter(tensors)
        values = (next(given) if isinstance(a, torch.Tensor) else a for a in arguments)
        return tuple(y for y in results(overload(name)(*values)) if y.requires_grad)

    tensors = tuple(a for a in arguments if isinstance(a, torch.Tensor))
    # Full Jacobians are the slow mode's; random directions find the same mistakes.
    assert gradcheck(call, tensors, fast_mode=True)
    assert gradgradcheck(call, tensors, fast_mode=True)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_activations_of_the_fused_block(activation: str | None) -> None:
    arguments = CALLS["conv_bn_act_training"](Make(torch.float64, False))[:-1]
    tensors = arguments[:5]

    def call(*given: Any) -> Any:
        return OPS.conv_bn_act_training(*given, *arguments[5:], activation)[0]

    assert gradcheck(call, tensors, fast_mode=True)
    assert gradgradcheck(call, tensors, fast_mode=True)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_through_an_activation_are_the_same_in_one_pass(activation: str) -> None:
    """`batch_norm_act_backward` runs where nothing is differentiated again, the operators one by one elsewhere."""
    *tensors, one, two, three, groups, eps, _ = CALLS["conv_bn_act_training"](Make(torch.float64, True))
    found = []
    for again in (False, True):
        y = OPS.conv_bn_act_training(*tensors, one, two, three, groups, eps, activation)[0]
        found.append(torch.autograd.grad(y.square().sum(), tensors, create_graph=again))
    for fused, apart in zip(*found, strict=True):
        torch.testing.assert_close(fused, apart, rtol=1e-10, atol=1e-10)


def strides_of_every_kind(shape: tuple[int, ...]) -> list[Any]:
    """Dense tensors in every order of the axes, one with gaps, and what axes of one element make ambiguous."""
    found = []
    for order in itertools.permutations(range(len(shape))):
        back = [order.index(axis) for axis in range(len(shape))]
        found.append(torch.randn([shape[axis] for axis in order]).permute(back))
    found.append(torch.randn([2 * size for size in shape])[tuple(slice(0, 2 * size, 2) for size in shape)])
    found.append(torch.randn([*shape[:-1], shape[-1] + 1])[..., :-1])
    return found


FORMATS_OF = {3: torch.contiguous_format, 4: torch.channels_last}
SHAPES = [(2, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1), (1, 3, 4, 5), (1, 1, 1, 1), (1, 1, 4, 1), (2, 3, 4)]


def test_layout_of_a_fake_is_that_of_the_tensor() -> None:
    tensors = [x for shape in SHAPES for x in strides_of_every_kind(shape)]
    generator = random.Random(0)
    for _ in range(300):  # axes of one element may have any stride
        shape = [generator.choice([1, 1, 2, 3]) for _ in range(4)]
        tensors.append(torch.empty_strided(shape, [generator.choice([0, 1, 2, 3, 6, 12]) for _ in range(4)]))
    assert {is_channels_last(x) for x in tensors} == {True, False}
    for x in tensors:
        assert is_channels_last(x) == (_core.memory_layout(x) % 2 == 1), (x.shape, x.stride())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fakes_have_the_strides_of_the_results(shape: tuple[int, ...]) -> None:
    n, c, *size = shape
    one, zero = [1] * len(size), [0] * len(size)
    weights = [torch.randn(4, c, *one), torch.randn(c, 4, *one), torch.randn(c, 1, *one), torch.randn(4, c, *one)]
    kinds = strides_of_every_kind(shape)
    # Some orders of the axes, channels_last too, and those with gaps.
    channels_last = torch.randn(shape).to(memory_format=FORMATS_OF[len(shape)])
    mode = FakeTensorMode()
    for last, x in itertools.product((False, True), [*kinds[:-2:8], *kinds[-2:], channels_last]):
        conv, transpose, depthwise, pointwise = (
            w.to(memory_format=torch.channels_last) if last and len(size) == 2 else w for w in weights
        )
        grad = torch.randn(n, 4, *size)
        vectors = [torch.rand(c) for _ in range(4)]
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("conv", (x, conv, None, one, zero, one, 1)),
            ("conv_backward", (grad, x, conv, one, zero, one, 1, ALL)),
            ("conv_transpose", (x, transpose, None, one, zero, zero, 1, one)),
            ("conv_transpose_backward", (grad, x, transpose, one, zero, zero, 1, one, ALL)),
            ("separable_conv", (x, depthwise, pointwise, None, one, zero, one)),
            ("max_pool", (x, [1], [], [0], [1], False)),
            ("avg_pool", (x, [1], [], [0], False, True, None)),
            ("adaptive_avg_pool", (x, [2])),
            ("adaptive_max_pool", (x, [2])),
            ("max_pool_backward", (x, torch.zeros(shape, dtype=torch.int64), size, last and len(size) == 2)),
            ("avg_pool_backward", (x, size, [1], [], [0], False, True, None, last and len(size) == 2)),
            ("adaptive_avg_pool_backward", (x, [2 * s for s in size], last and len(size) == 2)),
            ("batch_norm_training", (x, *vectors[:2], 1e-5)),
            ("batch_norm_inference", (x, *vectors, 1e-5)),
            ("batch_norm_backward", (torch.randn(shape), x, *vectors[:3], 1e-5, True, ALL)),
            ("conv_bn_act_training", (x, conv, None, None, None, one, zero, one, 1, 1e-5, None)),
        ]
        for name, arguments in calls:
            with mode:
                fakes = [mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in arguments]
                faked = results(overload(name)(*fakes))
            for y, fake in zip(results(overload(name)(*arguments)), faked, strict=True):
                expected = (y.shape, y.stride(), y.dtype)
                assert (fake.shape, fake.stride(), fake.dtype) == expected, (name, x.shape, x.stride(), last)


def test_conv_in_inference_mode_on_parameters() -> None:
    x, weight = torch.randn(1, 2, 4, 4), torch.nn.Parameter(torch.randn(3, 2, 3, 3))
    with torch.inference_mode():
        y = OPS.conv(x, weight, None, [1], [1], [1], 1)
    torch.testing.assert_close(y, torch.conv2d(x, weight, padding=1).detach())


def test_empty_batches_pass_through() -> None:
    x, weight = torch.randn(0, 2, 4, 4, requires_grad=True), torch.randn(3, 2, 3, 3, requires_grad=True)
    y = OPS.conv(x, weight, None, [1], [0], [1], 1)
    y.sum().backward()
    assert (y.shape, x.grad.shape, weight.grad.abs().sum()) == ((0, 3, 2, 2), (0, 2, 4, 4), 0)
    assert OPS.max_pool(x, [2], [], [0], [1], False)[0].shape == (0, 2, 2, 2)


def test_vmap_folds_the_mapped_axis_into_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(2, 3, 5, 2, 6)  # the mapped axis is the third
    weight, bias = torch.randn(4, 3, 3, 2), torch.randn(4)

    def call(x: Any) -> Any:
        return OPS.conv(x, weight, bias, [1], [1], [1], 1)

    expected = torch.stack([call(x) for x in images.unbind(2)])
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.calls += func is OPS.conv.default
            return func(*args, **(kwargs or {}))

    with Count() as count:
        y = torch.vmap(call, 2)(images)
    assert count.calls == 1
    torch.testing.assert_close(y, expected)


VMAPPED = [name for name in CALLS if name.split(":")[0] not in ("max_pool_backward",)]


@pytest.mark.parametrize("name", VMAPPED)
def test_vmap_equals_a_loop(name: str) -> None:
    make = Make(torch.float64, False, grad=False)
    rows = [CALLS[name](make) for _ in range(3)]
    tensors = [i for i, a in enumerate(rows[0]) if isinstance(a, torch.Tensor)]
    # Only the first tensor mapped, only the last one, and all of them.
    for mapped in (tensors[:1], tensors[-1:], tensors):

        def call(*given: Any, mapped: list[int] = mapped) -> Any:
            values = list(rows[0])
            for i, value in zip(mapped, given, strict=True):
                values[i] = value
            return tuple(results(overload(name)(*values)))

        stacked = [torch.stack([row[i] for row in rows]) for i in mapped]
        expected = [call(*(row[i] for i in mapped)) for row in rows]
        for y, column in zip(torch.vmap(call)(*stacked), zip(*expected, strict=True), strict=True):
            torch.testing.assert_close(y, torch.stack(column))


def test_gradients_of_each_sample() -> None:
    make = Make(torch.float64, False, grad=False)
    x, weight, bias = make(3, 1, 2, 4, 4), make(3, 2, 3, 3), make(3)

    def loss(weight: Any, x: Any) -> Any:
        return OPS.conv(x, weight, bias, [1], [1], [1], 1).pow(2).sum()

    found = torch.vmap(torch.func.grad(loss), (None, 0))(weight, x)
    for row, sample in zip(found, x, strict=True):
        leaf = weight.clone().requires_grad_()
        loss(leaf, sample).backward()
        torch.testing.assert_close(row, leaf.grad)


def test_nested_transforms_see_every_level() -> None:
    make = Make(torch.float64, False, grad=False)
    x, weight = make(1, 2, 3, 3), make(1, 2, 2, 2)

    def ours(weight: Any) -> Any:
        return OPS.conv(x, weight, None, [1], [0], [1], 1).pow(3).sum()

    def stock(weight: Any) -> Any:
        return torch.conv2d(x, weight).pow(3).sum()

    for transform in (torch.func.jacrev, torch.func.grad):
        found = torch.func.jacrev(transform(ours))(weight)
        assert found.abs().max() > 1
        torch.testing.assert_close(found, torch.func.jacrev(transform(stock))(weight))


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own, at its first jvp
def test_forward_mode_is_refused_not_lost() -> None:
    x, weight = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 2, 2)

    def call(x: Any) -> Any:
        return OPS.conv(x, weight, None, [1], [0], [1], 1)

    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(call, (x,), (x,))
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="jvp"):
        call(forward_ad.make_dual(x, x))


@pytest.mark.parametrize("name", FIRST)
def test_autocast_computes_in_float32(name: str) -> None:
    arguments = CALLS[name](Make(torch.float32, False))
    narrow = [a.detach().bfloat16() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in arguments]
    wide = [a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in narrow]
    expected = results(overload(name)(*wide))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(overload(name)(*narrow))
    for y, reference in zip(found, expected, strict=True):
        assert y.dtype is reference.dtype
        assert torch.equal(y, reference)


def test_gradients_that_nobody_wants_are_not_computed() -> None:
    x, weight = torch.randn(1, 2, 4, 4), torch.randn(3, 2, 3, 3, requires_grad=True)
    y = OPS.conv(x, weight, None, [1], [0], [1], 1)
    masks: list[Any] = []

    from torch.utils._python_dispatch import TorchDispatchMode

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is OPS.conv_backward.default:
                masks.append(list(args[-1]))
            return func(*args, **(kwargs or {}))

    with Record():
        y.sum().backward()
    assert masks == [[False, True, False]]
    assert neocog.torch.library.conv.conv is OPS.conv.default
