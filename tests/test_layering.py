"""The house keeps its shape: includes and imports point downward, and every op stands in all its places."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import reference
from neocog import ops

ROOT = Path(__file__).resolve().parent.parent
CPP, PYTHON = ROOT / "cpp", ROOT / "python" / "neocog"
SOURCES = sorted(p for p in CPP.rglob("*") if p.suffix in (".h", ".cc", ".cu", ".cuh"))
MODULES = sorted(PYTHON.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 50
    assert len(MODULES) > 20


# C++

LAYERS = ["core", "ops", "engine", "bindings"]  # each may include those before it and itself


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_includes_point_downward(path):
    layer = path.relative_to(CPP).parts[0]
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for include in includes(path):
        first, _, rest = include.partition("/")
        if first in LAYERS and rest:
            assert (CPP / include).is_file(), f"{include} is included by its full path, from cpp/"
            assert first in allowed, f"{relative(path)} includes {include}"
        else:
            assert not (path.parent / include).is_file(), f"{include} is included by its full path, from cpp/"
    assert layer == "bindings" or not any(re.match(r"pybind11|Python\.h", i) for i in includes(path))


def test_openmp_stays_in_one_file():
    using = [p for p in SOURCES if re.search(r"\bomp_\w+\(|#\s*pragma\s+omp\b|<omp\.h>", p.read_text())]
    assert [relative(p) for p in using] == ["cpp/core/parallel.cc"]


ISAS = ("scalar", "avx2", "avx512", "avx512bf16", "amx", "neon")
PER_ISA = [p for p in SOURCES if p.suffix == ".cc" and p.stem.endswith(tuple(f"_{isa}" for isa in ISAS))]


def test_intrinsics_stay_with_their_instruction_set():
    intrinsic = r"<\w*intrin\.h>|<arm_neon\.h>|\b_mm\d*_\w+\(|\b__m(128|256|512)"
    using = [p for p in SOURCES if re.search(intrinsic, p.read_text())]
    assert using
    homes = [CPP / "core" / "simd" / f"{isa}.h" for isa in ISAS]
    assert [relative(p) for p in using if p not in homes and p not in PER_ISA] == []


@pytest.mark.parametrize("path", PER_ISA, ids=relative)
def test_a_file_for_an_instruction_set_joins_its_vectors_to_the_bodies(path):
    """The vectors of that instruction set and no other; what it adds of its own stays inside the file."""
    isa = path.stem.rpartition("_")[2]
    simd = [i for i in includes(path) if i in {f"core/simd/{name}.h" for name in ISAS}]
    assert simd == [f"core/simd/{isa}.h"]
    assert any(include.endswith("-inl.h") for include in includes(path))
    code = re.sub(r"//.*|^\s*#\s*include.*$", "", path.read_text(), flags=re.MULTILINE)
    assert not code.split() or "namespace {" in code


def test_bodies_are_included_by_the_files_of_the_instruction_sets_alone():
    for path in SOURCES:
        if path not in PER_ISA and not path.name.endswith("-inl.h"):
            assert not [i for i in includes(path) if i.endswith("-inl.h")], relative(path)


# Python

# Each folder of python/neocog and what it may import of the others; modules beside them are the base of all.
DOWNWARD = {
    "": {"ops", "engine", "onnx", "torch", "nn", "models", "keras"},  # __init__.py: all but ops on use
    "ops": set(),
    "engine": {"ops"},
    "onnx": {"ops", "engine"},
    "torch": {"ops", "engine"},
    "jax": {"ops"},
    "nn": {"ops", "torch"},
    "keras": {"ops", "torch"},
    "models": {"ops", "torch", "nn"},
    "viz": {"ops", "engine", "torch", "nn", "models"},
    "tasks": {"ops", "engine", "torch", "nn", "models"},
    "demo": {"ops", "engine"},
    "cli": {"ops", "engine", "onnx", "torch", "nn", "models", "viz", "tasks", "demo"},
}
FRAMEWORKS = {
    "torch",
    "torchvision",
    "jax",
    "keras",
    "tensorflow",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "PIL",
}
FRAMEWORKS |= {"skimage", "sklearn", "scipy", "pandas", "timm"}
# Where a framework may be imported at the top: what is imported only by who has that framework.
ADAPTERS = ("torch/", "nn/", "models/", "tasks/", "keras/", "jax/", "onnx/", "viz/plot.py")
ADAPTERS += ("demo/picture.py", "demo/torch_network.py", "engine/importers/aten", "engine/importers/onnx")


def imports(tree: ast.Module, *, anywhere: bool) -> Iterator[str]:
    """Absolute names of what a module imports: at its top (also under `if` and `try`), or anywhere."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
        elif anywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_downward(path):
    place = path.relative_to(PYTHON)
    folder = place.parts[0] if len(place.parts) > 1 else ""
    if place.name == "__main__.py":
        folder = "cli"
    tree = ast.parse(path.read_text())
    allowed = DOWNWARD[folder] | {folder}
    for name in imports(tree, anywhere=True):
        package, *inner = name.split(".")
        if package == "neocog" and inner and (PYTHON / inner[0]).is_dir():
            assert inner[0] in allowed, f"{relative(path)} imports {name}"
    if not place.as_posix().startswith(ADAPTERS):
        top = {name.split(".")[0] for name in imports(tree, anywhere=False)}
        assert not top & FRAMEWORKS, (
            f"{relative(path)} imports {top & FRAMEWORKS} at its top; import it where it is used"
        )


def test_no_module_asks_the_name_of_its_caller():
    """The kernels are the same for everyone: ops knows of no framework, not even by name."""
    for path in MODULES:
        if path.relative_to(PYTHON).parts[0] == "ops" or path.parent == PYTHON:
            used = {name.split(".")[0] for name in imports(ast.parse(path.read_text()), anywhere=True)}
            assert not used & FRAMEWORKS or path.name == "_config.py", relative(path)


# One word, all its places

FORWARD_AND_BACKWARD = {  # of every op folder: the public functions with an oracle of their own
    "gemm": {"linear"},
    "conv": {"conv1d", "conv2d"},
    "depthwise": {"depthwise_conv2d"},
    "separable": {"separable_conv2d"},
    "conv_transpose": {"conv_transpose1d", "conv_transpose2d"},
    "pool": {
        *(f"{kind}_pool{axes}d" for kind in ("max", "avg", "adaptive_avg") for axes in (1, 2)),
        *(f"max_unpool{axes}d" for axes in (1, 2)),
    },
    "batch_norm": {"batch_norm"},
    "elementwise": {*ops.ACTIVATIONS, "prelu", "softmax", "add"} - {"gelu_tanh"},
    "rearrange": {"pad", "concat", "pixel_shuffle", "pixel_unshuffle"},
    "resample": {"interpolate"},
}
# The rows of `python -m bench ops`; what is fused into these, or only moves memory, has none.
TIMED = {"conv", "depthwise", "conv_transpose", "pool", "batch_norm"}


def test_every_op_folder_is_listed():
    assert {p.name for p in (CPP / "ops").iterdir() if p.is_dir()} == set(FORWARD_AND_BACKWARD)


@pytest.mark.parametrize("op", FORWARD_AND_BACKWARD)
def test_an_op_has_its_name_in_all_its_places(op):
    places = [
        CPP / "ops" / op / "README.md",
        CPP / "ops" / op / f"{op}.h",
        CPP / "bindings" / f"{op}.cc",
        PYTHON / "ops" / f"{op}.py",
        ROOT / "tests" / "ops" / f"test_{op}.py",
        *([ROOT / "bench" / "ops" / f"{op}.py"] if op in TIMED else []),
    ]
    assert [relative(p) for p in places if not p.is_file()] == []
    assert f"bind_{op}(m)" in (CPP / "bindings" / "module.cc").read_text()


@pytest.mark.parametrize("op", FORWARD_AND_BACKWARD)
def test_every_function_has_an_oracle(op):
    for name in FORWARD_AND_BACKWARD[op]:
        for function in (name, f"{name}_backward"):
            assert callable(getattr(ops, function)), function
            assert callable(getattr(reference, function)), function
