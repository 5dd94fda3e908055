"""Write the table of ONNX' operators that run, from a run of the ONNX backend test suite on the engine.

    pip install "neocog[onnx]"
    python tools/onnx_coverage.py --output docs/onnx_coverage.md

Cases of other types than float32, int32, int64 and bool are left out, and so are the suite's second forms of cases, in
which an operator is written in terms of others. A result that is not the suite's makes the script fail.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from neocog.engine.graph import GraphError
from neocog.engine.importers.onnx_call import DTYPES, IMPORTERS
from neocog.engine.importers.onnx_read import CORE, OPSETS
from neocog.onnx import backend
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")


@dataclass
class Row:
    """What is known of one operator."""

    passed: int = 0
    cases: int = 0
    reasons: list[str] = field(default_factory=list)  # why the others do not run
    wrong: list[str] = field(default_factory=list)  # names of cases

    @property
    def runs(self) -> bool:
        return self.passed > 0


def coverage() -> dict[str, Row]:
    """Run the suite; a row for each of ONNX' own operators, in the order of their names."""
    rows: defaultdict[str, Row] = defaultdict(Row)
    for name, model, data, rtol, atol in _cases():
        reason, wrong = None, False
        try:
            prepared = backend.prepare(model)
            for inputs, expected in data:
                Runner.assert_similar_outputs(expected, prepared.run(inputs), rtol, max(atol, 1e-6))
        except GraphError as error:
            reason = _in_general(str(error).splitlines()[-1])
        except AssertionError:
            wrong = True
        for op in {node.op_type for node in model.graph.node}:
            row = rows[op]
            row.cases += 1
            row.passed += reason is None and not wrong
            if wrong:
                row.wrong.append(name)
            if reason is not None and reason not in row.reasons:
                row.reasons.append(reason)
    for op in IMPORTERS:
        _ = rows[op]  # also those without a case
    return dict(sorted(rows.items()))


def _cases() -> Iterator[tuple[str, Any, list[Any], float, float]]:
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            folder = None if case.model_dir is None else Path(case.model_dir)
            model = case.model if folder is None else onnx.load(folder / "model.onnx")
            if "_expanded" in case.name or not _is_for_us(model):
                continue
            data = case.data_sets
            if folder is not None:
                data = [(_tensors(d, "input"), _tensors(d, "output")) for d in sorted(folder.glob("test_data_set_*"))]
            yield case.name, model, data, case.rtol, case.atol


def _is_for_us(model: onnx.ModelProto) -> bool:
    """Whether it has our types, and none but ONNX' own operators."""
    ours = set(DTYPES) - {onnx.TensorProto.DOUBLE}
    values = (*model.graph.input, *model.graph.output)
    types = {value.type.tensor_type.elem_type for value in values}
    return types <= ours and all(node.domain in CORE for node in model.graph.node)


def _tensors(folder: Path, kind: str) -> list[np.ndarray]:
    paths = [folder / f"{kind}_{number}.pb" for number in range(len(list(folder.glob(f"{kind}_*.pb"))))]
    return [onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in paths]


def _in_general(reason: str) -> str:
    """A reason without the names and numbers of a case: "y (Conv): it has 3 ..." """
    reason = reason.strip().split("): ", 1)[-1]
    reason = re.sub(r"\('[^']*'\) |: '[^']*' ", lambda found: ": a value " if found[0].startswith(":") else "", reason)
    return re.sub(r"^'[^']*'", "a value", reason)


def table(rows: dict[str, Row]) -> str:
    """The page."""
    running = {op: row for op, row in rows.items() if row.runs or op in IMPORTERS}
    others = {op: row for op, row in rows.items() if op not in running}
    lines = [
        "# ONNX operators",
        "",
        f"Written by `tools/onnx_coverage.py` from a run of the test suite of ONNX {onnx.__version__} on the engine: "
        f"models of opset {OPSETS[0]} to {OPSETS[1]} with data of float32, numbers of int32, int64 and bool. Numbers "
        "(shapes, axes, scales, what is compared or chosen) follow from constants, sizes and integer inputs, not from "
        "data.",
        "",
        f"{len(running)} operators run. Those without an entry for cases have none in the suite of these types; "
        "neocog's own tests have.",
        "",
        "| operator | cases | what does not run |",
        "|---|---|---|",
    ]
    for op, row in running.items():
        cases = f"{row.passed} of {row.cases}" if row.cases else ""
        lines.append(f"| {op} | {cases} | {'; '.join(row.reasons).replace('|', chr(92) + '|')} |")
    lines += ["", f"The suite has cases of {len(others)} others that do not run: {', '.join(others)}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite divides by zero and the like
        rows = coverage()
    arguments.output.write_text(table(rows))
    wrong = sorted({name for row in rows.values() for name in row.wrong})
    for name in wrong:
        print(f"{name}: not the suite's result", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
