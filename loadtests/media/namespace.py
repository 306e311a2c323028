"""A network of our own for a benchmark: an address on a device, from which nothing leaves.

Janus refuses loopback addresses; in a namespace with a pair of virtual devices all servers get the
same address and the same path. The namespace belongs to the process and goes with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final, NoReturn

DEVICE: Final = "v0"
_ADDRESS: Final = "10.77.0.1"
_INSIDE: Final = "BENCH_NAMESPACE"
_SET_UP: Final = (
    "link set lo up",
    f"link add {DEVICE} type veth peer name v1",
    f"addr add {_ADDRESS}/24 dev {DEVICE}",
    f"link set {DEVICE} up",
    "link set v1 up",
)


def enter(module: str) -> str:
    """Run `module` again inside a namespace; there, return the address to use.

    Without the means it returns 127.0.0.1, and what needs the namespace is left out.
    """
    if os.environ.get(_INSIDE):
        return _ADDRESS
    if _possible():
        _run_inside(module)
    return "127.0.0.1"


def _run_inside(module: str) -> NoReturn:
    os.environ[_INSIDE] = "1"
    set_up = " && ".join(f"ip {words}" for words in _SET_UP)
    inside = ["sh", "-c", f'{set_up} && exec "$@"', "sh"]
    again = [sys.executable, "-m", module, *sys.argv[1:]]
    os.execvp("unshare", [*_unshare(), *inside, *again])


def _unshare() -> list[str]:
    owner = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *owner, "--net"]


def _possible() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    probe = subprocess.run(
        [*_unshare(), "ip", "link", "add", DEVICE, "type", "veth", "peer", "name", "v1"],
        capture_output=True,
        check=False,
    )
    return probe.returncode == 0
