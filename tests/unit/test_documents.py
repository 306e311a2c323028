"""What the documents name is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/*.md"))
_TEST = re.compile(r"\btest_\w+")


def _defined() -> set[str]:
    """Functions and modules of tests."""
    files = list(ROOT.glob("tests/**/*.py"))
    found = {path.stem for path in files}
    for path in files:
        found.update(re.findall(r"def (test_\w+)", path.read_text()))
    return found


@pytest.fixture(scope="module")
def defined() -> set[str]:
    return _defined()


def _missing(text: str, defined: set[str]) -> Iterator[str]:
    return (name for name in _TEST.findall(text) if name not in defined)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_document_names_exists(page: Path, defined: set[str]) -> None:
    """Whoever renames a test finds the pages that send readers to it."""
    assert list(_missing(page.read_text(), defined)) == []


def test_a_name_that_is_gone_would_be_found(defined: set[str]) -> None:
    gone = "test_" + "that_nobody_wrote"
    assert list(_missing(f"see `{gone}` in `tests/unit/test_documents.py`", defined)) == [gone]
