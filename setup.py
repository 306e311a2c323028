"""The compiled packet plane: optional, so that an engine without a compiler runs all the same."""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("engine/media/native")

setup(
    ext_modules=[
        Extension(
            "engine.media.native._plane",
            sources=sorted(str(path) for path in NATIVE.glob("*.c")),
            depends=sorted(str(path) for path in NATIVE.glob("*.h")),
            define_macros=[("_GNU_SOURCE", None)],
            # No fused multiply-add: jitter is to be the reference's to the last bit.
            extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra"],
            py_limited_api=True,
            optional=True,
        )
    ]
)
