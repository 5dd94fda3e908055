"""`neocog.torch.patch()`: what it runs, what it leaves to torch bit for bit, and that nothing stays behind."""

from __future__ import annotations

import logging
import threading

import pytest

torch = pytest.importorskip("torch")

import neocog.torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    neocog.torch.stats(reset=True)
    yield
    assert not neocog.torch.is_enabled()


def convolve(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator, dtype=dtype) for shape in ((2, 3, 9, 9), (4, 3, 3, 3)))
    return F.conv2d(x, weight, padding=1)


def ran(name="convolution"):
    return neocog.torch.stats().get(name, {}).get("neocog", 0)


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 2),
    ).to(dtype)


def images(dtype=torch.float32, batch=2):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)


def assert_near(ours, theirs, relative=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=relative * max(1.0, theirs.abs().max().item()))


def test_convolutions_run_here_inside_and_on_torch_outside():
    stock = convolve()
    with neocog.torch.patch():
        assert neocog.torch.is_enabled()
        ours = convolve()
        assert ran() == 1
    assert_near(ours, stock)
    assert torch.equal(convolve(), stock)
    assert ran() == 1


def test_the_gradient_is_that_of_a_convolution():
    with neocog.torch.patch():
        y = F.conv2d(images().requires_grad_(), torch.randn(4, 3, 3, 3))
    assert type(y.grad_fn).__name__ == "ConvolutionBackward0"


def test_blocks_nest():
    with neocog.torch.patch():
        with neocog.torch.patch():
            convolve()
        convolve()
        assert ran() == 2
    convolve()
    assert ran() == 2


def test_an_exception_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError), neocog.torch.patch():
        raise ZeroDivisionError
    convolve()
    assert ran() == 0


def test_enable_and_disable_count():
    neocog.torch.enable()
    neocog.torch.enable()
    neocog.torch.disable()
    convolve()
    neocog.torch.disable()
    convolve()
    assert ran() == 1
    with pytest.raises(RuntimeError, match="not enabled"):
        neocog.torch.disable()


def test_threads_that_open_and_close_blocks_do_not_disturb_each_other():
    stock, wrong = convolve(), []

    def work():
        for _ in range(20):
            with neocog.torch.patch():
                before = ran()
                if not torch.allclose(convolve(), stock, atol=1e-5) or ran() <= before:
                    wrong.append("result")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ran() == 80


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_other_dtypes_go_to_torch_bit_for_bit(dtype):
    stock = convolve(dtype)
    with neocog.torch.patch():
        assert torch.equal(convolve(dtype), stock)
    assert ran() == 0


def test_complex_convolutions_are_the_real_ones_that_torch_makes_of_them():
    stock = convolve(torch.complex64)
    with neocog.torch.patch():
        torch.testing.assert_close(convolve(torch.complex64), stock)
    assert ran() == 3


def test_what_goes_to_torch_is_counted_by_reason_and_said_once(caplog):
    with neocog.torch.patch(), caplog.at_level(logging.INFO, "neocog"):
        for _ in range(3):
            convolve(torch.bfloat16)
        F.conv3d(torch.randn(1, 2, 4, 4, 4), torch.randn(2, 2, 3, 3, 3))
    assert neocog.torch.stats()["convolution"] == {"neocog": 0, "torch": {"dtype bfloat16": 3, "3 spatial axes": 1}}
    assert [record.message for record in caplog.records] == [
        "aten::convolution runs on torch's own kernel: dtype bfloat16",
        "aten::convolution runs on torch's own kernel: 3 spatial axes",
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 5, 5)),
        lambda: F.conv2d(torch.zeros(1, 4, 4, 4), torch.zeros(2, 3, 3, 3)),
        lambda: F.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 3, 3), padding=-1),
        lambda: F.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 3, 3), stride=0),
        lambda: F.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 3, 3), torch.zeros(3)),
        lambda: F.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 3, 3, dtype=torch.float64)),
        lambda: torch.convolution(
            torch.zeros(1, 3, 4), torch.zeros(2, 3, 1, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
        ),
        lambda: F.conv_transpose2d(torch.zeros(1, 3, 4, 4), torch.zeros(3, 2, 3, 3), output_padding=3),
        lambda: F.max_pool2d(torch.zeros(1, 3, 4, 4), 2, padding=2),
        lambda: F.max_pool2d(torch.zeros(1, 3, 4, 4), 5),
        lambda: F.avg_pool2d(torch.zeros(1, 3, 4, 4), 2, divisor_override=0),
        lambda: F.batch_norm(torch.zeros(1, 3, 4, 4), torch.zeros(2), torch.zeros(2)),
    ],
)
def test_wrong_arguments_are_torchs_errors_and_no_fallbacks(call):
    with pytest.raises(RuntimeError) as stock:
        call()
    with neocog.torch.patch(), pytest.raises(RuntimeError) as patched:
        call()
    assert str(patched.value) == str(stock.value)
    assert all(entry["torch"] == {} for entry in neocog.torch.stats().values())


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[:, :, ::2, 1:],
        lambda x: x.transpose(2, 3),
        lambda x: x[:, 1:],
        lambda x: x[:, :1].expand(-1, 3, -1, -1),
        lambda x: x.contiguous(memory_format=torch.channels_last)[:, :, 1:],
    ],
    ids=["steps", "transposed", "channels", "expanded", "channels_last with gaps"],
)
def test_views_give_torchs_numbers_and_strides(make):
    x = make(images())
    weight = torch.randn(4, x.shape[1], 3, 3)
    for function in (lambda: F.conv2d(x, weight), lambda: F.max_pool2d(x, 2), lambda: F.avg_pool2d(x, 3, 1)):
        stock = function()
        with neocog.torch.patch():
            ours = function()
        assert_near(ours, stock)
        assert ours.stride() == stock.stride()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad], ids=lambda m: m.__name__)
def test_grad_modes(mode):
    model = network().eval()
    with mode():
        stock = model(images())
        with neocog.torch.patch():
            ours = model(images())
        assert ours.is_inference() == stock.is_inference()
    assert_near(ours.detach(), stock.detach())
    assert ran() == 3


def test_autocast_computes_in_bfloat16_on_torch():
    model = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        stock = model(images())
        with neocog.torch.patch():
            ours = network()(images())
    assert ours.dtype == stock.dtype
    assert torch.equal(ours, stock)
    assert neocog.torch.stats()["convolution"]["torch"] == {"dtype bfloat16": 3}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, for jvp
def test_vmap_and_torch_func():
    weight, x, tangent = torch.randn(5, 4, 3, 3, 3), images(), torch.randn(2, 3, 8, 8)

    def loss(weight, x):
        return F.conv2d(x, weight, padding=1).square().sum()

    def everything():
        return (
            torch.vmap(lambda w: F.conv2d(x, w))(weight),
            torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight[0], x[:, None]),
            torch.func.jacrev(lambda w: F.conv2d(x, w).sum((0, 2, 3)))(weight[0]),
            torch.func.jvp(lambda x: F.conv2d(x, weight[0]), (x,), (tangent,))[1],
        )

    stock = everything()
    with neocog.torch.patch():
        ours = everything()
    assert ran() > 0
    for mine, theirs in zip(ours, stock, strict=True):
        assert_near(mine, theirs)


CHECKED = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 0), groups=2), (2, 4, 5, 4), (4, 2, 3, 2)),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, padding=2, dilation=2), (2, 3, 7), (4, 3, 3)),
    "depthwise": (lambda x, w, b: F.conv2d(x, w, b, groups=4), (1, 4, 4, 4), (4, 1, 3, 3)),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
        (2, 3, 3, 3),
        (3, 4, 3, 3),
    ),
    "conv_transpose1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, stride=3), (2, 3, 4), (3, 4, 4)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (3, 4, 3, 2), (4,)),
    "max_pool2d": (lambda x, w, b: F.max_pool2d(x, 3, 2, 1), (1, 2, 6, 5), (1,)),
    "avg_pool2d": (lambda x, w, b: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (1, 2, 6, 5), (1,)),
    "adaptive_avg_pool2d": (lambda x, w, b: F.adaptive_avg_pool2d(x, (2, 3)), (1, 2, 5, 5), (1,)),
    "bilinear": (lambda x, w, b: F.interpolate(x, scale_factor=1.5, mode="bilinear"), (1, 2, 4, 5), (1,)),
}


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("name", CHECKED)
def test_gradients_of_first_and_second_order(name, last):
    function, shape, of_weight = CHECKED[name]
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(s, generator=generator, dtype=torch.float64) for s in (shape, of_weight))
    bias = torch.randn(4, generator=generator, dtype=torch.float64)
    if last and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    arguments = tuple(t.requires_grad_() for t in (x, weight, bias))
    if len(of_weight) == 1 and name != "batch_norm":
        arguments = (arguments[0], None, None)
    with neocog.torch.patch():
        assert torch.autograd.gradcheck(function, arguments)
        assert torch.autograd.gradgradcheck(function, arguments)
    counts = neocog.torch.stats()
    assert sum(entry["neocog"] for entry in counts.values()) > 0


def test_checkpointing():
    from torch.utils.checkpoint import checkpoint

    def gradients():
        model = network()
        checkpoint(model, images(), use_reentrant=False).sum().backward()
        return [p.grad for p in model.parameters()]

    stock = gradients()
    with neocog.torch.patch():
        ours = gradients()
    assert ran() == 6  # each of three twice
    for mine, theirs in zip(ours, stock, strict=True):
        assert_near(mine, theirs, 1e-4)


def test_one_model_on_many_threads_gives_the_bits_of_one():
    model = nn.DataParallel(network().eval())  # without an accelerator it is the model itself
    x, found = [images(batch=n) for n in (1, 2, 3, 4)], {}

    def work(index):
        with torch.no_grad():
            found[index] = [model(x[index]) for _ in range(20)]

    with neocog.torch.patch():
        with torch.no_grad():
            alone = [model(batch) for batch in x]
        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(x))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(torch.equal(y, alone[index]) for index, ys in found.items() for y in ys)
    assert sorted(found) == [0, 1, 2, 3]
    assert ran() == 3 * (4 + 80)


class _Convolved(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return convolve() + index, ran()


def test_forked_data_loader_workers_convolve_too():
    loader = torch.utils.data.DataLoader(_Convolved(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    with neocog.torch.patch():
        expected = convolve()
        for i, (batch, calls) in enumerate(loader):
            assert_near(batch[1], expected + 2 * i + 1)
            assert calls.min() > 0


def test_a_compiled_model_traces_through():
    model = network().eval()
    stock = model(images())
    with neocog.torch.patch(), torch.no_grad():
        assert_near(torch.compile(model, backend="aot_eager")(images()), stock.detach())
        assert ran() == 3
    torch.compiler.reset()


def test_subclasses_of_tensor_see_no_call_of_ours():
    seen = []

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            seen.append(getattr(function, "__name__", str(function)))
            return super().__torch_function__(function, types, args, kwargs or {})

    with neocog.torch.patch():
        y = F.conv2d(images().as_subclass(Watched), torch.randn(4, 3, 3, 3))
    assert type(y) is Watched
    assert seen == ["conv2d"]
    assert ran() == 1


def test_a_default_device_does_not_matter():
    stock = convolve()
    x = images()
    with neocog.torch.patch(), torch.device("meta"):
        assert F.max_pool2d(x, 2).device.type == "cpu"
        assert ran("max_pool2d_with_indices") == 1
    assert stock.device.type == "cpu"


def test_a_thousand_steps_do_not_grow():
    import resource

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(4, 3, 64, 64)

    def steps(count):
        for _ in range(count):
            optimizer.zero_grad()
            model(x[:, :, :8, :8]).sum().backward()
            optimizer.step()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB

    with neocog.torch.patch():
        before = steps(100)
        assert steps(1000) - before < 8 * 1024
