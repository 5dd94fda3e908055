"""Models that know sizes before their first call: those of an example, of a file, of inputs that leave none open."""

from __future__ import annotations

import json

import neocog
import numpy as np
import pytest
from file_cases import container, parts
from neocog.engine import file, prepared
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node

SAME = {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1]}
SHAPE = (2, 8, 12, 10)


def network(rng, size=("N", 8, "H", "W")):
    """Two convolutions that keep packed weights, and a reshape that needs an even number of pixels."""
    weights = {name: rng.standard_normal((8, 8, 3, 3), np.float32) for name in "vw"}
    weights["shape"] = np.int64([0, 0, 2, -1])
    nodes = [
        Node("conv", ("x", "v"), ("a",), dict(SAME)),
        Node("conv", ("a", "w"), ("b",), {**SAME, "activation": "relu"}),
        Node("reshape", ("b", "shape"), ("y",), {}),
    ]
    return Graph([Input("x", size)], ["y"], nodes, weights)


def image(rng, shape=SHAPE):
    return rng.standard_normal(shape).astype(np.float32)


def keeps_all(model, *inputs):
    """Whether a call of these inputs plans nothing and packs nothing; it is made."""
    plans, kept = list(model._plans.values()), model._weights.kept_bytes
    model(*inputs)
    return kept > 0 and plans == list(model._plans.values()) and kept == model._weights.kept_bytes


def saved(model, tmp_path, **options):
    model.save(tmp_path / "a.neocog")
    return neocog.load(tmp_path / "a.neocog", **options)


# Where sizes come from


def test_a_loaded_model_is_prepared_for_the_sizes_that_it_was_saved_with(tmp_path, rng):
    model, x, other = CompiledModel(network(rng)), image(rng), image(rng, (1, 8, 30, 31))
    model.prepare(x.shape)
    model.prepare(other)
    loaded = saved(model, tmp_path)
    assert loaded.prepared == [((x.shape, False),), ((other.shape, False),)]
    assert keeps_all(loaded, x)
    assert keeps_all(loaded, other)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_images_that_lie_channels_last_are_sizes_of_their_own(tmp_path, rng):
    model, x = CompiledModel(network(rng)), image(rng).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    model.prepare(x)
    loaded = saved(model, tmp_path)
    assert loaded.prepared == [((x.shape, True),)]
    assert keeps_all(loaded, x)


def test_calls_are_not_remembered(tmp_path, rng):
    model = CompiledModel(network(rng))
    model(image(rng))
    loaded = saved(model, tmp_path)
    assert loaded.prepared == []
    assert loaded._weights.kept_bytes == 0


def test_sizes_can_be_left_to_the_first_call_and_stay_in_the_file(tmp_path, rng):
    model = CompiledModel(network(rng))
    model.prepare(SHAPE)
    loaded = saved(model, tmp_path, prepare=False)
    assert (len(loaded._plans), loaded._weights.kept_bytes) == (0, 0)
    again = saved(loaded, tmp_path)
    assert again.prepared == model.prepared
    assert keeps_all(again, image(rng))


def test_compile_prepares_for_an_example(tmp_path, rng):
    graph, x = network(rng), image(rng)
    for example in (x, (x,), (x.shape,)):
        model = neocog.compile(graph, example)
        assert model.prepared == [((x.shape, False),)]
        assert keeps_all(model, x)
    model.save(tmp_path / "a.neocog")
    assert keeps_all(neocog.compile(str(tmp_path / "a.neocog")), x)
    other = neocog.compile(tmp_path / "a.neocog", image(rng, (1, 8, 4, 4)))
    assert other.prepared == [((SHAPE, False),), (((1, 8, 4, 4), False),)]
    assert len(other._plans) == 1
    with pytest.raises(ValueError, match=r"`x` has the shape \(1, 9, 4, 4\), but the network takes \(N, 8, H, W\)"):
        neocog.compile(graph, image(rng, (1, 9, 4, 4)))


def test_compile_prepares_for_sizes_that_are_not_open(rng):
    assert keeps_all(neocog.compile(network(rng, SHAPE)), image(rng))
    for shape in (("N", 8, 12, 10), ("N", 8, "H", "W")):
        assert neocog.compile(network(rng, shape)).prepared == []


def test_an_onnx_model_that_was_compiled_with_an_example(tmp_path, rng):
    onnx = pytest.importorskip("onnx")
    import neocog.onnx
    from onnx_models import model as parsed

    text = "g (float[N,8,H,W] x, float[8,8,3,3] w) => (float[N,8,h,w] y) { y = Conv(x, w) }"
    proto = parsed(text, 17)
    weight = rng.standard_normal((8, 8, 3, 3), np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    del proto.graph.input[1]
    x = image(rng)
    assert keeps_all(saved(neocog.compile(proto, x), tmp_path), x)
    assert neocog.compile(proto).prepared == neocog.onnx.load(proto).prepared == []
    for axis, size in enumerate(x.shape):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    assert keeps_all(neocog.onnx.load(proto), x)


def test_a_module_is_prepared_for_its_example(tmp_path):
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3)

        def forward(self, x, factor, more):
            return self.conv(x) * factor + self.conv(more["image"])

    x, other = torch.randn(2, 3, 9, 8), torch.randn(2, 3, 9, 8).contiguous(memory_format=torch.channels_last)
    model = neocog.compile(Two().eval(), (x, 2.0, {"image": other}))
    assert model.prepared == [((tuple(x.shape), False), (tuple(x.shape), True))]
    assert keeps_all(saved(model, tmp_path), x, other)


def test_values_of_integers_are_not_remembered(tmp_path, rng):
    nodes = [Node("conv", ("x", "w"), ("a",), dict(SAME)), Node("reshape", ("a", "shape"), ("y",), {})]
    inputs = [Input("x", ("N", 8, "H", "W")), Input("shape", (2,), "int64")]
    model = CompiledModel(Graph(inputs, ["y"], nodes, {"w": rng.standard_normal((8, 8, 3, 3), np.float32)}))
    x, shape = image(rng), np.int64([2, -1])
    model.prepare(x, shape)
    assert keeps_all(model, x, shape)
    assert saved(model, tmp_path).prepared == []


# How many, and how large


def test_the_latest_sizes_are_kept_once(tmp_path, rng):
    model = CompiledModel(network(rng))
    shapes = [(1, 8, 2, 2 + i) for i in range(prepared.MOST_SIZES + 3)]
    for shape in [*shapes, shapes[5]]:
        model.prepare(shape)
    kept = [*shapes[3:5], *shapes[6:], shapes[5]]
    assert [sizes[0][0] for sizes in model.prepared] == [*shapes[:5], *shapes[6:], shapes[5]]
    assert [sizes[0][0] for sizes in saved(model, tmp_path).prepared] == kept[-prepared.MOST_SIZES :]


def test_sizes_that_are_too_large_are_left_to_the_first_call(tmp_path, rng):
    model = CompiledModel(network(rng))
    model.prepare((1, 8, 4, 4))
    model.remember((((1, 8, 2**13, 2**13), False),))
    assert saved(model, tmp_path).prepared == [(((1, 8, 4, 4), False),)]


def test_memory_that_only_a_file_asks_for_is_not_touched(tmp_path, rng, monkeypatch):
    model = CompiledModel(network(rng))
    model.prepare(SHAPE)
    model.save(tmp_path / "a.neocog")
    largest = next(iter(model._plans.values())).program.largest_bytes
    assert largest >= 4 * np.prod(SHAPE)
    monkeypatch.setattr(prepared, "MOST_BYTES", largest)
    assert neocog.load(tmp_path / "a.neocog")._weights.kept_bytes > 0
    wide = network(rng)
    wide.constants["w"] = rng.standard_normal((64, 8, 3, 3), np.float32)  # more than the input between the layers
    model = CompiledModel(wide)
    model.prepare(SHAPE)
    loaded = saved(model, tmp_path)
    assert loaded.prepared == model.prepared
    assert loaded._weights.kept_bytes == 0
    np.testing.assert_array_equal(loaded(x := image(rng)), model(x))


# Files that hold anything


@pytest.fixture
def good(tmp_path, rng):
    """The parts of a file that has sizes."""
    model = CompiledModel(network(rng))
    model.prepare(SHAPE)
    model.save(tmp_path / "good.neocog")
    text, data = parts(tmp_path / "good.neocog")
    return json.loads(text), data


def with_sizes(good, value):
    header, data = good
    text = value if isinstance(value, str) else json.dumps(value)
    return container({**header, "__metadata__": {**header["__metadata__"], "neocog.prepared": text}}, data)


def place(shape=SHAPE, channels_last=False, **more):
    return {"shape": list(shape), "channels_last": channels_last, **more}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[", "its prepared sizes is not JSON"),
        ({}, "the prepared sizes are no list of at most 16"),
        ([[place()]] * 17, "the prepared sizes are no list of at most 16"),
        ([place()], "prepared sizes 0 are no list of one for each of the 1 inputs"),
        ([[place()], []], "prepared sizes 1 are no list of one for each of the 1 inputs"),
        ([[place(), place()]], "prepared sizes 0 are no list of one for each of the 1 inputs"),
        ([[[2, 8, 12, 10]]], "that of 'x' must have shape and channels_last, and nothing else"),
        ([[place(dtype="float32")]], "that of 'x' must have shape and channels_last, and nothing else"),
        ([[place((2, 8, 12, -1))]], "the shape of 'x' must be a list of integers of at least 0"),
        ([[place((2, 8, 12, 1.0))]], "the shape of 'x' must be a list of integers of at least 0"),
        ([[place((2, 8, 12, True))]], "the shape of 'x' must be a list of integers of at least 0"),
        ([[place((2**31, 8, 1, 1))]], "'x' would have 68719476736 bytes; the most is 1073741824"),
        ([[place((2**62, 0, 2**62, 1))]], "bytes; the most is 1073741824"),
        ([[place(channels_last=1)]], "only an image can lie channels-last"),
        ([[place((2, 8), channels_last=True)]], "only an image can lie channels-last"),
    ],
)
def test_sizes_that_are_none_are_refused(tmp_path, good, value, message):
    (tmp_path / "a.neocog").write_bytes(with_sizes(good, value))
    for prepare in (True, False):
        with pytest.raises(file.FileError, match="damaged") as caught:
            neocog.load(tmp_path / "a.neocog", prepare=prepare)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 9, 12, 10), r"`x` has the shape (2, 9, 12, 10), but the network takes (N, 8, H, W)"),
        ((8, 12, 10), r"`x` has the shape (8, 12, 10), but the network takes (N, 8, H, W)"),
        ((2, 8, 5, 5), "do not divide into"),
    ],
)
def test_sizes_that_do_not_fit_the_network_are_refused(tmp_path, good, shape, message):
    (tmp_path / "a.neocog").write_bytes(with_sizes(good, [[place(shape)]]))
    with pytest.raises(file.FileError, match="it was prepared for sizes that do not fit it: ") as caught:
        neocog.load(tmp_path / "a.neocog")
    assert message in str(caught.value)
    assert neocog.load(tmp_path / "a.neocog", prepare=False).prepared == [((shape, False),)]


def test_a_file_without_sizes_loads_as_before(tmp_path, good, rng):
    header, data = good
    header = {**header, "__metadata__": {k: v for k, v in header["__metadata__"].items() if k != "neocog.prepared"}}
    (tmp_path / "a.neocog").write_bytes(container(header, data))
    assert neocog.load(tmp_path / "a.neocog").prepared == []
    assert "neocog.prepared" not in file.read_metadata(tmp_path / "good.neocog")


SIZES = [0, 1, 2, 3, 7, 8, 255, 2**16, 2**20, 2**27]


def test_any_sizes_are_refused_or_harmless(tmp_path, good, rng):
    """Of every rank; what they take is bounded whatever they are."""
    loaded = refused = 0
    for _ in range(400):
        shape = [int(rng.choice(SIZES)) for _ in range(rng.choice([0, 1, 2, 3, 4, 4, 4, 4, 4, 5]))]
        if len(shape) == 4 and rng.random() < 0.8:
            shape[1] = 8
        (tmp_path / "a.neocog").write_bytes(with_sizes(good, [[place(shape, bool(rng.integers(2)))]]))
        try:
            model = neocog.load(tmp_path / "a.neocog")
        except file.FileError:
            refused += 1
        else:
            assert sum(plan.program.arena_bytes for plan in model._plans.values()) < 2**34
            loaded += 1
    assert loaded > 20
    assert refused > 100


def test_saving_refuses_what_could_not_be_loaded(tmp_path, rng):
    with pytest.raises(ValueError, match="are no list of one for each of the 1 inputs"):
        file.save(network(rng), tmp_path / "a.neocog", sizes=[()])
    assert not (tmp_path / "a.neocog").exists()
