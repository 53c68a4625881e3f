"""`inksight predict` and the conversion of pictures, strokes and arrays."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from inksight.bundle import Classifier, load
from inksight.bundle.answers import answer
from inksight.bundle.inputs import drawings_to_images, open_picture, to_input
from inksight.cli import app
from inksight.data.photos import decode
from inksight.drawing.render import render
from inksight.errors import BundleError, DrawingError, NotFoundError, UsageError
from inksight.workspace import workspace
from tests.bundle.conftest import CLASSES

SIMPLIFIED = [[[0, 255, 128, 0], [0, 0, 200, 0]]]
RAW = [[[10.5, 300.25, 150.0, 10.5], [20.0, 20.0, 250.0, 20.0], [0, 10, 20, 30]]]

runner = CliRunner()


def picture(folder: Path, name: str = "tree.png", size: int = 120) -> Path:
    """Write a picture of a thick black circle on white."""
    y, x = np.mgrid[:size, :size] - size / 2
    ink = abs(np.hypot(x, y) - size / 3) < 4
    path = folder / name
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).save(path)
    return path


def test_pictures_paths_bytes_and_arrays_are_one(saved: Path, tmp_path: Path) -> None:
    model = load(saved)
    path = picture(tmp_path)
    with Image.open(path) as opened:
        image = opened.copy()
    expected = model.predict_proba(path)
    assert expected.shape == (1, len(CLASSES))
    for given in ([path], str(path), image, [image], [np.asarray(image)], np.asarray(image), np.asarray(image)[None]):
        np.testing.assert_array_equal(model.predict_proba(given), expected)
    assert model.predict([path, path]) == model.predict(path) * 2
    assert np.array_equal(to_input(path.read_bytes(), model.description), to_input(path, model.description))


def test_an_array_of_the_models_size_is_taken_as_it_is(saved: Path, bitmaps: NDArray[np.uint8]) -> None:
    model = load(saved)
    np.testing.assert_array_equal(model.predict_proba(bitmaps[0]), model.predict_proba(bitmaps[:1]))
    np.testing.assert_allclose(model.predict_proba(list(bitmaps)), model.predict_proba(bitmaps), atol=1e-7)


def test_rows_of_a_file_of_bitmaps_are_bitmaps(saved: Path, bitmaps: NDArray[np.uint8]) -> None:
    model = load(saved)
    rows = bitmaps.reshape(len(bitmaps), 784)
    np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(bitmaps))
    np.testing.assert_array_equal(model.predict_proba(rows[:1]), model.predict_proba(bitmaps[:1]))


def test_wrong_arrays_are_refused(saved: Path) -> None:
    model = load(saved)
    for shares in (np.full((2, 28, 28), 0.5, np.float32), np.ones((2, 28, 28), bool)):
        with pytest.raises(UsageError, match="uint8") as refused:
            model.predict(shares)
        assert "(255 * images).astype('uint8')" in refused.value.hint
    with pytest.raises(UsageError, match="not int64") as refused:
        model.predict(np.full((2, 28, 28), 255))
    assert refused.value.hint == "Convert with images.astype('uint8')."
    for shape in ((784,), (1, 1, 1, 28, 28), (2, 0, 5)):
        with pytest.raises(UsageError, match="holds no images"):
            model.predict(np.zeros(shape, np.uint8))
    with pytest.raises(UsageError, match="a int is not an image"):
        model.predict([3])


def test_strokes_raw_and_simplified(saved: Path) -> None:
    model = load(saved)
    images = drawings_to_images([SIMPLIFIED, RAW], model.description)
    assert np.array_equal(images[0], render(SIMPLIFIED))
    assert images[1].max() == 255
    assert model.predict_strokes([SIMPLIFIED, RAW]) == model.predict(images)
    assert model.predict_strokes([]) == []
    with pytest.raises(DrawingError, match="drawing 1"):
        model.predict_strokes([SIMPLIFIED, []])


def test_photo_models_take_pictures_but_no_strokes(saved_photos: Path, tmp_path: Path) -> None:
    model = load(saved_photos)
    with pytest.raises(UsageError, match="takes photos"):
        model.predict_strokes([SIMPLIFIED])
    rng = np.random.default_rng(0)
    path = tmp_path / "p.png"
    Image.fromarray(rng.integers(0, 255, (40, 60, 4), dtype=np.uint8)).save(path)
    assert to_input(path, model.description).shape == (32, 32, 3)


def test_photos_are_turned_and_cropped_to_the_middle(saved_photos: Path) -> None:
    description = load(saved_photos).description
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :32] = (255, 0, 0)  # outside the middle square
    pixels[:, 32:64] = (0, 255, 0)  # the left half of it
    upright = to_input(Image.fromarray(pixels), description)
    assert upright[16, 8].tolist() == [0, 255, 0]
    assert upright[16, 24].tolist() == [0, 0, 0]
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    turned = to_input(stream.getvalue(), description)
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))


@pytest.mark.parametrize(("mode", "format"), [("RGB", "JPEG"), ("CMYK", "JPEG"), ("I;16", "PNG"), ("RGBA", "TIFF")])
def test_a_photo_is_read_as_it_was_for_training(saved_photos: Path, mode: str, format: str) -> None:
    """The model must see what it learnt from: the same turn, colours and resampling, to the last bit."""
    random = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65_536, (300, 200), dtype=np.uint16))
    else:
        channels = 3 if mode == "RGB" else 4
        image = Image.fromarray(random.integers(0, 256, (300, 200, channels), dtype=np.uint8), mode=mode)
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(stream, format, exif=exif)
    expected, _ = decode(stream.getvalue(), 32)
    np.testing.assert_array_equal(to_input(stream.getvalue(), load(saved_photos).description), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_pictures_of_every_mode(saved: Path, saved_photos: Path, mode: str) -> None:
    image = Image.new("I;16", (50, 40)) if mode == "I;16" else Image.new("L", (50, 40), 200).convert(mode)
    for folder in (saved, saved_photos):
        assert load(folder).predict_proba(image).shape == (1, len(CLASSES))


def test_broken_pictures_are_refused() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(stream, "PNG")
    data = stream.getvalue()
    for broken in (
        b"",
        b"hello",
        data[:200],
        data[: len(data) // 2],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ):
        with pytest.raises(UsageError, match="picture"):
            open_picture(broken, "x.png")


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    assert len(stream.getvalue()) < 60_000
    with pytest.raises(UsageError, match="more than 100,000,000 pixels"):
        open_picture(stream.getvalue(), "bomb.png")


def make_folder(folder: Path) -> Path:
    """Write a folder with one of everything, two of them broken."""
    (folder / "sub").mkdir(parents=True)
    picture(folder, "a.png")
    picture(folder / "sub", "b.jpg")
    (folder / "broken.png").write_bytes(b"\x89PNG nonsense")
    (folder / "one.json").write_text(json.dumps({"strokes": RAW}, indent=1))
    lines = [json.dumps({"word": "cat", "drawing": SIMPLIFIED}), "", "{not json", json.dumps(SIMPLIFIED)]
    (folder / "many.ndjson").write_text("\n".join(lines))
    np.save(folder / "bitmaps.npy", np.zeros((3, 784), np.uint8))
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not for the model")
    return folder


def test_everything_in_a_folder_is_answered_or_reported(saved: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in")
    answers = list(answer(load(saved), [str(folder)], top=2))
    places = [(Path(one.file).name, one.item, one.error is None) for one in answers]
    assert places == [
        ("a.png", None, True),
        ("bitmaps.npy", 1, True),
        ("bitmaps.npy", 2, True),
        ("bitmaps.npy", 3, True),
        ("broken.png", None, False),
        ("many.ndjson", 1, True),
        ("many.ndjson", 2, False),
        ("many.ndjson", 3, True),
        ("one.json", None, True),
        ("b.jpg", None, True),
    ]
    assert answers[5].predictions == answers[7].predictions
    assert all(len(one.predictions) == 2 for one in answers if one.error is None)


def test_the_command_answers_the_rest_and_exits_with_2(saved: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in")
    done = runner.invoke(app, ["predict", str(saved), str(folder), "--json", "--top", "2"])
    assert done.exit_code == 2
    rows = json.loads(done.stdout)
    assert len(rows) == 10
    assert {"label", "probability"} == set(rows[0]["predictions"][0])
    assert rows[4]["error"]["code"] == "invalid"
    done = runner.invoke(app, ["predict", str(saved), str(folder / "a.png"), str(folder / "sub")])
    assert done.exit_code == 0
    assert "a.png" in done.stdout
    assert "b.jpg" in done.stdout


def test_answers_below_the_bar_are_marked_unsure(saved: Path, tmp_path: Path) -> None:
    path = str(picture(tmp_path))
    probability = next(answer(load(saved), [path])).predictions[0][1]
    for bar, unsure in ((probability - 0.01, False), (min(1.0, probability + 0.01), probability < 1)):
        done = runner.invoke(app, ["predict", str(saved), path, "--unsure-below", str(max(bar, 0.0)), "--json"])
        assert json.loads(done.stdout)[0]["unsure"] is unsure
    blank = tmp_path / "blank.npy"
    np.save(blank, np.zeros((1, *load(saved).image_shape), np.uint8))
    assert next(answer(load(saved), [str(blank)], unsure_below=0.0)).unsure


def test_a_lone_dot_is_unsure_as_at_the_service(saved: Path, tmp_path: Path) -> None:
    model, file = load(saved), tmp_path / "taps.ndjson"
    taps = [[[[5], [5]]], [[[5, 7, 6], [5, 8, 8]]], [[[5, 9], [5, 5]]], [[[5], [5]], [[90], [90]]]]
    file.write_text("\n".join(json.dumps(tap) for tap in taps))
    assert [one.unsure for one in answer(model, [str(file)], unsure_below=0.0)] == [True, True, False, False]


def _dots(folder: Path) -> list[str]:
    """Write a dot as a picture, as a picture of a bitmap's size and as a bitmap; returns the paths."""
    y, x = np.mgrid[:400, :400]
    Image.fromarray(np.where(np.hypot(x - 250, y - 90) < 8, 0, 255).astype(np.uint8)).save(folder / "large.png")
    bitmap = np.zeros((1, 28, 28), np.uint8)
    bitmap[0, 5:7, 20:22] = 255
    Image.fromarray(255 - bitmap[0]).save(folder / "small.png")
    np.save(folder / "one.npy", bitmap)
    return [str(folder / name) for name in ("large.png", "small.png", "one.npy")]


def test_a_picture_of_a_lone_dot_is_unsure(saved: Path, tmp_path: Path) -> None:
    dots = _dots(tmp_path)
    assert [one.unsure for one in answer(load(saved), dots, unsure_below=0.0)] == [True] * 3
    assert [one.unsure for one in answer(load(saved), ["-"], unsure_below=0.0, stdin=Path(dots[0]).read_bytes())]
    done = runner.invoke(app, ["predict", str(saved), *dots, "--unsure-below", "0", "--json"])
    assert [row["unsure"] for row in json.loads(done.stdout)] == [True] * 3
    assert not next(answer(load(saved), [str(picture(tmp_path))], unsure_below=0.0)).unsure


def test_a_photo_with_one_spot_is_a_photo(saved_photos: Path, tmp_path: Path) -> None:
    large = _dots(tmp_path)[0]
    assert not next(answer(load(saved_photos), [large], unsure_below=0.0)).unsure


def test_an_answer_that_is_no_number_is_an_error(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Classifier.predict_proba

    def with_nan(self: Classifier, images: Any) -> NDArray[np.float32]:
        answers = honest(self, images).copy()
        answers[1] = np.nan
        return answers

    monkeypatch.setattr(Classifier, "predict_proba", with_nan)
    file = tmp_path / "three.npy"
    np.save(file, np.zeros((3, 28, 28), np.uint8))
    first, second, third = answer(load(saved), [str(file)])
    assert (first.error, third.error) == (None, None)
    assert isinstance(second.error, BundleError)
    assert second.predictions == ()
    done = runner.invoke(app, ["predict", str(saved), str(file)])
    assert done.exit_code == 2
    assert "three.npy:2: the model" in done.stderr
    assert "nan" not in done.stdout
    with pytest.raises(BundleError, match="no number"):
        load(saved).predict(np.zeros((3, 28, 28), np.uint8))


def test_a_misspelt_run_is_answered_with_the_nearest() -> None:
    (workspace().runs / "leaves" / "bundle").mkdir(parents=True)
    with pytest.raises(NotFoundError, match="there is no model 'leafs'") as caught:
        load("leafs")
    assert caught.value.hint.startswith("Did you mean leaves")


def test_a_broken_picture_is_named_once(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    done = runner.invoke(app, ["predict", str(saved), str(tmp_path / "a.png")])
    assert f"error: {tmp_path / 'a.png'}: no usable picture: not a picture\n" in done.output


def test_standard_input_takes_a_picture_or_strokes(saved: Path, tmp_path: Path) -> None:
    path = picture(tmp_path)
    for data in (path.read_bytes(), json.dumps(RAW).encode(), json.dumps({"drawing": SIMPLIFIED}).encode()):
        done = runner.invoke(app, ["predict", str(saved), "-", "--json"], input=data)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)[0]["file"] == "-"
    done = runner.invoke(app, ["predict", str(saved), "-"], input=b"")
    assert done.exit_code == 2


def test_missing_files_and_empty_folders_are_reported(saved: Path, tmp_path: Path) -> None:
    given = list(answer(load(saved), [str(tmp_path / "no.png"), str(tmp_path)]))
    assert all(isinstance(one.error, NotFoundError) for one in given)
    assert len(given) == 2


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_an_array_that_claims_more_than_its_file_holds_stops_nothing_else(
    saved: Path, tmp_path: Path, version: tuple[int, int]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 28, 28), np.uint8))
    with open(tmp_path / "b.npy", "wb") as stream:
        np.lib.format.write_array(stream, np.zeros((1, 28, 28), np.uint8), version=version)
    data = (tmp_path / "b.npy").read_bytes().replace(b"(1, 28, 28), }" + b" " * 12, b"(99999999999, 28, 28), }  ")
    assert b"99999999999" in data
    (tmp_path / "b.npy").write_bytes(data)
    with open(tmp_path / "c.npy", "wb") as archive:
        np.savez(archive, images=np.zeros((1, 28, 28), np.uint8))
    done = runner.invoke(app, ["predict", str(saved), str(tmp_path)])
    assert done.exit_code == 2
    assert done.stdout.count(f"{tmp_path / 'a.npy'}:") == 2
    assert "b.npy: no array of bitmaps: its header claims 78,399,999,999,216 bytes, the file holds 784" in done.stderr
    assert "c.npy: no array of bitmaps but an archive" in done.stderr
    assert "  Save one array with numpy.save." in done.stderr


def test_object_arrays_are_never_unpickled(saved: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (one,) = answer(load(saved), [str(tmp_path / "x.npy")])
    assert one.error is not None
    assert "allow_pickle" in one.error.message
    (tmp_path / "y.npy").write_bytes(pickle.dumps({"a": 1}))
    (one,) = answer(load(saved), [str(tmp_path / "y.npy")])
    assert one.error is not None
    assert one.error.message == "no array of bitmaps: This file contains pickled (object) data"
