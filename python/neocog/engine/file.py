"""`.neocog` files: a graph and its weights, in the safetensors format.

A file is data: 8 bytes with the length of the header (little-endian), the header, which is JSON and padded with spaces
so that the data begin at a multiple of 64, and the data: dense little-endian arrays, one after the other without gaps.
The header has the dtype, shape and place of each tensor, and strings under "__metadata__": the graph
(`file_graph.py`) as "neocog.graph", the sizes it was prepared for (`prepared.py`) as "neocog.prepared", the version
that made the file as "neocog.version", and those of the user.
Any program that reads safetensors reads the weights: they are stored as the graph has them, packed for no processor.

Loading executes nothing, trusts nothing, and copies no weights: they are views into the mapped file.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from neocog import _core
from neocog.engine import file_json, prepared
from neocog.engine.file_graph import DTYPES, NewerFormatError, check_format, from_document, to_document
from neocog.engine.graph import Array, Graph, GraphError

ALIGNMENT = 64  # a cache line: of the first tensor, and of all whose size is a multiple of it
# Parsed, it may take 30 times as much memory. Ten thousand layers take a tenth.
MAX_HEADER = 32 * 2**20
MAX_DIMENSIONS = 32  # NumPy's limit before version 2

_METADATA, _RESERVED = "__metadata__", "neocog."
_GRAPH, _PREPARED, _MADE_BY = "neocog.graph", "neocog.prepared", "neocog.version"
_AGAIN = "the file is damaged: copy it again, or save the model again"
_SAFETENSORS_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class FileError(ValueError):
    """A `.neocog` file that cannot be used; the message names it, what is wrong with it, and the repair."""


class _Damage(ValueError):
    """What is wrong with a file, and the repair."""

    def __init__(self, problem: str, repair: str = _AGAIN) -> None:
        super().__init__(problem)
        self.repair = repair


# Saving


def save(
    graph: Graph,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    sizes: Sequence[prepared.Sizes] = (),
) -> None:
    """Write a graph and its weights to one file.

    The file appears whole or not at all: it is written beside `path` and then takes its place. Equal graphs make equal
    bytes; equal constants are stored once.

    Args:
        graph: Constants are bool, integers, float16, float32 or float64, in any memory layout and byte order.
        path: Where the file goes, `model.neocog`; a file of that name is replaced.
        metadata: Strings for people and programs, as a licence or the names of classes; `read_metadata` returns them.
        sizes: Those that loading prepares for.
    Raises:
        GraphError: The graph is not well-formed, or holds what a file cannot; the message names it.
        ValueError: A key of `metadata` begins with "neocog.", or `path` is no place for a file.
        TypeError: `metadata` holds something else than strings.
        OSError: The file cannot be written.
    """
    graph.validate()
    tensors, names = _distinct(graph.constants)
    document = to_document(graph, names)
    from_document(document, tensors)  # what could not be loaded again is refused now
    sizes_document = prepared.to_document(sizes)
    prepared.from_document(sizes_document, graph)
    try:
        strings = {**_user_metadata(metadata), _GRAPH: file_json.dumps(document), _MADE_BY: _core.__version__}
        if sizes:
            strings[_PREPARED] = file_json.dumps(sizes_document)
        header, order = _header(strings, tensors)
    except UnicodeEncodeError as error:
        raise GraphError(f"the string {error.object!r} is no Unicode text: it has half of a surrogate pair.") from error
    if len(header) > MAX_HEADER:
        raise GraphError(f"the graph takes {len(header)} bytes without its weights; the most is {MAX_HEADER}.")
    _replace(path, [len(header).to_bytes(8, "little"), header], [tensors[name] for name in order])


def _user_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"`metadata` has {key!r}: {value!r}; both must be strings.")
        if key.startswith(_RESERVED):
            raise ValueError(f"`metadata` has the key {key!r}; those with {_RESERVED!r} are the format's own.")
    return dict(metadata or {})


def _distinct(constants: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays without duplicates by the names of their tensors, and for each constant the name of its tensor."""
    import hashlib

    tensors: dict[str, Array] = {}
    names: dict[str, str] = {}
    seen: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    for name in sorted(constants):
        array = np.asarray(constants[name])
        # Other kinds, as strings, need not have a byte order.
        dtype = array.dtype.newbyteorder("<") if array.dtype.kind in "biuf" else array.dtype
        if dtype not in _SAFETENSORS_NAMES:
            allowed = ", ".join(d.name for d in DTYPES.values())
            raise GraphError(f"constant {name!r} has the dtype {array.dtype}; a file holds {allowed}.")
        if array.ndim > MAX_DIMENSIONS:
            raise GraphError(f"constant {name!r} has {array.ndim} axes; the most is {MAX_DIMENSIONS}.")
        key = (str(dtype), array.shape, hashlib.blake2b(_bytes(array)).digest())
        tensor = seen.setdefault(key, name if name != _METADATA else _fresh(constants))
        tensors.setdefault(tensor, array)
        names[name] = tensor
    return tensors, names


def _fresh(constants: Mapping[str, Array]) -> str:
    """A name for the tensor of a constant with the one name that safetensors has taken."""
    name = f"{_METADATA}_"
    while name in constants:
        name += "_"
    return name


def _header(strings: Mapping[str, str], tensors: Mapping[str, Array]) -> tuple[bytes, list[str]]:
    """The header, and the tensors in the order in which their data follow."""

    # Gaps are not allowed. Sizes with the most factors of two come first: each tensor then begins at a multiple of the
    # power of two that divides its own size, which its dtype always does.
    def place(name: str) -> tuple[int, str]:
        return -math.gcd(tensors[name].nbytes, ALIGNMENT), name

    order = sorted(tensors, key=place)
    header: dict[str, Any] = {_METADATA: dict(sorted(strings.items()))}
    end = 0
    for name in order:
        array = tensors[name]
        begin, end = end, end + array.nbytes
        kind = _SAFETENSORS_NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = file_json.dumps(header).encode()
    return text + b" " * (-(8 + len(text)) % ALIGNMENT), order


def _bytes(array: Array) -> memoryview:
    """The elements in C order and little-endian; a copy only where they are not."""
    dense = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return dense.reshape(-1).view(np.uint8).data


def _replace(path: str | os.PathLike[str], head: list[bytes], arrays: list[Array]) -> None:
    """Write a file beside `path`, then let it take that place; whatever fails leaves things as they were."""
    import secrets

    target = os.path.realpath(os.fspath(path))  # of a link, the file it stands for
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "There is no such folder; make it first", folder)
    mode = None
    if os.path.exists(target):
        mode = os.stat(target).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"`path` is {os.fspath(path)!r}, which is no regular file; give the path of a file.")
    temporary = os.path.join(folder, f".neocog-{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.writelines(head)
            for array in arrays:
                file.write(_bytes(array))
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


# Loading


class Saved(NamedTuple):
    """What a file holds: a graph, and the sizes it was prepared for."""

    graph: Graph
    sizes: list[prepared.Sizes]


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a graph; nothing in the file is executed, and anything may be in it.

    Args:
        path: A file that `save` made. While the graph is in use, replace it but do not write into it.
    Returns:
        A graph that is well-formed. Its constants are read-only views into the mapped file: weights are read when they
        are first used, and the file stays mapped as long as one of them lives.
    Raises:
        FileError: It is damaged, made by a newer version, or something else altogether.
        OSError: There is no such file, or it cannot be opened.
    """
    return read(path).graph


def read(path: str | os.PathLike[str]) -> Saved:
    """The same with the sizes, which fit the graph's inputs, but maybe not its layers."""
    try:
        data = _mapped(path)
        header, start = _read_header(data)
        strings, document = _read_metadata(header)
        arrays = {t.name: _view(data[start:], t) for t in _tensors(header, start, data.size - start)}
        graph = from_document(document, arrays)
        graph.validate()
        sizes = prepared.from_document(_parsed("prepared sizes", strings.get(_PREPARED, "[]")), graph)
    except (_Damage, GraphError) as error:
        raise file_error(path, error) from error
    return Saved(graph, sizes)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings that `save` was given, and as "neocog.version" the version that made the file.

    Raises:
        FileError: The header is damaged, made by a newer version, or that of something else altogether.
        OSError: There is no such file, or it cannot be opened.
    """
    try:
        header, _ = _read_header(_mapped(path))
        strings, _ = _read_metadata(header)
    except (_Damage, GraphError) as error:
        raise file_error(path, error) from error
    strings.pop(_PREPARED, None)
    return strings


def file_error(path: str | os.PathLike[str], error: Exception) -> FileError:
    """What is wrong with a file as an error that names it and the repair."""
    repair = getattr(error, "repair", _AGAIN)
    if isinstance(error, NewerFormatError):
        repair = "it was made by a newer neocog: pip install --upgrade neocog"
    problem = str(error).rstrip(".")
    if len(problem) > 300:
        problem = f"{problem[:200]} ... {problem[-97:]}"
    return FileError(f"{os.fspath(path)}: {problem}; {repair}")


def _mapped(path: str | os.PathLike[str]) -> Array:
    """The bytes of a file, read-only, read on use."""
    path = os.fspath(path)
    mode = os.stat(path).st_mode  # before it is opened: to open a pipe is to wait for a writer
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise _Damage(f"it is {what}", "give the path of a .neocog file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise _Damage(f"it has {size} bytes, and the length of the header alone has 8")
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def _read_header(data: Array) -> tuple[dict[str, Any], int]:
    """The header, and where the data begin."""
    length = int.from_bytes(data[:8].tobytes(), "little")
    other = "is it another kind of file? `neocog convert` makes a .neocog file from an ONNX file"
    if length > MAX_HEADER:
        raise _Damage(
            f"its header would have {length} bytes, where {MAX_HEADER} is the most", f"{other}; else {_AGAIN}"
        )
    if 8 + length > data.size:
        raise _Damage(f"it ends after {data.size} bytes, and its header after {8 + length}")
    raw = data[8 : 8 + length].tobytes()
    if raw[:1] != b"{":
        raise _Damage("its header does not begin with '{'", f"{other}; else {_AGAIN}")
    try:
        header = file_json.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise _Damage(f"its header is not UTF-8 ({error.reason} at byte {8 + error.start})") from error
    except file_json.JsonError as error:
        raise _Damage(f"its header {error}") from error
    if not isinstance(header, dict):
        raise _Damage("its header is not an object")
    return header, 8 + length


def _read_metadata(header: dict[str, Any]) -> tuple[dict[str, str], Any]:
    """The strings of the header, and the graph among them as JSON values of this version."""
    strings = header.get(_METADATA, {})
    if not isinstance(strings, dict) or not all(isinstance(value, str) for value in strings.values()):
        raise _Damage(f"its {_METADATA!r} is not an object of strings")
    if _GRAPH not in strings:
        hint = "load it with the safetensors package, or make a .neocog file with `neocog convert`"
        raise _Damage(f"it holds tensors but no graph (no {_GRAPH!r} among its metadata)", hint)
    document = _parsed("graph", strings[_GRAPH])
    check_format(document)
    return {key: value for key, value in strings.items() if key != _GRAPH}, document


def _parsed(what: str, text: str) -> Any:
    try:
        return file_json.loads(text)
    except file_json.JsonError as error:
        raise _Damage(f"its {what} {error}") from error


class _Tensor(NamedTuple):
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def _tensors(header: dict[str, Any], start: int, size: int) -> Iterator[_Tensor]:
    """What the header says of each tensor; together they fill the data, of `size` bytes, without gaps."""
    tensors = [_tensor(name, fields, start, size) for name, fields in header.items() if name != _METADATA]
    tensors.sort(key=lambda t: (t.begin, t.end))
    filled = 0
    for tensor in tensors:
        if tensor.begin != filled:
            how = "overlaps the one before it" if tensor.begin < filled else "follows a gap"
            raise _Damage(f"the tensor {tensor.name!r} at bytes {tensor.begin} to {tensor.end} of the data {how}")
        filled = tensor.end
        yield tensor
    if filled != size:
        raise _Damage(f"its tensors take {filled} bytes, and {size} follow the header")


def _tensor(name: str, fields: Any, start: int, size: int) -> _Tensor:
    where = f"the tensor {name!r}"
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise _Damage(f"{where} is {fields!r}; it must have dtype, shape and data_offsets, and nothing else")
    kind, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise _Damage(f"{where} has the dtype {kind!r}; it must be one of {', '.join(DTYPES)}", "save the model again")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise _Damage(f"{where} has the shape {shape!r}; it must be a list of integers from 0 to 2^63 - 1")
    if len(shape) > MAX_DIMENSIONS:
        raise _Damage(f"{where} has {len(shape)} axes; the most is {MAX_DIMENSIONS}")
    right = isinstance(offsets, list) and len(offsets) == 2 and all(type(n) is int for n in offsets)
    if not right or not 0 <= offsets[0] <= offsets[1] <= size:
        raise _Damage(f"{where} has data_offsets {offsets!r}; they must be two integers from 0 to {size}, in order")
    begin, end = offsets
    dtype = DTYPES[kind]
    # NumPy multiplies the sizes that are not zero, even of an array without elements.
    if math.prod(n for n in shape if n) * dtype.itemsize >= 2**63:
        raise _Damage(f"{where} has the shape {shape}, which is too large")
    needed = math.prod(shape) * dtype.itemsize
    if end - begin != needed:
        raise _Damage(f"{where} of shape {shape} and dtype {kind} needs {needed} bytes, and has {end - begin}")
    if (start + begin) % dtype.itemsize:
        raise _Damage(f"{where} begins at byte {start + begin}, which is no multiple of {dtype.itemsize}")
    return _Tensor(name, dtype, tuple(shape), begin, end)


def _view(data: Array, tensor: _Tensor) -> Array:
    raw = data[tensor.begin : tensor.end]
    if tensor.dtype == np.bool_ and raw.max(initial=0) > 1:
        raise _Damage(f"the tensor {tensor.name!r} has a bool that is neither 0 nor 1")
    return raw.view(tensor.dtype).reshape(tensor.shape)
