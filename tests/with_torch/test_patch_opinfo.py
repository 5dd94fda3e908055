"""PyTorch's own samples (OpInfo) and modules (ModuleInfo) with `neocog.torch.patch()` on, against the same without.

Forward and gradients; shapes, strides and dtypes are equal, values within 1e-10 (float64) or 1e-5 of the largest
(float32). Every operator is counted: a sample that went to torch's own kernel has the reason that is listed here.
"""

from __future__ import annotations

import functools
import re
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="could not import 'expecttest': torch.testing._internal needs it")

import neocog.torch  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

OPERATORS = [
    "nn.functional.adaptive_avg_pool1d",
    "nn.functional.adaptive_avg_pool2d",
    "nn.functional.adaptive_max_pool1d",
    "nn.functional.adaptive_max_pool2d",
    "nn.functional.avg_pool1d",
    "nn.functional.avg_pool2d",
    "nn.functional.batch_norm",
    "nn.functional.conv1d",
    "nn.functional.conv2d",
    "nn.functional.conv_transpose1d",
    "nn.functional.conv_transpose2d",
    "nn.functional.instance_norm",
    "nn.functional.interpolate",
    "nn.functional.max_pool1d",
    "nn.functional.max_pool2d",
    "nn.functional.upsample_bilinear",
    "nn.functional.upsample_nearest",
]
MODULES = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "MaxPool1d",
    "MaxPool2d",
]
# Reasons that samples of the database may have to run on torch's kernels.
ALLOWED = re.compile(
    r"an empty tensor.*|3 spatial axes|a strided tensor of more than four axes|one value per channel|"
    r"no running statistics"
)


@functools.cache
def databases() -> tuple[dict[str, list[Any]], dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
        from torch.testing._internal.common_modules import module_db
    operators: dict[str, list[Any]] = {}
    for op in op_db:
        operators.setdefault(op.name, []).append(op)
    return operators, {info.module_cls.__name__: info for info in module_db}


def tensors(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [t for item in value for t in tensors(item)]
    return tensors(list(value.values())) if isinstance(value, dict) else []


def results(function: Any, inputs: list[Any]) -> list[Any]:
    """What it returns and the gradients of a weighted sum of it, weights the same at every call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch thinks of its own samples
        ys = tensors(function())
    differentiable = [y for y in ys if y.requires_grad]
    wanted = [t for t in inputs if t.requires_grad]
    if not differentiable or not wanted:
        return ys
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(y.shape, generator=generator, dtype=y.dtype) for y in differentiable]
    return ys + list(torch.autograd.grad(differentiable, wanted, grads, allow_unused=True))


def check(function: Any, inputs: list[Any], call: str) -> None:
    expected = results(function, inputs)
    with neocog.torch.patch():
        found = results(function, inputs)
    assert len(found) == len(expected)
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        where = f"{call}, tensor {i}"
        if theirs is None:
            assert ours is None, where
            continue
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), where
        assert ours.stride() == theirs.stride(), where
        scale = max(1.0, theirs.detach().abs().max().item() if theirs.numel() else 0.0)
        tolerance = scale * (1e-10 if theirs.dtype == torch.float64 else 1e-5)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance, equal_nan=True, msg=f"{where} differs")


def describe(*values: Any) -> str:
    return str([f"<{v.dtype} {tuple(v.shape)} {v.stride()}>" if isinstance(v, torch.Tensor) else v for v in values])


@pytest.fixture
def counted():
    """Afterwards: something ran on our kernels, and nothing ran elsewhere without a listed reason."""
    neocog.torch.stats(reset=True)
    yield
    found = neocog.torch.stats(reset=True)
    assert sum(entry["neocog"] for entry in found.values()) > 0
    reasons = {reason for entry in found.values() for reason in entry["torch"]}
    assert {reason for reason in reasons if not ALLOWED.fullmatch(reason)} == set()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", OPERATORS)
def test_samples(name, dtype, counted):
    total = 0
    for op in databases()[0][name]:
        if dtype not in op.dtypes:
            continue
        for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
            inputs = tensors([sample.input, *sample.args, *sample.kwargs.values()])
            call = f"{name}({describe(sample.input, *sample.args)}, {sample.kwargs})"

            def function(op: Any = op, sample: Any = sample) -> Any:
                # Batch norm writes into its running statistics: each call has its own, and they are results too.
                statistics: list[Any] = []

                def own(value: Any) -> Any:
                    if not isinstance(value, torch.Tensor) or value.requires_grad:
                        return value
                    statistics.append(value.clone())
                    return statistics[-1]

                mine = sample.transform(own)
                return op(mine.input, *mine.args, **mine.kwargs), statistics

            check(function, inputs, call)
            total += 1
    assert total > 0


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("name", MODULES)
def test_modules(name, training, counted):
    info = databases()[1][name]
    total = 0
    for sample in info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
    ):
        made, given = sample.constructor_input, sample.forward_input
        dtype = {} if "Pool" in name else {"dtype": torch.float64}
        module = info.module_cls(*made.args, **{**dtype, **made.kwargs})
        module.train(training)
        state = {key: value.clone() for key, value in module.state_dict().items()}

        def function(module: Any = module, given: Any = given, state: Any = state) -> Any:
            module.load_state_dict(state)
            return module(*given.args, **given.kwargs), [b.clone() for b in module.buffers()]

        inputs = tensors([*given.args, *given.kwargs.values()]) + list(module.parameters())
        check(function, inputs, f"{module} {describe(*given.args)}")
        total += 1
    assert total > 0
