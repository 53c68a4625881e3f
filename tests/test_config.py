"""Settings: layers, conversion and the errors a user sees."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from inksight.config import Settings, as_dict, resolve, setting, variable_name
from inksight.errors import NotFoundError, UsageError
from inksight.settings import BenchSettings, FetchSettings, PrepareSettings, ServeSettings, TrainSettings


class Sample(Settings):
    section: ClassVar[str] = "sample"

    epochs: int = setting(10, "Passes over the data.", at_least=1)
    rate: float = setting(0.1, "Step size.", more_than=0)
    optimizer: str = setting("adam", "Which optimizer.", choices=("adam", "sgd"))
    classes: list[str] = setting([], "Class names.")
    quiet: bool = setting(False, "Say less.")
    out: Path | None = setting(None, "Where to write.")


def test_layers_in_order(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[sample]\nepochs = 3\nrate = 0.3\noptimizer = 'sgd'\n")
    settings = resolve(
        Sample,
        preset={"epochs": 2, "quiet": True},
        file=file,
        environ={"INKSIGHT_SAMPLE_RATE": "0.4", "INKSIGHT_SAMPLE_OPTIMIZER": "adam"},
        options={"optimizer": "sgd", "classes": "cat, dog", "out": None},
    )
    assert settings == Sample(epochs=3, rate=0.4, optimizer="sgd", classes=["cat", "dog"], quiet=True, out=None)


def test_as_dict_is_plain() -> None:
    assert as_dict(Sample(out=Path("a/b")))["out"] == "a/b"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"epochs": "many"}, ["--epochs", "'many'", "whole number"]),
        ({"epochs": "2.5"}, ["--epochs", "2.5"]),
        ({"epochs": 0}, ["--epochs", "0", "at least 1"]),
        ({"rate": "0"}, ["--rate", "more than 0"]),
        ({"rate": "inf"}, ["--rate", "'inf'", "not a number"]),
        ({"optimizer": "adamm"}, ["--optimizer", "adamm", "adam, sgd"]),
        ({"quiet": "perhaps"}, ["--quiet", "perhaps"]),
    ],
)
def test_errors_name_option_value_and_choices(options: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Sample, environ={}, options=options)
    text = f"{caught.value.message} {caught.value.hint}"
    assert all(part in text for part in parts), text


def test_unknown_key_gets_the_nearest_name() -> None:
    with pytest.raises(NotFoundError) as caught:
        resolve(Sample, preset={"epoch": 3}, environ={})
    assert "epochs" in caught.value.hint


def test_variable_with_a_bad_value_is_named() -> None:
    name = variable_name(Sample, "epochs")
    with pytest.raises(UsageError, match="INKSIGHT_SAMPLE_EPOCHS"):
        resolve(Sample, environ={name: "x"})


def test_missing_and_malformed_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        resolve(Sample, file=tmp_path / "none.toml", environ={})
    broken = tmp_path / "broken.toml"
    broken.write_text("epochs = = 3")
    with pytest.raises(UsageError, match="not valid TOML"):
        resolve(Sample, file=broken, environ={})
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        resolve(Sample, file=broken, environ={})
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        resolve(Sample, file=tmp_path, environ={})


def test_a_misspelt_section_does_not_pass_unheard(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[sampel]\nepochs = 3\n")
    with pytest.raises(NotFoundError, match="unknown section 'sampel'") as caught:
        resolve(Sample, file=file, environ={})
    assert "sample" in caught.value.hint
    file.write_text("sample = 3\n")
    with pytest.raises(UsageError, match="sample = 3 is not a table"):
        resolve(Sample, file=file, environ={})


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [(TrainSettings, "threads", "99999"), (PrepareSettings, "seed", "9" * 23), (FetchSettings, "timeout", "1e300")],
)
def test_numbers_that_no_library_takes_are_refused(cls: type[Settings], name: str, value: str) -> None:
    """Each ended in a crash: a segmentation fault of OpenMP, an OverflowError of HDF5, one of the socket."""
    with pytest.raises(UsageError, match=f"--{name}: .* is too large"):
        resolve(cls, options={name: value}, environ={})


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (ServeSettings, {"host": ""}, "--host: '' is not valid"),
        (ServeSettings, {"cors_origins": "https://school.example/"}, "--cors-origins: 'https://school.example/'"),
        (ServeSettings, {"cors_origins": "school.example"}, "--cors-origins"),
        (ServeSettings, {"trusted_proxies": "10.0.0.1,proxy"}, "--trusted-proxies: 'proxy'"),
        (BenchSettings, {"batches": ""}, "--batches: nothing is given"),
        (BenchSettings, {"threads": ","}, "--threads: nothing is given"),
    ],
)
def test_values_of_the_wrong_form_are_refused(cls: type[Settings], options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(cls, options=options)
    assert said in caught.value.message
    assert caught.value.hint


def test_values_of_the_right_form_pass() -> None:
    origins = "https://school.example,http://localhost:8000,http://[::1]:80,*"
    found = resolve(ServeSettings, options={"cors_origins": origins, "trusted_proxies": "10.0.0.0/8,::1,*"})
    assert found.cors_origins == origins.split(",")
    assert found.trusted_proxies == ["10.0.0.0/8", "::1", "*"]
    assert resolve(ServeSettings, options={"cors_origins": ""}).cors_origins == []
