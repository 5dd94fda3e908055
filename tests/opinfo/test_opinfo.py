"""PyTorch's own database of samples and bad inputs (OpInfo), run through `neocog.ops` against PyTorch.

Forward and gradient, float32 and float64. One test runs all samples of an op and reports every failure with
the sample that caused it.
"""

from __future__ import annotations

import functools
import inspect
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="could not import 'expecttest': torch.testing._internal needs it")

import exclusions  # noqa: E402
import neocog  # noqa: E402
from adapters import ADAPTERS  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

PACKAGE = str(Path(neocog.__file__).parent)
TOLERANCES = {  # float32: torch.testing's own defaults
    torch.float32: {},
    torch.float64: {"rtol": 1e-10, "atol": 1e-10},
}


@functools.cache
def database() -> dict[tuple[str, str], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {(op.name, op.variant_test_name): op for op in op_db if op.name in ADAPTERS}


def arrays(value: Any) -> Any:
    """Tensors become NumPy arrays over the same memory, strides included; all else stays."""
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(map(arrays, value))
    return value


def describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        strides = "" if value.is_contiguous() else f", strides {value.stride()}"
        return f"<{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{strides}>"
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return f"[{', '.join(map(describe, value))}]"
    return repr(value)


def describe_call(sample: Any) -> str:
    arguments = [describe(sample.input), *map(describe, sample.args)]
    return ", ".join(arguments + [f"{name}={describe(value)}" for name, value in sample.kwargs.items()])


def floats(adapter: Any, sample: Any) -> list[Any]:
    """The floating-point tensors among the arguments, in the order of the adapter's signature."""
    bound = inspect.signature(adapter).bind(sample.input, *sample.args, **sample.kwargs).arguments
    flat = [t for value in bound.values() for t in (value if isinstance(value, list | tuple) else [value])]
    return [t for t in flat if isinstance(t, torch.Tensor) and t.is_floating_point()]


def run_torch(op: Any, sample: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch thinks of its own samples
        return op(sample.input, *sample.args, **sample.kwargs)


def compare(ours: Any, theirs: Any, what: str) -> None:
    theirs = theirs.detach()
    assert isinstance(ours, np.ndarray | np.generic), f"{what} is a {type(ours).__name__}, not an array"
    assert ours.shape == tuple(theirs.shape), f"{what} has shape {ours.shape}, torch {tuple(theirs.shape)}"
    copy = torch.from_numpy(np.array(ours))
    tolerance = TOLERANCES.get(theirs.dtype, {})
    torch.testing.assert_close(copy, theirs, equal_nan=True, msg=lambda m: f"{what}: {m}", **tolerance)


def is_float32_convolution(op: Any, y: Any) -> bool:
    return op.name.startswith("nn.functional.conv") and y.dtype == torch.float32


def compare_convolution(op: Any, sample: Any, ours: Any, ours_grads: Any, grad_y: Any) -> None:
    """Within the documented bound of float64: terms * eps * sum of |products|, the sums counted by convolution itself.

    torch's float32 sums, in another order, may be as far away on the other side.
    """

    def run(prepare: Any) -> list[Any]:
        """y and every gradient, of the sample's numbers in float64 after `prepare`."""

        def leaf(tensor: Any) -> Any:
            return prepare(tensor.detach().double()).requires_grad_(tensor.requires_grad)

        wide = sample.transform(lambda value: leaf(value) if isinstance(value, torch.Tensor) else value)
        y = run_torch(op, wide)
        tensors = [t for t in (wide.input, *wide.args, *wide.kwargs.values()) if isinstance(t, torch.Tensor)]
        inputs = [t for t in tensors if t.requires_grad]
        grads = torch.autograd.grad(y, inputs, prepare(torch.from_numpy(grad_y).double())) if inputs else ()
        return [y.detach(), *grads]

    eps = torch.finfo(torch.float32).eps
    names = ["the result", *(f"gradient {i}" for i in range(len(ours_grads)))]
    runs = zip(run(lambda t: t), run(torch.abs), run(torch.ones_like), strict=True)
    for what, y, (exact, size, terms) in zip(names, [ours, *ours_grads], runs, strict=True):
        assert y.dtype == np.float32, f"{what} is {y.dtype}"
        assert y.shape == tuple(exact.shape), f"{what} has shape {y.shape}, torch {tuple(exact.shape)}"
        excess = (torch.from_numpy(np.array(y)).double() - exact).abs() - (terms + 2) * eps * size
        assert not (excess > 0).any(), f"{what} is {excess.max():.3g} beyond its bound"


def check_sample(op: Any, adapter: Any, sample: Any, rng: np.random.Generator) -> None:
    theirs = run_torch(op, sample)
    ours, backward = adapter(arrays(sample.input), *map(arrays, sample.args), **dict_of_arrays(sample.kwargs))
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple), "the result is no tuple"
        assert len(ours) == len(theirs)
        for i, (y, their_y) in enumerate(zip(ours, theirs, strict=True)):
            compare(y, their_y, f"result {i}")
        theirs = theirs[0]
    elif not is_float32_convolution(op, theirs):
        compare(ours, theirs, "the result")
    inputs = floats(adapter, sample)
    grad_y = rng.standard_normal(tuple(theirs.shape)).astype(arrays(theirs).dtype)
    if not any(t.requires_grad for t in inputs):
        if is_float32_convolution(op, theirs):
            compare_convolution(op, sample, ours, [], grad_y)
        return
    grads = backward(grad_y)
    assert len(grads) == len(inputs), f"{len(grads)} gradients for {len(inputs)} arrays"
    pairs = [(grad, tensor) for grad, tensor in zip(grads, inputs, strict=True) if tensor.requires_grad]
    if is_float32_convolution(op, theirs):
        compare_convolution(op, sample, ours, [grad for grad, _ in pairs], grad_y)
        return
    expected = torch.autograd.grad(theirs, [tensor for _, tensor in pairs], torch.from_numpy(grad_y))
    for i, ((grad, _), their_grad) in enumerate(zip(pairs, expected, strict=True)):
        compare(grad, their_grad, f"gradient {i}")


def dict_of_arrays(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: arrays(value) for name, value in kwargs.items()}


def explain(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error) or '(no message)'}".replace("\n", "\n    ")


def report(failures: list[str], total: int) -> None:
    if failures:
        pytest.fail(f"{len(failures)} of {total} failed:\n" + "\n".join(failures), pytrace=False)


def test_every_entry_of_the_database_is_run_or_left_out_with_a_reason():
    assert {name for name, _ in database()} == set(ADAPTERS), "torch no longer has an entry for an adapter"
    assert set(exclusions.VARIANTS) <= set(database()), "an excluded variant is no longer in the database"


def names() -> list[Any]:
    """(name, variant) of every OpInfo to run."""
    return [pytest.param(key, id="-".join(filter(None, key))) for key in database() if key not in exclusions.VARIANTS]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("key", names())
def test_samples(key, dtype, rng):
    op, adapter = database()[key], ADAPTERS[key[0]]
    failures, total = [], 0
    for requires_grad in (False, True):
        for sample in op.sample_inputs("cpu", dtype, requires_grad=requires_grad):
            if exclusions.reason(exclusions.SAMPLES, op.name, sample):
                continue
            total += 1
            try:
                check_sample(op, adapter, sample, rng)
            except Exception as error:
                failures.append(f"  {op.name}({describe_call(sample)}):\n    {explain(error)}")
    assert total > 0
    report(failures, total)


def raised_inside_the_package(error: BaseException) -> bool:
    """Not by the adapter, nor by Python when it bound the adapter's arguments."""
    return any(frame.filename.startswith(PACKAGE) for frame in traceback.extract_tb(error.__traceback__))


def names_with_bad_inputs() -> list[Any]:
    entries = ((param, database()[param.values[0]]) for param in names())
    return [param for param, op in entries if op.error_inputs_func and any(True for _ in op.error_inputs("cpu"))]


@pytest.mark.parametrize("key", names_with_bad_inputs())
def test_bad_inputs_raise(key):
    op, adapter = database()[key], ADAPTERS[key[0]]
    failures, total = [], 0
    for bad in op.error_inputs("cpu"):
        if exclusions.reason(exclusions.ERRORS, op.name, bad):
            continue
        sample, total = bad.sample_input, total + 1
        call = f"  {op.name}({describe_call(sample)})"
        try:
            adapter(arrays(sample.input), *map(arrays, sample.args), **dict_of_arrays(sample.kwargs))
        except (TypeError, ValueError) as error:
            if not raised_inside_the_package(error) or not str(error):
                failures.append(f"{call}: not raised by neocog: {explain(error)}")
        except Exception as error:
            failures.append(f"{call}: neither TypeError nor ValueError: {explain(error)}")
        else:
            failures.append(f"{call}: returned; torch says {bad.error_regex!r}")
    assert total > 0
    report(failures, total)


def test_every_exclusion_still_excludes_something():
    idle = []
    for listed in exclusions.SAMPLES:
        entries = [op for (name, _), op in database().items() if name == listed.op]
        samples = (sample for op in entries for sample in op.sample_inputs("cpu", torch.float32))
        if not any(map(listed.applies, samples)):
            idle.append(listed)
    for listed in exclusions.ERRORS:
        entries = [op for (name, _), op in database().items() if name == listed.op and op.error_inputs_func]
        if not any(listed.applies(bad) for op in entries for bad in op.error_inputs("cpu")):
            idle.append(listed)
    assert not idle
