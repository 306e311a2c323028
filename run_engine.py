"""Start Talktime: read the settings, build the application, serve until told to stop, drain."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from engine.config import Settings, SettingsError, env_name, load


def _setting_options(command: click.Command) -> click.Command:
    """One option for each setting, so that the help and the settings are the same list."""
    for name, field in Settings.model_fields.items():
        text = f"{field.description} [{env_name(name)}]"
        if field.annotation is bool:
            flags = [f"--{name.replace('_', '-')}/--no-{name.replace('_', '-')}"]
            option = click.Option([*flags, name], default=None, help=text)
        else:
            option = click.Option(
                [f"--{name.replace('_', '-')}", name], metavar="VALUE", help=text + _default(field)
            )
        command.params.append(option)
    return command


def _default(field: Any) -> str:
    value = field.default
    if isinstance(value, list):
        value = ",".join(str(part) for part in value)
    return f" Default: {value}." if str(value).strip("*") else ""


@click.command(context_settings={"max_content_width": 100})
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="TOML file with settings, one `name = value` a line.",
)
def main(config_file: Path | None, **options: Any) -> None:
    """Run a Talktime engine: signalling, media, chat, metering, REST and the pages.

    Every setting can be given as an option, as the environment variable in brackets, or in the
    TOML file, in this order of precedence.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = load(config_file, **given)
    except SettingsError as error:
        click.echo(f"cannot start: wrong settings\n{error}", err=True)
        sys.exit(2)
    from engine.app import serve  # noqa: PLC0415 - --help and wrong settings answer at once
    from engine.telemetry import configure_logging  # noqa: PLC0415

    configure_logging(settings.log_level, settings.log_format)
    sys.exit(_run(serve(settings)))


def _run(coroutine: Any) -> int:
    if sys.platform == "win32":
        return int(asyncio.run(coroutine))
    import uvloop  # noqa: PLC0415

    return int(uvloop.run(coroutine))


_setting_options(main)

if __name__ == "__main__":
    main()
