"""What runs here: versions, processor, instruction set, threads, libraries."""

from __future__ import annotations

import os
from typing import Any

from neocog import _core

# Optional packages by the names they are installed under, with the extra that asks for each.
OPTIONAL = {
    "torch": "torch",
    "keras": "keras",
    "onnx": "onnx",
    "onnxruntime": None,
    "pillow": "demo",
    "scikit-image": "demo",
    "matplotlib": "viz",
}

_THREAD_VARIABLES = ("NEOCOG_NUM_THREADS", "OMP_NUM_THREADS")  # the first one wins


def show_config() -> dict[str, Any]:
    """Describe this installation and this process; nothing optional is imported for it.

    Returns:
        A new dict of strings, numbers, lists and dicts, ready for JSON:

        - `neocog`, `python`, `numpy`: versions; `platform`: the operating system.
        - `cpu`: `model`, `count` of logical processors, and how many are `usable` by this process.
        - `isa`: `active`, `available`, and `override`, the value of NEOCOG_ISA or None.
        - `bf16`: the same of what multiplies bfloat16 numbers, and NEOCOG_BF16.
        - `threads`: `count`, `source`, and `environment`, the variables that are set.
        - `openmp`: paths of the OpenMP runtimes that this process holds; None where the system cannot tell.
        - `build`: `compiler`, `build_type`, `cxx_standard`, `openmp` and `sanitizer` of the compiled core.
        - `packages`: the version of each optional package, or None.
    """
    # Here, and not at the top of the file, so that `import neocog` does not pay for them.
    import platform

    import numpy as np

    import neocog

    return {
        "neocog": neocog.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": {"model": _cpu_model(), "count": os.cpu_count(), "usable": _usable_cpus()},
        "isa": {
            "active": _core.active_isa(),
            "available": list(_core.available_isas()),
            "override": os.environ.get("NEOCOG_ISA") or None,
        },
        "bf16": {
            "active": _core.active_bf16_unit(),
            "available": list(_core.available_bf16_units()),
            "override": os.environ.get("NEOCOG_BF16") or None,
        },
        "threads": _threads(),
        "openmp": _openmp_runtimes(),
        "build": dict(_core.build_info()),
        "packages": {name: _version_of(name) for name in OPTIONAL},
    }


def _cpu_model() -> str:
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _usable_cpus() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count()


def _threads() -> dict[str, Any]:
    count = int(_core.get_num_threads())
    environment = {name: os.environ[name] for name in _THREAD_VARIABLES if os.environ.get(name)}
    return {"count": count, "source": _threads_source(count, environment), "environment": environment}


def _threads_source(count: int, environment: dict[str, str]) -> str:
    """What explains the number: the first setting, by precedence, that asks for just that many."""
    own, openmp = (environment.get(name, "") for name in _THREAD_VARIABLES)
    if own.isdecimal() and int(own) > 0:
        return "NEOCOG_NUM_THREADS" if int(own) == count else "neocog.set_num_threads"
    if openmp.split(",")[0].strip() == str(count):  # it may list one number per nesting level
        return "OMP_NUM_THREADS"
    if not openmp and count == _usable_cpus():
        return "all processors that this process may use"
    return "neocog.set_num_threads or the OpenMP runtime"


def _openmp_runtimes() -> list[str] | None:
    """Paths of the OpenMP libraries mapped into this process: two of them would compete for the cores."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
            paths = {fields[5].strip() for line in lines if len(fields := line.split(maxsplit=5)) == 6}
    except OSError:
        return None
    return sorted(path for path in paths if os.path.basename(path).startswith(("libgomp", "libomp", "libiomp")))


def _version_of(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
