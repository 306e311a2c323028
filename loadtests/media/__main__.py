"""`make bench-media`: what a packet and a call cost the engine, Janus and the bare floor."""

from __future__ import annotations

import asyncio
import json
import sys

from rich.console import Console

from loadtests.media import native_build, report
from loadtests.media.measure import measure_all
from loadtests.media.namespace import enter


def main() -> int:
    try:
        native_build.generator()
        native_build.floor_library()
    except native_build.NoCompiler as reason:
        sys.stderr.write(f"bench-media: {reason}\n")
        return 1
    host = enter("loadtests.media")
    console = Console()
    with console.status("") as status:
        rows, missing = asyncio.run(measure_all(host, status.update))
    report.show(console, rows, missing)
    sys.stdout.write(json.dumps(report.summary(rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
