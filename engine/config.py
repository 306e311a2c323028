"""Settings: command-line option over environment variable over TOML file over default.

Every field below is one setting. ``--help`` of `run_engine.py` and docs/settings.md are made from
the descriptions, so they cannot go stale.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from engine.store.database import async_url

ENV_PREFIX = "TALKTIME_"

Port = Annotated[int, Field(ge=0, le=65_535)]
List = Annotated[list[str], NoDecode]


class Settings(BaseSettings):
    """All settings of one engine process."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Address that HTTP and Socket.IO listen on.")
    port: Port = Field(8080, description="Port of HTTP and Socket.IO; 0 takes a free one.")
    public_url: str = Field("", description="URL that clients see; empty: http://HOST:PORT.")
    data_dir: Path = Field(Path("var"), description="Folder of the store and the generated secret.")
    store_url: str = Field(
        "",
        description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; "
        "empty: talktime.db in the data folder.",
    )
    secrets: Annotated[list[SecretStr], NoDecode] = Field(
        [],
        description="Keys that sign tokens, comma-separated: the first signs, all verify; "
        "empty: one is generated and kept in the data folder.",
    )
    files_bucket: str = Field(
        "", description="S3 bucket of uploaded files; empty: a folder in the data folder."
    )
    files_endpoint: str = Field("", description="URL of an S3-compatible service; empty: AWS.")
    files_region: str = Field("us-east-1", description="Region of the bucket.")
    files_access_key_id: str = Field(
        "", description="Key of the bucket; empty: what the environment of the process has."
    )
    files_secret_access_key: SecretStr = Field(SecretStr(""), description="Secret of that key.")
    files_quota_mb: int = Field(
        1_000, ge=1, description="All files of one user together have at most so many megabytes."
    )
    demo: bool = Field(False, description="Load demo accounts and listings; never in production.")
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$", description="ISO code of wallets.")
    preset: Literal["infotwip", "azmoudegan"] = Field(
        "infotwip", description="Which marketplace this is: its kinds of services, rules and words."
    )
    commission_bps: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="The platform's share of what is captured, in 1/10000; empty: the preset's.",
    )
    media: Literal["auto", "native", "python"] = Field(
        "auto", description="What moves the packets: auto takes native where it was built."
    )
    media_workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Media workers, each with a port of its own and, if native, a core of its own.",
    )
    media_host: str = Field(
        "127.0.0.1",
        description="Address that the media port binds; 0.0.0.0 is all of IPv4, :: all of both.",
    )
    media_port: Port = Field(
        0,
        description="UDP and TCP port of all calls, 0 takes a free one; "
        "further workers take the ports behind it.",
    )
    media_tcp: bool = Field(
        True, description="Take media over TCP too, for networks that let no UDP through."
    )
    media_addresses: List = Field(
        ["127.0.0.1"],
        description="IPv4 and IPv6 addresses, comma-separated, that clients reach the media "
        "port at.",
    )
    media_advertised_port: Port = Field(
        0,
        description="Port that clients are told, where a NAT maps it; 0: the media port; "
        "further workers are told as those behind it.",
    )
    media_codecs: List = Field(
        ["vp8", "h264"], description="Video codecs to offer, in order: vp8, h264, vp9, av1."
    )
    media_start_bitrate_kbps: int = Field(
        800,
        ge=0,
        le=20_000,
        description="Video bitrate to begin with, as a hint to browsers; 0 leaves it to them. "
        "Below 500 Chromium drops the first frames until it has scaled them down.",
    )
    recordings: bool = Field(
        False, description="Let parties record calls, with the consent of both."
    )
    recording_max_minutes: int = Field(
        240, ge=1, le=1440, description="A recording ends after so many minutes."
    )
    recording_min_free_mb: int = Field(
        500, ge=1, description="A recording ends when less than this is free on the disk."
    )
    recording_max_mb: int = Field(
        8000, ge=1, description="A recording ends when its files have reached this size."
    )
    recording_kept_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="A recording is deleted so many days after its end, or once nothing is open "
        "about its order any more; 0: never.",
    )
    turn_urls: List = Field([], description="TURN servers given to clients, comma-separated.")
    turn_secret: SecretStr = Field(
        SecretStr(""), description="Shared secret that TURN credentials are made from."
    )
    stripe_secret_key: SecretStr = Field(
        SecretStr(""), description="Takes top-ups through Stripe, with the key of its API."
    )
    stripe_webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Signing secret of Stripe's webhook endpoint, which needs the events "
        "checkout.session.*, charge.dispute.* and charge.refunded.",
    )
    iyzico_api_key: SecretStr = Field(
        SecretStr(""), description="Takes top-ups through iyzico, with this key of its API."
    )
    iyzico_secret_key: SecretStr = Field(
        SecretStr(""), description="The secret that belongs to iyzico's key."
    )
    iyzico_host: str = Field(
        "api.iyzipay.com", description="Host of iyzico's API; sandbox-api.iyzipay.com to try it."
    )
    smtp_host: str = Field(
        "", description="Server that takes e-mail; empty: mails are only written to the log."
    )
    smtp_port: Port = Field(587, description="Port of the mail server.")
    smtp_user: str = Field("", description="User of the mail server; empty: no sign-in.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="starttls and tls demand encryption; none is for a server on this machine.",
    )
    mail_sender: str = Field(
        "Talktime <no-reply@localhost>", description="Who mails come from: NAME <ADDRESS>."
    )
    notifications_kept_days: int = Field(
        180,
        ge=0,
        le=36_500,
        description="A notification is deleted so many days after it was sent; 0: never.",
    )
    cors_origins: List = Field(
        [], description="Origins of other sites that may call the API, comma-separated."
    )
    drain_s: float = Field(
        5.0, ge=0, le=3600, description="Seconds that running sessions get to settle on shutdown."
    )
    audit_every_s: float = Field(
        300.0, ge=1, description="Seconds between two audits of the ledger, told by /metrics."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written."
    )
    log_format: Literal["text", "json"] = Field("text", description="Shape of log lines.")

    @field_validator(
        "secrets", "media_addresses", "media_codecs", "turn_urls", "cors_origins", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("media_addresses")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for address in value:
            ipaddress.ip_address(address)
        if not value:
            raise ValueError("at least one address is needed")
        return value

    @field_validator("media_codecs")
    @classmethod
    def _codecs(cls, value: list[str]) -> list[str]:
        known = ("vp8", "h264", "vp9", "av1")
        for codec in value:
            if codec not in known:
                raise ValueError(f"unknown codec {codec!r}: use {', '.join(known)}")
        if not value:
            raise ValueError("at least one codec is needed")
        return value

    @field_validator("store_url")
    @classmethod
    def _store(cls, value: str) -> str:
        if value:
            try:
                async_url(value)
            except sa.exc.ArgumentError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("mail_sender")
    @classmethod
    def _sender(cls, value: str) -> str:
        name, address = parseaddr(value)
        if not (name + address).isprintable() or not all(address.partition("@")):
            raise ValueError("an address is needed, such as Talktime <no-reply@example.com>")
        return value

    @field_validator("secrets")
    @classmethod
    def _secrets(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(secret.get_secret_value()) < 32 for secret in value):
            raise ValueError("a key has at least 32 characters")
        return value

    @model_validator(mode="after")
    def _families(self) -> Settings:
        if ":" not in self.media_host and any(":" in one for one in self.media_addresses):
            raise ValueError(
                "an IPv6 address in media_addresses needs an IPv6 media_host, such as ::"
            )
        return self

    @model_validator(mode="after")
    def _ports(self) -> Settings:
        if max(self.media_port, self.media_advertised_port) + self.media_workers > 65_536:
            raise ValueError("media_workers need more ports than there are behind media_port")
        return self

    @model_validator(mode="after")
    def _turn(self) -> Settings:
        if self.turn_urls and not self.turn_secret.get_secret_value():
            raise ValueError("turn_urls needs turn_secret")
        return self

    @model_validator(mode="after")
    def _payments(self) -> Settings:
        pairs = (
            ("stripe_secret_key", "stripe_webhook_secret"),
            ("iyzico_api_key", "iyzico_secret_key"),
        )
        for one, other in pairs:
            given = [bool(getattr(self, name).get_secret_value()) for name in (one, other)]
            if any(given) and not all(given):
                raise ValueError(f"{one} and {other} belong together")
        return self

    @property
    def store(self) -> str:
        """The store's URL, with the default filled in."""
        return self.store_url or f"sqlite:///{(self.data_dir / 'talktime.db').absolute()}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, _config_file)
        return init_settings, env_settings, toml


_config_file: Path | None = None
"""The TOML file of the `load` under way: pydantic builds its sources in a class method."""


class SettingsError(Exception):
    """A setting is wrong; the text names each one, what it is and where it may be set."""


def env_name(name: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + name.upper()


def load(config_file: Path | None = None, **options: Any) -> Settings:
    """The settings of this process. Raises `SettingsError`."""
    global _config_file  # noqa: PLW0603
    if config_file is not None and not config_file.is_file():
        raise SettingsError(f"config file {config_file} does not exist")
    known = {env_name(name) for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith(ENV_PREFIX) and variable not in known:
            raise SettingsError(f"{variable}: there is no such setting")
    _config_file = config_file
    try:
        return Settings(**options)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config_file} is not valid TOML: {error}") from None
    finally:
        _config_file = None


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    if not name:
        return str(message)
    field = Settings.model_fields[name]
    return (
        f"{name}: {message}\n"
        f"    {field.description}\n"
        f"    set by {env_name(name)}, --{name.replace('_', '-')} or {name} in the TOML file"
    )


def settings_page() -> str:
    """docs/settings.md: every setting with its names, default and meaning."""
    lines = [
        "# Settings",
        "",
        "A command-line option wins over an environment variable, that over a line of the TOML",
        "file (`--config FILE`), that over the default. A wrong value or name stops the start.",
        "This page is printed by `python -m engine.config`; a test keeps it current.",
        "",
        "| TOML | environment | option | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        if isinstance(default, list):
            default = ",".join(str(part) for part in default)
        shown = f"`{default}`" if str(default).strip("*") else ""
        option = f"--{name.replace('_', '-')}"
        lines.append(
            f"| `{name}` | `{env_name(name)}` | `{option}` | {shown} | {field.description} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(settings_page())
