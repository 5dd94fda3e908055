"""What the compiler made of the kernels: no symbol that two instruction sets could share, no spilled accumulators."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CPP = ROOT / "cpp"
ISAS = ("avx2", "avx512", "avx512bf16", "amx")
SOURCES = sorted(path for path in CPP.rglob("*.cc") if path.stem.rpartition("_")[2] in ISAS)
GEMM = CPP / "ops" / "gemm" / "gemm_avx512.cc"
GROUPS = CPP / "ops" / "conv" / "winograd_groups_avx512.cc"
WINOGRAD = CPP / "ops" / "conv" / "winograd_avx512.cc"  # whose transforms of 36 values are not all in registers
COMPILER = shutil.which("g++")

pytestmark = [
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs an x86 compiler"),
    pytest.mark.skipif(COMPILER is None, reason="needs g++"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump and nm"),
]


def flags_of(isa: str) -> list[str]:
    match = re.search(rf"set\(NEOCOG_FLAGS_{isa} ([^)]*)\)", (CPP / "CMakeLists.txt").read_text())
    assert match, "cpp/CMakeLists.txt sets the flags"
    flags = []
    for flag in match[1].split():
        other = re.fullmatch(r"\$\{NEOCOG_FLAGS_(\w+)\}", flag)
        flags += flags_of(other[1]) if other else [flag]
    return flags


def built(source: Path) -> Path | None:
    """The object that pip made of a file and linked, if nothing in the sources is newer."""
    newest = max(path.stat().st_mtime for path in CPP.rglob("*") if path.is_file())
    for cache in ROOT.glob("build/cp*/CMakeCache.txt"):
        target = cache.parent / "cpp" / "CMakeFiles" / "neocog_core.dir" / f"{source.relative_to(CPP)}.o"
        release = "CMAKE_BUILD_TYPE:STRING=Release" in cache.read_text()
        if release and target.is_file() and target.stat().st_mtime > newest:
            return target
    return None


def compiled(source: Path, folder: Path, optimisation: str) -> Path:
    found = built(source)
    if found is not None:
        return found
    target = folder / "kernels.o"
    bf16 = ["-DNEOCOG_AVX512_BF16=1", "-DNEOCOG_AMX=1"]
    flags = [optimisation, "-std=c++20", "-fPIC", "-fvisibility=hidden", "-w", f"-I{CPP}", *bf16]
    flags += flags_of(source.stem.rpartition("_")[2])
    subprocess.run([COMPILER, *flags, "-c", source, "-o", target], check=True)
    return target


def output_of(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def test_every_instruction_set_has_files():
    assert {path.stem.rpartition("_")[2] for path in SOURCES} == set(ISAS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_an_instruction_set_leaves_no_symbol_that_another_could_share(source, tmp_path):
    """The linker keeps one copy of a weak symbol, and it may be one that this CPU cannot run."""
    lines = output_of("nm", "-C", compiled(source, tmp_path, "-O1")).splitlines()
    kinds = [re.match(r"[0-9a-f ]*([A-Za-z]) (.*)", line).groups() for line in lines]
    # DW.ref.* is a pointer to the runtime's exception handler: the same for all, and no code.
    assert [name for kind, name in kinds if kind in "WwVvu" and not name.startswith("DW.ref.")] == []
    exported = [name for kind, name in kinds if kind.isupper() and kind not in "UW"]
    assert exported, "the table of the kernels is there"
    home = f"neocog::{source.stem.rpartition('_')[2]}::"
    assert [name for name in exported if not name.startswith(home)] == []


@pytest.mark.parametrize(
    ("source", "functions", "least"),
    [(GEMM, "", 500), (GROUPS, "", 500), (WINOGRAD, "from_taps", 100)],
    ids=["gemm", "winograd_groups", "winograd_from_taps"],
)
def test_products_keep_their_sums_in_registers(source, functions, least, tmp_path):
    assembly = output_of("objdump", "-d", "-C", "--no-show-raw-insn", compiled(source, tmp_path, "-O3"))
    products = 0
    for function in assembly.split("\n\n"):
        name, _, body = function.partition("\n")
        if "transpose" in name or "pack_panel" in name or functions not in name:
            continue  # the first two turn blocks of sixteen by sixteen
        products += len(re.findall(r"vfmadd\S* .*%zmm", body))
        spilled = [line for line in body.splitlines() if "%zmm" in line and re.search(r"\(%r[sb]p", line)]
        assert spilled == [], name
    assert products > least, "tiles of every size are there"
