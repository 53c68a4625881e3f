"""Turns a settings class into command-line options, so that each option is documented once, in settings.py."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.config import Settings, check_value, default_of, fields_of, option_name, type_hints
from inksight.errors import UsageError

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A bundle's folder, a run's name, a name in the registry, or doodles.")
]


def class_names(text: str | None) -> list[str]:
    """Return the names that --classes gives, none when it is not given; raises UsageError when it is empty."""
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise UsageError("--classes: nothing is given", hint="Write a,b,c, or leave it out for all.")
    return names


def between(least: int, most: int | None = None) -> Callable[..., Any]:
    """Return a callback for an option of whole numbers that answers others as settings answer theirs."""

    def checked(param: typer.CallbackParam, value: Any) -> Any:
        for number in value if isinstance(value, list | tuple) else [value]:
            if number is not None:
                shown = param.opts[0] if param.opts[0].startswith("-") else str(param.metavar)
                check_value(number, {"at_least": least, "at_most": most}, shown)
        return value

    return checked


def settings_options(cls: type[Settings], *, short: dict[str, str] | None = None) -> Callable[[Any], Any]:
    """Replace a command's parameter `options` by one option per field of `cls`, plus --config FILE.

    The command receives `options`, a dict with the values that were given on the command line (the rest absent), and
    passes it to `config.resolve`; `config` is the TOML file or None. `short` gives one-letter names by field.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        fields = fields_of(cls)
        generated = [_parameter(cls, name, (short or {}).get(name)) for name in fields]
        own = [parameter for name, parameter in signature.parameters.items() if name not in ("options", "config")]
        config_option = inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None, typer.Option("--config", help=f"TOML file; its [{cls.section}] table sets options.")
            ],
        )
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        @functools.wraps(command)
        def wrapper(**kwargs: Any) -> Any:
            options = {name: kwargs.pop(name) for name in fields}
            kwargs["options"] = {name: value for name, value in options.items() if value is not None}
            if "config" not in signature.parameters:
                kwargs.pop("config")
            return command(**kwargs)

        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*parameters, *generated, config_option]
        )
        wrapper.__annotations__ = {p.name: p.annotation for p in [*parameters, *generated, config_option]}
        del wrapper.__wrapped__
        return wrapper

    return decorate


def _parameter(cls: type[Settings], name: str, letter: str | None) -> inspect.Parameter:
    field, hint = fields_of(cls)[name], type_hints(cls)[name]
    rules = field.metadata
    default = default_of(field)
    text = rules["help"]
    if rules["choices"] is not None:
        text += f" One of: {', '.join(rules['choices'])}."
    shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else default
    text += f" [default: {'none' if shown in (None, '') else shown}]"
    names = [option_name(name)] + ([f"-{letter}"] if letter else [])
    is_flag = hint is bool
    if is_flag:
        names[0] = f"{names[0]}/--no-{name.replace('_', '-')}"
    # Values arrive as text and are converted by config.resolve, so that every source gives the same error.
    kind: Any = bool | None if is_flag else str | None
    option = typer.Option(*names, help=text, show_default=False, metavar=None if is_flag else _metavar(hint))
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind, option],
    )


def _metavar(hint: Any) -> str:
    text = str(hint)
    for part, metavar in (("list", "A,B,..."), ("Path", "PATH"), ("float", "NUMBER"), ("int", "N")):
        if part in text:
            return metavar
    return "TEXT"
