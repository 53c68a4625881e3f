"""Settings: how a dataclass becomes options, variables, files and documentation.

A settings class is a frozen dataclass whose fields are made by `setting(default, "help text", ...)`. The text is
written once; `--help`, the docs and the error messages all take it from there. Values are layered, later wins:

    defaults < preset (TOML in presets/) < file (--config, TOML) < INKSIGHT_<SECTION>_<FIELD> variables < options

`resolve` applies the layers, converts strings to the field's type and checks ranges and choices; `as_dict` gives the
resolved set that is saved with every run. The settings classes themselves are in settings.py.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, dataclass_transform

from inksight.errors import UsageError, unknown


def setting(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    more_than: float | None = None,
    valid: Callable[[Any], bool] | None = None,
    form: str = "",
) -> Any:
    """Declare one field of a settings class: its default, its one-line documentation and its valid values.

    `valid` tells whether a value has the right form, and `form` says in the error what that is. A list that is not
    empty by default must not be.
    """
    metadata = {"help": help, "choices": choices, "at_least": at_least, "at_most": at_most, "more_than": more_than,
                "valid": valid, "form": form}  # fmt: skip
    if isinstance(default, list | dict):
        kind, value = type(default), default
        return dataclasses.field(default_factory=lambda: kind(value), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Settings:
    """Base of all settings classes; subclassing makes a frozen, keyword-only, checked dataclass."""

    section: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            _check(field, getattr(self, field.name))


S = TypeVar("S", bound=Settings)


def fields_of(cls: type[Settings]) -> dict[str, dataclasses.Field[Any]]:
    """Return the settings class's fields by name, in order."""
    return {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]


def type_hints(cls: type[Settings]) -> dict[str, Any]:
    """Return the resolved type of each field of a settings class."""
    hints = typing.get_type_hints(cls)
    return {name: hints[name] for name in fields_of(cls)}


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return a field's default value."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def option_name(field_name: str) -> str:
    """Return the command-line option of a field, e.g. learning_rate -> --learning-rate."""
    return "--" + field_name.replace("_", "-")


def variable_name(cls: type[Settings], field_name: str) -> str:
    """Return the environment variable of a field, e.g. INKSIGHT_TRAIN_EPOCHS."""
    return f"INKSIGHT_{cls.section}_{field_name}".upper()


def as_dict(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values that JSON and TOML can hold."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(settings).items()  # type: ignore[call-overload]
    }


def resolve(
    cls: type[S],
    *,
    preset: Mapping[str, Any] | None = None,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> S:
    """Build settings from the layers; an option that is None was not given.

    Raises UsageError (with the nearest names) for an unknown key and for a value of the wrong type, range or choice.
    """
    environ = os.environ if environ is None else environ
    fields = fields_of(cls)
    hints = type_hints(cls)
    values: dict[str, Any] = {}

    def take(layer: Mapping[str, Any], source: str) -> None:
        for name, value in layer.items():
            field_name = name.replace("-", "_")
            if field_name not in fields:
                raise unknown("setting", name, fields, option=source)
            if value is not None:
                values[field_name] = convert(value, hints[field_name], f"{source} {name}")

    take(preset or {}, "preset")
    if file is not None:
        take(read_sections(file).get(cls.section, {}), str(file))
    for name in fields:
        variable = variable_name(cls, name)
        if variable in environ:
            values[name] = convert(environ[variable], hints[name], variable)
    for name, value in (options or {}).items():
        if name not in fields:
            raise unknown("setting", name, fields)
        if value is not None:
            values[name] = convert(value, hints[name], option_name(name))
    return cls(**values)


def likely_slips(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are no setting's but nearly, each with the setting's: they have no effect.

    Others are left alone: orchestrators make variables such as INKSIGHT_SERVE_PORT_8000_TCP of their own.
    """
    known = {variable_name(cls, name) for cls in Settings.__subclasses__() for name in fields_of(cls)}
    slips: dict[str, str] = {}
    for cls in Settings.__subclasses__():
        prefix = variable_name(cls, "")
        for given in environ:
            if given.startswith(prefix) and given not in known:
                names = [name.upper() for name in fields_of(cls)]
                close = difflib.get_close_matches(given.removeprefix(prefix), names, n=1, cutoff=0.75)
                if close:
                    slips[given] = prefix + close[0]
    return slips


def read_sections(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a TOML file with one table per section; raises UsageError, also for a table that is no section's."""
    tables = read_toml(path)
    check_sections(tables, str(path))
    return tables


def check_sections(tables: Mapping[str, Any], where: str) -> None:
    """Raise UsageError for what is not the table of a section: a misspelt one would have no effect."""
    known = {cls.section for cls in Settings.__subclasses__()}
    for name, table in tables.items():
        if name not in known:
            raise unknown("section", name, known, option=where)
        if not isinstance(table, dict):
            raise UsageError(
                f"{where}: {name} = {table!r} is not a table", hint=f"Write [{name}] and its settings below."
            )


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file; raises UsageError that names the file when it is missing or malformed."""
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise UsageError(f"settings file {str(path)!r} does not exist", hint="Give the path of a TOML file.") from None
    except OSError as error:
        raise UsageError(f"settings file {str(path)!r} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"settings file {str(path)!r} is not valid TOML: {error}") from None


def convert(value: Any, hint: Any, where: str) -> Any:
    """Convert a string or TOML value to the type `hint`; raises UsageError that names `where` and the value."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in ("", "none")):
            return None
        return convert(value, next(arg for arg in args if arg is not type(None)), where)
    try:
        if origin in (list, tuple):
            parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            items = [convert(part, args[0], where) for part in parts]
            return items if origin is list else tuple(items)
        if origin is dict:
            return dict(value)
        if hint is bool:
            return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().lower()]
        if hint is int:
            if isinstance(value, bool) or float(value) != int(float(value)):
                raise ValueError
            return int(float(value)) if isinstance(value, float) else int(value)
        if hint is float:
            if not math.isfinite(float(value)):  # JSON cannot hold it, and every run's settings are saved as JSON
                raise ValueError
            return float(value)
        if hint is Path:
            return Path(value).expanduser()
        if hint is str:
            return str(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise UsageError(f"{where}: {value!r} is not {_KINDS.get(hint, str(hint))}") from None
    return value


_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_KINDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    if value is None:
        return
    rules, name = field.metadata, option_name(field.name)
    values = value if isinstance(value, list | tuple) else [value]
    if not values and default_of(field):
        raise UsageError(f"{name}: nothing is given", hint="Give at least one value, or leave the option out.")
    for item in values:
        check_value(item, rules, name)


def check_value(value: Any, rules: Mapping[str, Any], name: str) -> None:
    """Raise UsageError, in which the value is called `name`, unless it keeps to the `rules`: those of `setting`."""
    if rules.get("choices") is not None and value not in rules["choices"]:
        raise UsageError(f"{name}: {value!r} is not valid", hint=f"Choose one of: {', '.join(rules['choices'])}")
    if rules.get("valid") is not None and not rules["valid"](value):
        raise UsageError(f"{name}: {value!r} is not valid", hint=f"Give {rules['form']}.")
    if rules.get("at_least") is not None and not value >= rules["at_least"]:
        raise UsageError(f"{name}: {value} is too small", hint=f"It must be at least {rules['at_least']}.")
    if rules.get("at_most") is not None and not value <= rules["at_most"]:
        raise UsageError(f"{name}: {value} is too large", hint=f"It must be at most {rules['at_most']}.")
    if rules.get("more_than") is not None and not value > rules["more_than"]:
        raise UsageError(f"{name}: {value} is too small", hint=f"It must be more than {rules['more_than']}.")
