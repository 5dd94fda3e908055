"""What the compiler made of the kernels: no symbol that two instruction sets could share, no spilled accumulators."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CPP = Path(__file__).parents[2] / "cpp"
SOURCES = sorted(CPP.glob("*/*_avx512.cc")) + sorted(CPP.glob("*/*/*_avx512.cc"))
GEMM = CPP / "ops" / "gemm" / "gemm_avx512.cc"
GROUPS = CPP / "ops" / "conv" / "winograd_groups_avx512.cc"
COMPILER = shutil.which("g++")

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs g++"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump and nm"),
]


def flags_of_avx512() -> list[str]:
    match = re.search(r"set\(NEOCOG_FLAGS_avx512 ([^)]*)\)", (CPP / "CMakeLists.txt").read_text())
    assert match, "cpp/CMakeLists.txt sets the flags"
    return match[1].split()


def compiled(source: Path, folder: Path, optimisation: str) -> Path:
    target = folder / "kernels.o"
    flags = [optimisation, "-std=c++20", "-fPIC", "-fvisibility=hidden", "-w", f"-I{CPP}", *flags_of_avx512()]
    subprocess.run([COMPILER, *flags, "-c", source, "-o", target], check=True)
    return target


def output_of(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_an_instruction_set_leaves_no_weak_symbol(source, tmp_path):
    """The linker keeps one copy of a weak symbol, and it may be one that this CPU cannot run."""
    symbols = output_of("nm", "-C", compiled(source, tmp_path, "-O1")).splitlines()
    assert any("_f32" in symbol for symbol in symbols), "the table of the kernels is there"
    assert [symbol for symbol in symbols if re.search(r"^\S+ [WVu] ", symbol)] == []


@pytest.mark.parametrize("source", [GEMM, GROUPS], ids=lambda path: path.stem)
def test_products_keep_their_sums_in_registers(source, tmp_path):
    assembly = output_of("objdump", "-d", "-C", "--no-show-raw-insn", compiled(source, tmp_path, "-O3"))
    products = 0
    for function in assembly.split("\n\n"):
        name, _, body = function.partition("\n")
        if "transpose" in name or "pack_panel" in name:
            continue  # these turn blocks of sixteen by sixteen
        products += len(re.findall(r"vfmadd\S* .*%zmm", body))
        spilled = [line for line in body.splitlines() if "%zmm" in line and re.search(r"\(%r[sb]p", line)]
        assert spilled == [], name
    assert products > 500, "tiles of every size are there"
