"""The backend of torch.compile: `torch.compile(model, backend="neocog")`.

Without gradients the parts of a graph that the engine has become `CompiledModel`s, with the parameters frozen into
them; what it does not have runs in torch. With gradients the forward and the backward graph run on the kernels,
operator by operator. What runs in torch is said once to the logger "neocog", and counted by `stats()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import fx
from torch._dynamo.backends.common import aot_autograd
from torch.export import exported_program

from neocog.engine.importers.aten_export import composites
from neocog.engine.importers.aten_whole import whole_operators
from neocog.torch.backend_counts import stats as stats
from neocog.torch.backend_inference import compile_inference
from neocog.torch.backend_training import compile_training
from neocog.torch.backend_upsampling import whole_upsampling


def neocog(module: fx.GraphModule, example_inputs: Sequence[Any], *, options: Any = None) -> Callable[..., Any]:
    """Compile a graph of torch.compile; registered as its backend "neocog".

    Parameters and buffers are frozen at the first call without gradients, and again when one of them was replaced or
    written to (`load_state_dict`, an optimiser's step). Writing through `tensor.data` or NumPy cannot be seen; call
    `torch.compiler.reset()` after it. A new batch or image size is planned, not compiled, where torch.compile left it
    open (`dynamic=True`, `torch._dynamo.mark_dynamic`, or the second size it meets).

    Args:
        options: `torch.compile(..., options={"num_threads": 4})`: threads of a call without gradients; None follows
            `neocog.set_num_threads`.
    """
    options = dict(options or {})
    num_threads = options.pop("num_threads", None)
    if options:
        raise ValueError(f"`options` has {', '.join(map(repr, options))}; the backend 'neocog' has 'num_threads' only.")

    def inference(graph: fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        return compile_inference(graph, num_threads)

    compiler = aot_autograd(fw_compiler=compile_training, bw_compiler=compile_training, inference_compiler=inference)
    records = torch.is_grad_enabled() and any(isinstance(x, torch.Tensor) and x.requires_grad for x in example_inputs)
    with whole_upsampling() if records else _whole_for_inference():
        compiled: Callable[..., Any] = compiler(module, example_inputs)
    return compiled


@contextmanager
def _whole_for_inference() -> Iterator[None]:
    """Keep operators that the engine has as one, although they are functions of others: instance norm, for example."""
    # As ExportedProgram.run_decompositions does it; without it the importer gets the functions they are made of.
    override = getattr(exported_program, "_override_composite_implicit_decomp", None)
    whole = {operator: lambda *args, **kwargs: NotImplemented for operator in composites()}
    with whole_operators(), override(whole) if override is not None else nullcontext():
        yield
