"""Small networks as files, for the commands that read them; and the commands themselves."""

from __future__ import annotations

import numpy as np
from neocog import cli
from neocog.engine.file import save
from neocog.engine.graph import Graph, Input, Node

WEIGHT = np.float32([[1, 0, 0], [0, 2, 0], [0, 0, 3], [0.5, 0.5, 0.5]])


def classifier(shape=("N", 3, "H", "W")):
    """Scores of four classes from the means of three channels: r, 2 g, 3 b and half of their sum."""
    return Graph(
        inputs=[Input("x", shape)],
        outputs=["scores"],
        nodes=[
            Node("adaptive_avg_pool", ("x",), ("means",), {"output_size": [1, 1]}),
            Node("flatten", ("means",), ("flat",)),
            Node("linear", ("flat", "weight"), ("scores",)),
        ],
        constants={"weight": WEIGHT},
    )


def filter_(channels=3):
    """Pictures to pictures: what is negative becomes 0."""
    return Graph([Input("x", ("N", channels, "H", "W"))], ["y"], [Node("relu", ("x",), ("y",))], {})


def two_inputs():
    """Data and the shape they are brought to."""
    nodes = [Node("reshape", ("x", "shape"), ("y",)), Node("relu", ("x",), ("file",))]
    return Graph([Input("x", ("N", 6)), Input("shape", (2,), "int64")], ["y", "file"], nodes, {})


def write(graph, path):
    save(graph, path)
    return str(path)


def run(capsys, *words):
    """The exit code of a command, what it printed, and what it complained of, which is one line or nothing."""
    code = cli.main([str(word) for word in words])
    printed = capsys.readouterr()
    if code == 2:
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert printed.err.startswith(f"neocog {words[0]}: {words[1]}: ")
    else:
        assert printed.err == ""
    return code, printed.out, printed.err


def picture(folder, name="a.png", size=(20, 30)):
    """Red grows downward, green to the right, blue is one half; height and width."""
    from PIL import Image

    y, x = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([8 * y, 5 * x, np.full_like(x, 128)], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name, pixels.astype(np.float32) / 255
