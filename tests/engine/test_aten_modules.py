"""What a graph keeps of a module, which sizes it leaves open, and which modules are refused; results by the oracle."""

from __future__ import annotations

import copy
import re
from typing import Any

import neocog
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aten_checks import assert_equal, image, imported, leaves  # noqa: E402
from neocog import nn as neocog_nn  # noqa: E402
from neocog.engine.compiled import CompiledModel  # noqa: E402
from neocog.engine.graph import GraphError  # noqa: E402
from neocog.engine.importers import UnsupportedError, aten  # noqa: E402
from nets import NETS, Case  # noqa: E402
from reference_graph import run  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # torch's exporter about itself
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

# What a graph keeps of the module


def test_names_are_those_of_the_module():
    graph = imported(NETS["residual"].module(), 2, 3, 32, 32)
    assert {"layer1.0.conv1.weight", "fc.bias", "layer1.1.downsample.1.running_var"} <= set(graph.constants)
    assert not [name for name in graph.constants if "num_batches_tracked" in name], "nobody needs it"
    layers = {node.name: node.op for node in graph.nodes}
    assert layers["layer1.0.conv1"] == "conv"
    assert layers["layer1.1.downsample.1"] == "batch_norm"
    assert layers["fc"] == "linear"


def test_weights_share_memory_with_the_module():
    module = NETS["residual"].module()
    graph = imported(module, 2, 3, 32, 32)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name in graph.constants:
            assert np.shares_memory(graph.constants[name], tensor.detach().numpy()), name


def test_the_module_and_its_example_stay_as_they_are():
    module, x = NETS["residual"].module().requires_grad_(), image(1, 3, 32, 32).float()
    before, example = copy.deepcopy(module.state_dict()), x.clone()
    aten.from_module(module, (x,))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert torch.equal(x, example)
    assert module(x).requires_grad


def test_fixed_sizes_are_those_of_the_example():
    graph = imported(NETS["xception"].module(), 2, 3, 32, 32, dynamic=False)
    assert graph.inputs[0].shape == (2, 3, 32, 32)
    assert_equal(NETS["xception"].module(), graph, image(2, 3, 32, 32))


def test_reshapes_of_images_are_constants():
    """A batch that stays is 0 in the shape, and one size that is left is -1: no arithmetic."""
    graph = imported(NETS["autoencoder"].module(), 2, 1, 8, 8)
    assert not [node for node in graph.nodes if node.op in ("shape", "concat")]
    assert all(node.inputs[1] in graph.constants for node in graph.nodes if node.op == "reshape")


def test_maxima_without_their_indices_have_one_result():
    graph = imported(NETS["residual"].module(), 2, 3, 32, 32)
    assert [node.outputs for node in graph.nodes if node.op == "max_pool"] == [("max_pool2d",)]


class Several(nn.Module):
    """Inputs of several kinds, nested results, one of them an input and one twice."""

    def forward(self, x: Tensor, pair: tuple[Tensor, Tensor], scale: float) -> dict[str, Any]:
        y = x + pair[0].mean() * scale
        return {"y": y, "x": x, "again": [y, pair[1].relu()], "nothing": None}


def test_nested_inputs_and_results_are_flat():
    module, x, pair = Several().eval(), image(2, 3, 4, 4), (image(2, 5), image(3, 2, 4))
    graph = aten.from_module(module, (x.float(), tuple(p.float() for p in pair), 0.5))
    assert len(graph.inputs) == 3
    results = run(graph, [x.numpy(), *(p.numpy() for p in pair)])
    expected = leaves(module(x, pair, 0.5))[:-1]
    for y, e in zip(results, expected, strict=True):
        np.testing.assert_allclose(y, e.numpy(), rtol=1e-6)


class Lookup(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 3)

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        return x + self.table(kind)[:, :, None, None]


def test_integer_inputs_are_numbers_of_the_plan():
    module, x, kind = Lookup().eval(), image(2, 3, 4, 4), torch.tensor([7, 2])
    graph = aten.from_module(module, (x.float(), kind))
    assert [i.dtype for i in graph.inputs] == ["float32", "int64"]
    assert_equal(module, graph, x, kind)


# What a module decides by sizes


class Branches(nn.Module):
    """Takes another way for tall images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if x.shape[2] < 40 else x[:, :, ::2]).mean((2, 3))


class Parity(nn.Module):
    """Chooses a layer by whether the width is odd."""

    def __init__(self) -> None:
        super().__init__()
        self.pools = nn.ModuleList([nn.MaxPool2d(2), nn.MaxPool2d(2, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        return self.pools[x.shape[3] % 2](x)


@pytest.mark.parametrize(
    ("make", "others", "needs"),
    [(Branches, (2, 3, 40, 9), "x.shape[2] < 40"), (Parity, (2, 3, 12, 10), "x.shape[3] % 2")],
    ids=["branch", "parity"],
)
def test_sizes_that_make_a_module_another_network_are_an_error(make, others, needs):
    """The program has the branch of its example, and says nothing of the other."""
    module = make().eval()
    graph = imported(module, 1, 3, 12, 9)
    assert graph.inputs[0].shape == ("batch", 3, "height", "width")
    for shape in ((1, 3, 12, 9), (2, 3, 17, 21), (1, 3, 39, 5)):
        assert_equal(module, graph, image(*shape))
    with pytest.raises(GraphError, match=rf"needs .*{re.escape(needs)}"):
        CompiledModel(graph).run(image(*others).float().numpy())


def test_a_given_program_is_checked_too():
    sizes = ({0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO},)
    program = torch.export.export(Branches().eval(), (image(2, 3, 12, 9).float(),), dynamic_shapes=sizes)
    model = CompiledModel(aten.from_exported(program))
    model.run(image(1, 3, 39, 9).float().numpy())
    with pytest.raises(GraphError, match=re.escape("needs x.shape[2] < 40")):
        model.run(image(1, 3, 41, 9).float().numpy())


def test_sizes_are_those_of_the_example_if_asked_for():
    x = image(1, 3, 12, 9).float()
    model = neocog.compile(Branches().eval(), x, dynamic=False)
    assert model.graph.inputs[0].shape == (1, 3, 12, 9)
    model.run(x.numpy())
    with pytest.raises(ValueError, match=re.escape("the network takes (1, 3, 12, 9)")):
        model.run(image(2, 3, 12, 9).float().numpy())


class OfOne(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze().relu()


def test_a_batch_that_is_always_one_stays_one():
    """Of two images this module makes something of another shape."""
    graph = imported(OfOne().eval(), 1, 4, 3, 3)
    assert graph.inputs[0].shape[0] == 1
    assert_equal(OfOne(), graph, image(1, 4, 3, 3))


# Layers of neocog.nn


class Ours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            neocog_nn.Conv2d(3, 8, 3, padding=1),
            neocog_nn.BatchNorm2d(8, affine=False),
            nn.ReLU(),
            neocog_nn.MaxPool2d(3, 2, 1),
            neocog_nn.SeparableConv2d(8, 6, 3, padding=1),
            neocog_nn.ConvBNAct(6, 8, 3, stride=2, padding=1, activation="relu6"),
            neocog_nn.ConvTranspose2d(8, 4, 4, 2, 1),
            neocog_nn.AvgPool2d(2),
            neocog_nn.BatchNorm2d(4, track_running_stats=False),
            neocog_nn.Conv2d(4, 5, 4, padding="same"),
            neocog_nn.AdaptiveMaxPool2d(2),
            neocog_nn.AdaptiveAvgPool2d(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).flatten(1)


def test_layers_of_ours():
    module = Case(Ours, ()).module()
    graph = imported(module, 1, 3, 24, 20)
    assert graph.inputs[0].shape[0] == "batch"
    assert {"separable_conv", "conv_transpose", "adaptive_max_pool"} <= {node.op for node in graph.nodes}
    for shape in ((1, 3, 24, 20), (3, 3, 24, 20)):
        assert_equal(module, graph, image(*shape))


# What is refused


class Foreign(nn.Module):
    """Operators that the engine does not have, of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.deep = nn.Conv2d(3, 4, 3), nn.Conv3d(1, 2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = torch.cumsum(self.conv(x), 1)
        return y, self.deep(x[:, None]), torch.sort(x.relu())[0]


def test_all_that_is_missing_is_listed():
    with pytest.raises(UnsupportedError, match="3 nodes of the model cannot be imported") as caught:
        imported(Foreign().eval(), 2, 3, 8, 8)
    reasons = dict(caught.value.unsupported)
    assert reasons["cumsum"] == "aten.cumsum: there is no such operator in the engine"
    assert reasons["deep (convolution_1)"] == "aten.convolution: 3 spatial axes; the engine has one and two"
    assert reasons["sort"].startswith("aten.sort: ")


@pytest.mark.parametrize("training", ["", "layer1.0.bn1"], ids=["all", "a_layer"])
def test_training_mode_is_refused(training: str):
    module = NETS["residual"].module()
    module.get_submodule(training).train()
    with pytest.raises(GraphError, match=rf"{training}.*call model\.eval\(\)"):
        imported(module, 2, 3, 32, 32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_dtypes_are_refused(dtype):
    module = nn.Conv2d(1, 1, 3).to(dtype).eval()
    with pytest.raises(UnsupportedError, match=f"dtype {str(dtype).removeprefix('torch.')}"):
        aten.from_module(module, (torch.ones(2, 1, 5, 5, dtype=dtype),))


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, -x)


def test_choices_that_depend_on_data_are_refused():
    with pytest.raises(UnsupportedError, match=r"aten\.gt\.Scalar: greater of data"):
        imported(Masked().eval(), 2, 3)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


def test_a_module_that_writes_to_its_buffers_is_refused():
    with pytest.raises(UnsupportedError, match=r"calls: the program writes to it"):
        imported(Counting().eval(), 2, 3)


# torch.fx graphs


def test_a_traced_graph_with_weights_as_arguments():
    """As torch.compile has them; sizes among the arguments are read from the tensors."""
    from torch.fx.experimental.proxy_tensor import make_fx

    def network(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight).flatten(1).view(x.shape[0], 2, -1)

    x, weight = image(2, 3, 6, 7), image(4, 3, 3, 3)
    traced = make_fx(network, tracing_mode="symbolic")(x.float(), weight.float())
    name = [node.name for node in traced.graph.nodes if node.op == "placeholder"][1]
    for node in traced.graph.nodes:  # the weight has one size
        node.meta["val"] = weight.float() if node.name == name else node.meta.get("val")
    graph = aten.from_fx(traced, {name: weight.float()})
    assert [len(i.shape) for i in graph.inputs] == [4]
    (y,) = run(graph, [image(3, 3, 5, 9).numpy()])
    weight = weight.float().double()
    np.testing.assert_allclose(y, F.conv2d(image(3, 3, 5, 9), weight).view(3, 2, -1).numpy(), rtol=1e-9, atol=1e-9)


def test_the_same_module_twice_gives_the_same_graph():
    module = NETS["style"].module()
    assert str(imported(module, 2, 3, 32, 32)) == str(imported(module, 2, 3, 32, 32))
