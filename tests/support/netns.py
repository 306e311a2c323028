"""A network of its own for a browser: a Linux network namespace with one wire to this machine.

Needs root and iproute2. The browser sees one interface; a test takes UDP away from it or gives it
another address, as a change of network does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import require_chromium

_numbers = itertools.count()


class Network:
    """`host` is this machine as the namespace sees it."""

    def __init__(self, name: str, prefix: str, folder: Path) -> None:
        self.name = name
        self.host = f"{prefix}.1"
        self._prefix = prefix
        self._last = 2
        self._folder = folder

    @property
    def inside(self) -> str:
        """The address that programs in the namespace have now."""
        return f"{self._prefix}.{self._last}"

    def browser(self) -> str:
        """An executable that is Chromium inside this network."""
        script = self._folder / f"chromium-in-{self.name}"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} {require_chromium()} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(script)

    def set_up(self) -> None:
        outside, inner = f"{self.name}h", f"{self.name}n"
        _ip("link", "add", outside, "type", "veth", "peer", "name", inner, "netns", self.name)
        _ip("addr", "add", f"{self.host}/24", "dev", outside)
        _ip("link", "set", outside, "up")
        self._inside("addr", "add", f"{self.inside}/24", "dev", inner)
        self._inside("link", "set", "lo", "up")
        self._inside("link", "set", inner, "up")
        self._inside("route", "add", "default", "via", self.host)

    def tear_down(self) -> None:
        # A program that has not quite ended keeps the namespace: the wire must not wait for it.
        for words in (("link", "del", f"{self.name}h"), ("netns", "del", self.name)):
            subprocess.run(["ip", *words], check=False, stderr=subprocess.DEVNULL)

    def forbid_udp(self) -> None:
        self._inside("rule", "add", "ipproto", "udp", "prohibit")

    def change_address(self) -> None:
        """The old address is gone at once, and with it whatever was bound to it."""
        inner = f"{self.name}n"
        self._inside("addr", "del", f"{self.inside}/24", "dev", inner)
        self._last += 1
        self._inside("addr", "add", f"{self.inside}/24", "dev", inner)
        self._inside("route", "add", "default", "via", self.host)

    def _inside(self, *words: str) -> None:
        _ip("-n", self.name, *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Skips the test where such a network cannot be made."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and iproute2 to make a network")
    # A name and a range of its own: what ran in an earlier one may be about to end.
    number = os.getpid() * 8 + next(_numbers) % 8
    made = Network(f"tt{number}", f"10.{200 + number % 50}.{number // 50 % 250}", folder)
    try:
        _ip("netns", "add", made.name)
    except subprocess.CalledProcessError:
        pytest.skip("this machine lets nobody make network namespaces")
    try:
        made.set_up()
        yield made
    finally:
        made.tear_down()
