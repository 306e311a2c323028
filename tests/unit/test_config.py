"""Settings: where they come from, which wins, and what a wrong one says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.app import _worker_config
from engine.config import Settings, SettingsError, load, settings_page

ROOT = Path(__file__).parents[2]


def test_option_beats_environment_beats_toml_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "talktime.toml"
    file.write_text('port = 1001\ncommission_bps = 1\ncurrency = "USD"\n')
    monkeypatch.setenv("TALKTIME_PORT", "1002")
    monkeypatch.setenv("TALKTIME_COMMISSION_BPS", "2")
    settings = load(file, port="1003")
    assert (settings.port, settings.commission_bps, settings.currency) == (1003, 2, "USD")
    assert settings.host == Settings.model_fields["host"].default


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("TALKTIME_PORT", "http", "port"),
        ("TALKTIME_COMMISSION_BPS", "10001", "commission_bps"),
        ("TALKTIME_STORE_URL", "mysql://x/y", "store_url"),
        ("TALKTIME_MEDIA_ADDRESSES", "localhost", "media_addresses"),
        ("TALKTIME_MEDIA_ADDRESSES", "192.0.2.1,2001:db8::1", "media_addresses"),
        ("TALKTIME_MEDIA_ADVERTISED_PORT", "65536", "media_advertised_port"),
        ("TALKTIME_MEDIA_CODECS", "vp8,mpeg2", "media_codecs"),
        ("TALKTIME_SECRETS", "short", "secrets"),
        ("TALKTIME_TURN_URLS", "turn:turn.example.org", "turn_secret"),
        ("TALKTIME_PROT", "8080", "TALKTIME_PROT"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=named):
        load()


@pytest.mark.parametrize("name", ["media_port", "media_advertised_port"])
def test_every_worker_needs_a_port(name: str) -> None:
    assert load(**{name: 65_533}, media_workers=3)
    with pytest.raises(SettingsError, match="media_workers"):
        load(**{name: 65_534}, media_workers=3)


def test_a_secret_never_shows_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALKTIME_SECRETS", "tooshort-but-secret")
    with pytest.raises(SettingsError) as caught:
        load()
    assert "tooshort-but-secret" not in str(caught.value)


def test_unknown_names_and_broken_toml_are_named(tmp_path: Path) -> None:
    file = tmp_path / "talktime.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(SettingsError, match="prot"):
        load(file)
    file.write_text("port = \n")
    with pytest.raises(SettingsError, match=r"talktime\.toml"):
        load(file)
    with pytest.raises(SettingsError, match=r"missing\.toml"):
        load(tmp_path / "missing.toml")


@pytest.mark.parametrize(("setting", "hint"), [({}, 800), ({"media_start_bitrate_kbps": 0}, None)])
def test_the_start_bitrate_is_a_hint_unless_it_is_left_to_browsers(
    setting: dict[str, int], hint: int | None
) -> None:
    assert _worker_config(Settings(**setting), 0).start_bitrate_kbps == hint


def test_the_settings_page_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page()


def test_help_lists_every_setting_and_a_wrong_one_stops_the_start() -> None:
    command = [sys.executable, str(ROOT / "run_engine.py")]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown.stdout
    wrong = subprocess.run(
        [*command, "--port", "99999"], check=False, capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert "port" in wrong.stderr
    assert "TALKTIME_PORT" in wrong.stderr
