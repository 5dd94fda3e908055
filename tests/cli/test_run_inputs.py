"""What `neocog run` makes of pictures, files and words: arrays, held against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from command_models import picture
from neocog import cli
from neocog.cli._inputs import Wanted, make_inputs, named_file, numbers, plane, positive_numbers
from neocog.cli._models import CommandError
from neocog.cli._pictures import Preparation, read_batch
from neocog.engine.graph import Input

pytest.importorskip("PIL", reason="Pillow is not installed")


# Pictures


def test_a_picture_is_channels_first_by_shape_and_channels_last_in_memory(tmp_path):
    path, pixels = picture(tmp_path)
    batch = read_batch([path, path], 3, Preparation())
    assert batch.dtype == np.float32
    assert batch.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_allclose(batch, np.stack([pixels, pixels]).transpose(0, 3, 1, 2), rtol=1e-6)


def test_mean_and_std_are_per_channel(tmp_path):
    path, pixels = picture(tmp_path)
    batch = read_batch([path], 3, Preparation(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0)))
    expected = (pixels - np.float32([0.1, 0.2, 0.3])) / np.float32([0.5, 1, 2])
    np.testing.assert_allclose(batch[0], expected.transpose(2, 0, 1), atol=1e-6)
    one = read_batch([path], 3, Preparation(mean=(0.5,), std=(0.25,)))
    np.testing.assert_allclose(one[0], ((pixels - 0.5) / 0.25).transpose(2, 0, 1), atol=1e-6)


def test_the_middle_is_cut_out_of_what_covers_the_size(tmp_path):
    path, pixels = picture(tmp_path, size=(20, 30))
    whole = read_batch([path], 3, Preparation(size=(20, 20)))
    np.testing.assert_allclose(whole[0], pixels[:, 5:25].transpose(2, 0, 1), rtol=1e-6)
    # Scaled by 2: the green ramp goes on, from the middle of the first pixel to that of the last.
    twice = read_batch([path], 3, Preparation(size=(40, 20)))
    assert twice.shape == (1, 3, 40, 20)
    middle = pixels[:, 10:20, 1].mean()
    assert twice[0, 1].mean() == pytest.approx(middle, abs=0.01)


@pytest.mark.parametrize(
    ("size", "resize", "shape"),
    [
        (None, None, (20, 30)),
        (None, 40, (40, 60)),
        ((16, 16), 16, (16, 16)),
        ((32, 50), None, (32, 50)),
        ((7, 90), None, (7, 90)),
        ((20, 30), 20, (20, 30)),
    ],
)
def test_sizes(tmp_path, size, resize, shape):
    path, _ = picture(tmp_path)
    assert read_batch([path], 3, Preparation(size, resize)).shape == (1, 3, *shape)


def test_one_channel_is_luma(tmp_path):
    path, pixels = picture(tmp_path)
    luma = read_batch([path], 1, Preparation())[0, 0]
    np.testing.assert_allclose(luma, pixels @ np.float32([0.299, 0.587, 0.114]), atol=0.003)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            Preparation((32, 32), 16),
            r"a.png is 16x24 pixels after --resize 16, which is less than --size 32x32; resize",
        ),
        (Preparation(mean=(0.0, 0.0)), "--mean has 2 numbers, but the network 3 channels; give 1 or 3"),
        (Preparation(std=(1.0,) * 4), "--std has 4 numbers, but the network 3 channels"),
        (Preparation(), r"b.png is 20x20 pixels, and .*a.png is 20x30; make them one --size"),
    ],
    ids=["too_small", "mean", "std", "sizes"],
)
def test_pictures_that_do_not_fit_are_refused(tmp_path, how, message):
    paths = [picture(tmp_path)[0], picture(tmp_path, "b.png", (20, 20))[0]]
    with pytest.raises(CommandError, match=message):
        read_batch(paths, 3, how)


# Inputs


def test_inputs_that_are_not_given_are_random_and_say_so():
    inputs = [Input("x", ("N", 3, "H", "W")), Input("sound", ("N", 1, "L")), Input("codes", ("N", 7))]
    given = make_inputs(inputs, Wanted(batch=2, preparation=Preparation((32, 48)), seed=5))
    assert [g.array.shape for g in given] == [(2, 3, 32, 48), (2, 1, 48), (2, 7)]
    assert {g.origin for g in given} == {"random numbers, seed 5"}
    again = make_inputs(inputs, Wanted(batch=2, preparation=Preparation((32, 48)), seed=5))
    other = make_inputs(inputs, Wanted(batch=2, preparation=Preparation((32, 48)), seed=6))
    for one, same, different in zip(given, again, other, strict=True):
        np.testing.assert_array_equal(one.array, same.array)
        assert not np.array_equal(one.array, different.array)


def test_open_sizes_have_usual_values_and_fixed_ones_hold():
    inputs = [Input("x", ("N", 3, "H", 100)), Input("sound", (4, 1, "L")), Input("same", ("N", 1, "H", "H"))]
    given = make_inputs(inputs, Wanted())
    assert [g.array.shape for g in given] == [(1, 3, 224, 100), (4, 1, 16000), (1, 1, 224, 224)]


def test_a_size_that_a_file_gives_holds_for_random_inputs(tmp_path):
    np.save(tmp_path / "b.npy", np.zeros((5, 2), np.float32))
    inputs = [Input("a", ("N", 3)), Input("b", ("N", 2))]
    given = make_inputs(inputs, Wanted(files=[("b", tmp_path / "b.npy")]))
    assert [g.array.shape for g in given] == [(5, 3), (5, 2)]


def test_files_are_cast_where_nothing_is_lost_but_precision(tmp_path):
    np.save(tmp_path / "a.npy", np.float64([[0.1, 2.0]]))
    (given,) = make_inputs([Input("a", ("N", 2))], Wanted(files=[("", tmp_path / "a.npy")]))
    assert given.array.dtype == np.float32
    np.save(tmp_path / "a.npy", np.float64([1.5, 2.0]))
    with pytest.raises(CommandError, match=r"has the dtype float64, and the network takes int64; convert it"):
        make_inputs([Input("a", (2,), "int64")], Wanted(files=[("", tmp_path / "a.npy")]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.unlink(), "is no file; check the path"),
        (lambda path: path.write_bytes(b""), "cannot be read .*; write it with numpy.save"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "cannot be read .*; write it with numpy.save"),
        (lambda path: np.save(path, np.array([{}], object)), "cannot be read .*allow_pickle=False"),
        (lambda path: path.write_bytes(npz(path)), "holds several arrays; write one with numpy.save"),
    ],
    ids=["missing", "empty", "cut_off", "pickle", "npz"],
)
def test_a_file_that_is_no_array_is_refused(tmp_path, make, message):
    path = tmp_path / "a.npy"
    np.save(path, np.float32([[1, 2]]))
    make(path)
    with pytest.raises(CommandError, match=message):
        make_inputs([Input("a", ("N", 2))], Wanted(files=[("", path)]))


def npz(path):
    np.savez(path.with_suffix(".npz"), a=1)
    return path.with_suffix(".npz").read_bytes()


@pytest.mark.parametrize(
    ("inputs", "wanted", "message"),
    [
        (
            [Input("a", (1,)), Input("b", (1,))],
            {"files": [("", "f")]},
            "--input f must say which input it is, as a=f: a, b",
        ),
        ([Input("a", (1,))], {"files": [("z", "f")]}, "--input z=f names no input of the network; it has a"),
        ([Input("a", ("N", "D"))], {}, r"the size D of its input a \(N, D\) is open; give --input a=FILE.npy"),
        ([Input("n", (2,), "int64")], {}, r"the network needs n, int64 \(2\); give --input n=FILE.npy"),
        ([Input("a", ("N", 6))], {"pictures": ["f"]}, r"one input of pictures, .*; this one has a \(N, 6\)"),
        ([Input("a", ("N", 4, 8, 8))], {"pictures": ["f"]}, r"this one has a \(N, 4, 8, 8\)"),
        ([Input(n, ("N", 3, 8, 8)) for n in "ab"], {"pictures": ["f"]}, r"this one has a .*, b "),
        ([Input("a", (2, 3, 8, 8))], {"pictures": ["f"]}, "takes 2 pictures at once, and --image gives 1; give 2"),
        (
            [Input("a", (1, 3, 8, 8))],
            {"pictures": ["f"], "preparation": Preparation((9, 8))},
            "--size is 9x8, but the network takes 8x8; leave it out",
        ),
    ],
    ids=[
        *("nameless", "unknown", "open_size", "numbers", "no_pictures", "four_channels", "two_takers", "batch", "size"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, wanted, message):
    with pytest.raises(CommandError, match=message):
        make_inputs(inputs, Wanted(**wanted))


def test_a_file_for_an_input_that_has_one_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.float32([1]))
    with pytest.raises(CommandError, match="gives the input a a second time; give it once"):
        make_inputs([Input("a", (1,))], Wanted(files=[("a", tmp_path / "a.npy")] * 2))


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (plane, "224", (224, 224)),
        (plane, "224x320", (224, 320)),
        (numbers, "0.5,-1,2e-1", (0.5, -1.0, 0.2)),
        (positive_numbers, "2", (2.0,)),
        (named_file, "x=a=b.npy", ("x", "a=b.npy")),
        (named_file, "a.npy", ("", "a.npy")),
    ],
)
def test_words_are_parsed(parse, text, value):
    assert tuple(map(str, parse(text))) == tuple(map(str, value))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--size", "224x", "'224x' is no size; write it like 224 or 224x320, height first"),
        ("--size", "0", "'0' is no size"),
        ("--size", "1x2x3", "'1x2x3' is no size"),
        ("--mean", "0.5;0.5", "'0.5;0.5' are no numbers; write them like 0.485,0.456,0.406"),
        ("--std", "0.5,0", "'0.5,0' must be above 0"),
        ("--std", "nan", "'nan' must be above 0"),
        ("--batch", "-1", "'-1' is not a whole number of at least 1"),
    ],
)
def test_words_that_make_no_sense_are_code_2(capsys, option, value, message):
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "a.neocog", f"{option}={value}"])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
