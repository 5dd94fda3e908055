#!/usr/bin/env bash
# Tests under AddressSanitizer and UndefinedBehaviorSanitizer: the C++ units, then Python tests on the same build.
#
#   tools/asan_tests.sh [pytest arguments]
#
# Without arguments it runs the whole test suite, which takes long. `python` must have numpy, pytest, hypothesis and
# pybind11, and cmake and ninja must be on the path: pip install ".[dev]" hypothesis pytest. Leave torch out of that
# environment: the sanitizers would watch it too.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/asan
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
cmake --preset asan -DPython_EXECUTABLE="$(command -v python)"
cmake --build --preset asan
# The C++ units run beside the Python tests, for one of them takes as long as those.
units=$build/ctest.log
ctest --preset asan -j "$CMAKE_BUILD_PARALLEL_LEVEL" >"$units" 2>&1 &
units_pid=$!

# The package as pip would install it, around the sanitized extension.
stage=$PWD/$build/stage
rm -rf "$stage"
mkdir -p "$stage"
cp -R python/neocog "$stage/neocog"
rm -f "$stage"/neocog/_core*.so
cmake --install "$build" --prefix "$stage" >/dev/null

# The sanitizer must be there before the first allocation, and libstdc++ before the sanitizer looks for its `throw`.
runtime() { "${CXX:-c++}" -print-file-name="$1"; }
sanitized_python() {
  LD_PRELOAD="$(runtime libasan.so) $(runtime libstdc++.so)" PYTHONPATH="$stage" PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 python "$@"
}
sanitized_python -c 'import neocog._core as core; assert "address" in core.build_info()["sanitizer"], core.__file__'
status=0
sanitized_python -m pytest -p no:cacheprovider "$@" || status=$?
wait "$units_pid" || status=$?
cat "$units"
exit "$status"
