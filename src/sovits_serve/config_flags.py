"""Turns declared settings into options of the command line.

Values stay text here: ``config_sources`` reads and checks them like those of variables and files,
so that a bad one gives the same message and exit code wherever it comes from.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from sovits_serve.config_page import flag_names, section_help, show_value
from sovits_serve.config_sources import Setting, all_settings

_METAVARS = {
    "": "TEXT",
    "path": "PATH",
    "paths": "PATHS",
    "list": "LIST",
    "memory": "SIZE",
    "share": "SHARE|SIZE",
}


def with_settings(
    command: Callable[[Path | None, Mapping[str, object]], None], sections: frozenset[str]
) -> Callable[..., None]:
    """Return a command with ``--config FILE`` and an option for each setting of some sections.

    ``command`` gets the file and the values given, by the settings' full names.
    """
    settings = [one for one in all_settings() if one.section in sections]

    def run(config: Path | None, **options: object) -> None:
        given = {one.name: options[_parameter_name(one)] for one in settings}
        command(config, {name: value for name, value in given.items() if value is not None})

    # typer reads options from a signature; this one has as many as there are settings.
    parameters = [_config_parameter(), *map(_parameter, settings)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # not declared
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__ = command.__doc__
    return run


def _parameter_name(setting: Setting) -> str:
    # "setting_" keeps clear of --config and of Python's own words.
    return "setting_" + setting.flag[2:].replace("-", "_")


def _config_parameter() -> inspect.Parameter:
    option = typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with any of these settings; SOVITS_SERVE_CONFIG names one, too.",
        show_default=False,
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    annotation = Annotated[Path | None, option]
    return inspect.Parameter("config", kind, default=None, annotation=annotation)


def _parameter(setting: Setting) -> inspect.Parameter:
    declared = setting.declared
    is_bool = isinstance(declared.default, bool)
    option = typer.Option(
        flag_names(setting),
        metavar=None if is_bool else _metavar(setting),
        help=_help(setting),
        show_default=False,  # "not given"; what holds then is in the help
        rich_help_panel=_panel(setting.section),
    )
    annotation = Annotated[bool | None, option] if is_bool else Annotated[str | None, option]
    name, kind = _parameter_name(setting), inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=annotation)


def _metavar(setting: Setting) -> str:
    declared = setting.declared
    if declared.metadata["choices"]:
        return "|".join(declared.metadata["choices"])
    if isinstance(declared.default, int):
        return "SIZE" if setting.key.endswith("_bytes") else "INTEGER"
    if isinstance(declared.default, float):
        return "SECONDS" if setting.key.endswith("_s") else "NUMBER"
    return _METAVARS[declared.metadata["kind"]]


def _help(setting: Setting) -> str:
    text, default = setting.declared.metadata["help"], setting.declared.default
    if default == "" or isinstance(default, bool):
        return f"{text}."
    return f"{text} ({show_value(setting, default)})."


def _panel(section: str) -> str:
    return f"{section}: {section_help(section)}" if section else "Options"
