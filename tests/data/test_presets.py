"""Presets: exactly the classes that are promised, a user's own files, and what is said about unknown words."""

from __future__ import annotations

from pathlib import Path

import pytest

from inksight.data import presets
from inksight.data.ensure import ensure_dataset
from inksight.errors import DataError, NotFoundError, UsageError

QUICKDRAW10 = "cat, dolphin, moon, alarm clock, banana, airplane, circle, door, donut, eye"
QUICKDRAW20 = (
    "apple, sun, tree, house, car, cat, fish, star, umbrella, flower, moon, airplane, bicycle, clock, eye, cup, shoe, "
    "cloud, lightning, smiley face"
)
QUICKDRAW50 = (
    "apple, bicycle, bird, book, car, cat, chair, circle, cloud, computer, dog, flower, guitar, house, moon, phone, "
    "airplane, sun, table, tree, umbrella, fish, bus, clock, coffee, cup, elephant, eye, face, fork, hand, hat, heart, "
    "key, knife, lamp, leaf, mountain, mouse, mushroom, pencil, pizza, rainbow, shoe, snake, star, sword, train, "
    "truck, whale"
)


def test_the_promised_classes() -> None:
    assert presets.load("quickdraw10").classes == tuple(QUICKDRAW10.split(", "))
    assert presets.load("quickdraw20").classes == tuple(QUICKDRAW20.split(", "))
    spelled = {"phone": "cell phone", "coffee": "coffee cup", "lamp": "floor lamp"}
    fifty = [spelled.get(word, word) for word in QUICKDRAW50.split(", ") if word != "heart"]
    preset = presets.load("quickdraw50")
    assert preset.classes == tuple(fifty)
    assert len(fifty) == 49
    assert preset.renamed == spelled
    assert preset.missing == ("heart",)
    notes = "\n".join(preset.notes())
    for word in ("phone", "coffee", "lamp", "heart"):
        assert f"'{word}'" in notes


def test_all_categories(shared_data: Path) -> None:
    official = (shared_data / "quickdraw/categories.txt").read_text().splitlines()
    assert list(presets.load("quickdraw345").classes) == official
    assert len(set(official)) == 345


def test_every_preset_loads_and_says_what_it_is() -> None:
    names = presets.names()
    assert {"quickdraw10", "quickdraw20", "quickdraw50", "quickdraw345", "digits"} <= set(names)
    assert {"dandelion-grass", "pets", "flowers", "insects"} <= set(names)
    for name in names:
        preset = presets.load(name)
        assert preset.summary
        assert preset.kind in presets.KINDS
        assert preset.classes
    ratios = presets.load("dandelion-grass").options["prepare"]
    assert ratios == {"train_ratio": 0.70, "val_ratio": 0.15, "test_ratio": 0.15}


def test_the_photo_presets_name_the_real_folders(shared_data: Path) -> None:
    for name in ("dandelion-grass", "pets", "flowers", "insects"):
        found = sorted(path.name for path in (shared_data / "photos" / name).iterdir())
        assert list(presets.load(name).classes) == found


def test_adding_a_class_is_one_word() -> None:
    preset = presets.load("quickdraw10+dragon")
    assert preset.name == "quickdraw10+dragon"
    assert preset.classes == (*presets.load("quickdraw10").classes, "dragon")
    assert presets.load("quickdraw10+cat").name == "quickdraw10"  # there already
    assert presets.load("quickdraw10+Hot_Dog").classes[-1] == "hot dog"
    both = presets.select(presets.load("quickdraw10"), add=["dragon"])
    assert both == preset


def test_choosing_classes() -> None:
    preset = presets.select(presets.load("quickdraw10"), classes=["dog", "the mona lisa"], add=["T-Shirt"])
    assert preset.classes == ("dog", "The Mona Lisa", "t-shirt")
    assert preset.name == "dog+The Mona Lisa+t-shirt"
    many = presets.select(None, classes=["cat", "dog", "cow", "pig", "owl"])
    assert many.name.startswith("5classes-")
    assert presets.load("cat+dog+The mona-lisa").classes == ("cat", "dog", "The Mona Lisa")
    assert many.name != presets.select(None, classes=["cat", "dog", "cow", "pig", "bee"]).name


def test_unknown_words_are_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        presets.load("quickdraw10+dragoon")
    assert "dragon" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        presets.load("quickdraw21")
    assert "quickdraw20" in caught.value.hint
    with pytest.raises(NotFoundError, match="is a class") as caught:
        presets.load("cat")
    assert "cat+dragon" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        presets.load("quickdraw20+dgo")
    assert caught.value.hint.startswith("Did you mean dog")
    with pytest.raises(UsageError, match="kind photo"):
        presets.load("pets+dragon")
    with pytest.raises(UsageError, match="no classes"):
        presets.select(None)


def write(home: Path, name: str, text: str) -> Path:
    path = home / "presets" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_users_own_preset(home: Path, tmp_path: Path) -> None:
    (tmp_path / "leaves").mkdir()
    write(home, "leaves", f'[dataset]\nkind = "photo"\nsource = "{tmp_path / "leaves"}"\n[train]\nepochs = 3\n')
    preset = presets.load("leaves")
    assert preset.options == {"train": {"epochs": 3}}
    assert preset.classes == ()
    assert presets.source_folder(preset) == tmp_path / "leaves"
    assert "leaves" in presets.names()
    write(home, "quickdraw10", '[dataset]\nkind = "quickdraw"\nclasses = ["cat", "dog"]\n')
    assert presets.load("quickdraw10").classes == ("cat", "dog")
    write(home, "recipe", "[train]\nepochs = 3\n")  # no dataset: another kind of preset
    assert "recipe" not in presets.names()


def test_where_photos_are_looked_for(home: Path) -> None:
    with pytest.raises(DataError, match="are not at") as caught:
        presets.source_folder(presets.load("pets"))
    assert "pets.toml" in caught.value.hint
    (home / "downloads/photos/pets").mkdir(parents=True)
    assert presets.source_folder(presets.load("pets")) == home / "downloads/photos/pets"
    (home / "presets/mine").mkdir(parents=True)
    write(home, "beside", '[dataset]\nkind = "photo"\nsource = "mine"\n')
    assert presets.source_folder(presets.load("beside")) == home / "presets/mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[dataset]\nkind = "film"\n', "kind = 'film'"),
        ('[dataset]\nkind = "photo"\n', "needs a source"),
        ('[dataset]\nkind = "photo"\nsource = "x"\ncolour = 1\n', "unknown keys: colour"),
        ('[dataset]\nkind = "photo"\nsource = "x"\nclasses = "a"\n', "classes must be a list"),
        ('[dataset]\nkind = "photo"\nsource = 3\n', "source must be texts"),
        ('[dataset]\nkind = "quickdraw"\nrenamed = "cat"\n', "renamed a table"),
        ("[dataset\n", "not valid TOML"),
        ("dataset = 3\n", "dataset = 3 stands in no table"),
        ('kind = "photo"\nsource = "x"\n', "kind = 'photo' stands in no table"),
        ('[dataset]\nkind = "quickdraw"\nclasses = ["cat", "dog"]\n[trian]\nepochs = 3\n', "unknown section 'trian'"),
    ],
)
def test_a_broken_preset_is_named(home: Path, text: str, message: str) -> None:
    write(home, "broken", text)
    with pytest.raises(UsageError, match=message) as caught:
        presets.load("broken")
    assert "broken.toml" in caught.value.message
    assert not isinstance(caught.value, NotFoundError)  # a training would do without a preset that is not there
    assert "broken" not in presets.names()
    assert presets.load("quickdraw10").classes


def test_a_preset_without_a_dataset_is_named(home: Path) -> None:
    write(home, "mine", "[train]\nepochs = 3\n")
    with pytest.raises(NotFoundError, match=r"presets/mine.toml has no table \[dataset\]"):
        presets.load("mine")


def test_whoever_asks_for_no_broken_preset_does_not_mind_it(home: Path, tmp_path: Path) -> None:
    write(home, "broken", "[dataset]\nkind = film\n")
    (home / "presets/gone.toml").symlink_to(tmp_path / "nowhere.toml")
    with pytest.raises(NotFoundError, match="unknown preset 'quickdraw21'"):
        presets.load("quickdraw21")
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="no pictures in class folders"):
        ensure_dataset(tmp_path / "photos")
    with pytest.raises(UsageError, match=r"broken\.toml' is not valid TOML: .*line 2"):
        ensure_dataset("broken")
