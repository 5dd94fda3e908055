"""Forms of ONNX' operators that its suite does not have, older opsets above all, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import model, results

onnx = pytest.importorskip("onnx")

from neocog.engine.importers.onnx import from_onnx  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from reference_graph import run  # noqa: E402

X = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float32)
IMAGE = "g (float[N,3,H,W] x) => (float[a,b,c,d] y)"
ANY = "g (float[N,3,4,6] x) => (float[] y)"


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def coerced_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """ONNX' until opset 12: all axes from this one on are one."""
    return softmax(x.reshape(int(np.prod(x.shape[:axis])), -1), -1).reshape(x.shape)


OLD_FORMS = {  # name: opset, graph, expected
    "slice by attributes": (9, "{ y = Slice<starts=[1,-3], ends=[9,-1], axes=[2,3]>(x) }", X[:, :, 1:, -3:-1]),
    "slice of the first axes": (9, "{ y = Slice<starts=[1], ends=[2]>(x) }", X[1:2]),
    "squeeze by attribute": (9, "{ t = Slice<starts=[0], ends=[1]>(x) y = Squeeze<axes=[0]>(t) }", X[0]),
    "unsqueeze by attribute": (11, "{ y = Unsqueeze<axes=[0,5]>(x) }", X[None, ..., None]),
    "clip by attributes": (6, "{ y = Clip<min=-0.5, max=0.25>(x) }", X.clip(-0.5, 0.25)),
    "clip with one limit": (9, "{ y = Clip<min=-0.5>(x) }", X.clip(-0.5)),
    "clip without limits": (11, "{ y = Clip(x) }", X),
    "pad by attributes": (
        10,
        "{ y = Pad<pads=[0,0,1,2,0,0,0,3], value=0.5>(x) }",
        np.pad(X, [(0, 0), (0, 0), (1, 0), (2, 3)], constant_values=0.5),
    ),
    "pad at the edge": (
        10,
        '{ y = Pad<pads=[0,0,1,2,0,0,0,3], mode="edge">(x) }',
        np.pad(X, [(0, 0), (0, 0), (1, 0), (2, 3)], "edge"),
    ),
    "split by attribute": (11, "{ t, y = Split<axis=1, split=[1,2]>(x) }", X[:, 1:]),
    "split in equal parts": (11, "{ t, y = Split<axis=3>(x) }", X[..., 3:]),
    "sum over axes by attribute": (11, "{ y = ReduceSum<axes=[1,-1], keepdims=0>(x) }", X.sum((1, 3))),
    "largest of all": (11, "{ y = ReduceMax(x) }", X.max(keepdims=True)),
    "softmax of rows": (12, "{ y = Softmax(x) }", coerced_softmax(X, 1)),
    "softmax of rows from another axis on": (12, "{ y = Softmax<axis=2>(x) }", coerced_softmax(X, 2)),
    "softmax of the last axis": (12, "{ y = Softmax<axis=3>(x) }", softmax(X, 3)),
    "softmax of the last axis, by default": (13, "{ y = Softmax(x) }", softmax(X, -1)),
    "logarithms of softmax": (11, "{ y = LogSoftmax<axis=1>(x) }", np.log(coerced_softmax(X, 1))),
    "softmax of channels of single pixels": (
        11,
        "{ t = GlobalMaxPool(x) y = Softmax<axis=1>(t) }",
        softmax(X.max((2, 3), keepdims=True), 1),
    ),
    "dropout with a mask": (9, "{ t, y = Dropout<ratio=0.9>(x) }", np.ones(X.shape)),
    "dropout of a test": (6, "{ y = Dropout<is_test=1>(x) }", X),
    "upsample by attribute": (
        7,
        '{ y = Upsample<scales=[1.0,1.0,2.0,3.0], mode="nearest">(x) }',
        X.repeat(2, 2).repeat(3, 3),
    ),
    "upsample by input": (
        9,
        '{ s = Constant<value=float[4] {1.0,1.0,2.0,3.0}>() y = Upsample<mode="nearest">(x, s) }',
        X.repeat(2, 2).repeat(3, 3),
    ),
    "resize by scales": (
        10,
        '{ s = Constant<value=float[4] {1.0,1.0,0.5,1.0}>() y = Resize<mode="nearest">(x, s) }',
        X[:, :, ::2],
    ),
    "bias of channels, before broadcasting": (
        6,
        "{ b = Constant<value=float[3] {1.0,2.0,3.0}>() y = Add<broadcast=1, axis=1>(x, b) }",
        X + np.array([1, 2, 3]).reshape(3, 1, 1),
    ),
    "slopes of channels, before broadcasting": (
        6,
        "{ s = Constant<value=float[3] {0.5,0.25,2.0}>() y = PRelu(x, s) }",
        np.where(X > 0, X, X * np.array([0.5, 0.25, 2]).reshape(3, 1, 1)),
    ),
    "slope of all, before broadcasting": (
        6,
        "{ s = Constant<value=float[1] {0.5}>() y = PRelu(x, s) }",
        np.where(X > 0, X, X / 2),
    ),
    "shape by attributes of the first opsets": (9, "{ s = Shape(x) y = ConstantOfShape(s) }", np.zeros(X.shape)),
    "concat": (7, "{ y = Concat<axis=-1>(x, x) }", np.concatenate([X, X], -1)),
}


@pytest.mark.parametrize("name", OLD_FORMS)
@pytest.mark.parametrize("sizes", ["known", "open"])
def test_older_forms(name, sizes):
    opset, graph, expected = OLD_FORMS[name]
    shape = "N,3,4,6" if sizes == "known" else "N,C,H,W"
    (y,) = results(f"g (float[{shape}] x) => (float[] y) {graph}", opset, X)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


FORMS = {  # name: graph of opset 21, expected
    "GlobalLpPool": ("{ y = GlobalLpPool(x) }", np.sqrt((X**2).sum((2, 3), keepdims=True))),
    "GlobalLpPool of the third power": (
        "{ y = GlobalLpPool<p=3>(x) }",
        np.cbrt((abs(X) ** 3).sum((2, 3), keepdims=True)),
    ),
    "logarithm of a sum of exponentials": (
        "{ y = ReduceLogSumExp<keepdims=0>(x, axes) }",
        np.log(np.exp(X.astype(np.float64)).sum((1, 3))),
    ),
    "Gemm with all its factors": (
        "{ f = Flatten<axis=3>(x) w = Constant<value=float[2,6] {1,2,3,4,5,6,7,8,9,10,11,12}>()"
        "  b = Constant<value=float[2] {1,2}>() y = Gemm<alpha=0.5, beta=2.0, transB=1>(f, w, b) }",
        X.reshape(-1, 6) @ np.arange(1, 13).reshape(2, 6).T / 2 + [2, 4],
    ),
    "Gemm of transposed data": (
        "{ f = Flatten<axis=3>(x) y = Gemm<transA=1>(f, f) }",
        X.reshape(-1, 6).T @ X.reshape(-1, 6),
    ),
    "Gemm with a sum of rows": (
        "{ f = Flatten<axis=3>(x) w = Constant<value=float[6,2] {1,2,3,4,5,6,7,8,9,10,11,12}>()"
        "  b = Constant<value=float[24,1] {1,2,3,4,5,6,1,2,3,4,5,6,1,2,3,4,5,6,1,2,3,4,5,6}>() y = Gemm(f, w, b) }",
        X.reshape(-1, 6) @ np.arange(1, 13).reshape(6, 2) + (np.arange(24) % 6 + 1).reshape(24, 1),
    ),
    "Flatten to one row": ("{ y = Flatten<axis=0>(x) }", X.reshape(1, -1)),
    "Flatten before the last axis": ("{ y = Flatten<axis=-1>(x) }", X.reshape(-1, 6)),
    "Flatten to one column": ("{ y = Flatten<axis=4>(x) }", X.reshape(-1, 1)),
    "Transpose of all axes": ("{ y = Transpose(x) }", X.T),
    "square": ("{ two = Constant<value_float=2.0>() y = Pow(x, two) }", X**2),
    "integer exponents": ("{ two = Constant<value_ints=[3]>() y = Pow(x, two) }", X**3),
    "layer norm of two axes that broadcasts": (
        "{ w = Constant<value=float[6] {1,2,3,4,5,6}>() y = LayerNormalization<axis=2>(x, w) }",
        (X - X.mean((2, 3), keepdims=True)) / np.sqrt(X.var((2, 3), keepdims=True) + 1e-5) * np.arange(1, 7),
    ),
    "split with a smaller last part": ("{ a, y = Split<axis=1, num_outputs=2>(x) }", X[:, 2:]),
    "mean of one": ("{ y = Mean(x) }", X),
    "fmod": (
        "{ c = Constant<value_float=0.3>() y = Mod<fmod=1>(x, c) }",
        np.fmod(X.astype(np.float64), np.float64(np.float32(0.3))),
    ),
    "half precision weights": (
        "{ f = Constant<value=float[3,1,1] {1.0,2.0,3.0}>() h = Cast<to=10>(f) w = Cast<to=1>(h) y = Mul(x, w) }",
        X * np.array([1, 2, 3]).reshape(3, 1, 1),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name):
    graph, expected = FORMS[name]
    (y,) = results(f"g (float[N,3,4,6] x) => (float[] y) <int64[2] axes = {{1, -1}}> {graph}", 21, X)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_tensorflows_half_pixel_for_nearest_neighbours():
    scales = "s = Constant<value=float[4] {1.0,1.0,1.5,0.5}>() n = Constant<value=float[0] {}>()"
    mode = 'mode="nearest", nearest_mode="floor", coordinate_transformation_mode="tf_half_pixel_for_nn"'
    (y,) = results(f"g (float[N,3,4,6] x) => (float[] y) {{ {scales} y = Resize<{mode}>(x, n, s) }}", 11, X)
    rows, columns = (np.arange(6) + 0.5) / 1.5, (np.arange(3) + 0.5) / 0.5
    np.testing.assert_array_equal(y, X[:, :, rows.astype(int)][..., columns.astype(int)])


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("extra", ["", ", output_padding=[1,1]"], ids=["plain", "padded"])
def test_transposed_convolution_of_an_output_shape(auto_pad, extra, rng):
    weight = rng.standard_normal((3, 2, 4, 3)).astype(np.float32)
    window = f'strides=[2,2], output_shape=[8,11], auto_pad="{auto_pad}"{extra}'
    graph = "(float[2,3,4,6] x, float[3,2,4,3] w) => (float[] y)"
    proto = model(f"g {graph} {{ y = ConvTranspose<{window}>(x, w) }}", 21)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": X, "w": weight})
    (y,) = run(from_onnx(proto), [X, weight])
    assert y.shape == (2, 2, 8, 11)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


COMPARISONS = {
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Equal": np.equal,
}


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_numbers(op):
    text = f"g (int64[3] a, int64[3] b) => (bool[3] y, bool[3] z) {{ y = {op}(a, b) z = Not(y) }}"
    a, b = np.array([1, 2, 3]), np.array([2, 2, 2])
    y, z = results(text, 17, a, b)
    np.testing.assert_array_equal(y, COMPARISONS[op](a, b))
    np.testing.assert_array_equal(z, ~y)


CASTS = {
    "integers to floats": "g (int64[3] a, float[3] b) => (float[3] y) { y = Cast<to=1>(a) }",
    "integers to the type of others": "g (int64[3] a, float[3] b) => (float[3] y) { y = CastLike(a, b) }",
    "floats to floats": "g (int64[3] a, float[3] b) => (float[3] y) { y = Cast<to=1>(b) }",
    "floats to integers": "g (int64[3] a, float[3] b) => (int64[3] y)"
    " { t = Cast<to=1>(a) h = Constant<value_float=0.9>() u = Mul(t, h) y = Cast<to=7>(u) }",
    "integers to truth": "g (int64[3] a, float[3] b) => (bool[3] y) { y = Cast<to=9>(a) }",
}


@pytest.mark.parametrize("name", CASTS)
def test_casts(name):
    a, b = np.array([-2, 0, 3]), np.array([-1.5, 0, 2], np.float32)
    (y,) = results(CASTS[name], 17, a, b)
    expected = {"floats to floats": b, "floats to integers": [-1, 0, 2], "integers to truth": [True, False, True]}
    np.testing.assert_array_equal(y, expected.get(name, a))


def test_sizes_that_a_model_computes():
    """An image enlarged to the size of another one, as PyTorch exports it."""
    graph = """g (float[N,3,H,W] x, float[N,1,A,B] like) => (float[] y) {
        s = Shape(like)
        two = Constant<value_ints=[2]>()
        four = Constant<value_ints=[4]>()
        zero = Constant<value_ints=[0]>()
        size = Slice(s, two, four)
        t = Shape(x)
        front = Slice(t, zero, two)
        sizes = Concat<axis=0>(front, size)
        y = Resize<mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric">(x, , , sizes)
    }"""
    (y,) = results(graph, 17, X, np.zeros((2, 1, 8, 6), np.float32))
    np.testing.assert_array_equal(y, X.repeat(2, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_branch_that_sizes_decide(channels):
    graph = f"""g (float[N,{channels},H] x) => (float[] y) {{
        s = Shape(x)
        one = Constant<value_int=1>()
        c = Gather(s, one)
        is_one = Equal(c, one)
        y = If(is_one) <
            then_branch = a () => (t) {{ axes = Constant<value_ints=[1]>() t = Squeeze(x, axes) }},
            else_branch = b () => (t) {{ t = Relu(x) }}
        >
    }}"""
    x = np.linspace(-1, 1, 8 * channels, dtype=np.float32).reshape(2, channels, 4)
    (y,) = results(graph, 17, x)
    np.testing.assert_array_equal(y, x[:, 0] if channels == 1 else np.maximum(x, 0))


def test_local_functions_are_inlined():
    text = """<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
        g (float[N,3] x) => (float[N,3] y) { t = mine.twice(x) y = mine.twice(t) }
        <domain: "mine", opset_import: ["" : 17]> twice (x) => (y) { y = Add(x, x) }"""
    graph = from_onnx(onnx.parser.parse_model(text))
    x = np.array([[1.0, 2.0, -3.0]], np.float32)
    np.testing.assert_array_equal(run(graph, [x])[0], 4 * x)
