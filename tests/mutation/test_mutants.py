from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.mutation.mutants import mutants

SOURCE = '''
"""Documentation."""

LIMIT = 10


class Box:
    """More of it."""

    @property
    def room(self) -> int:
        return max(0, LIMIT - self.used)

    def put(self, amount: int) -> bool:
        if amount > self.room or not self.open:
            return False
        self.used += amount
        log("box.filled", "Something was put into it.")
        return True


def rows(tx):
    return select(box).where(box.owner == 1, box.open).order_by(box.id)
'''


def _names() -> list[str]:
    return [mutant.name.removeprefix("m") for mutant in mutants("m", SOURCE)]


def test_each_kind_of_defect_is_made_once() -> None:
    names = _names()
    for name in (
        ": 10 → 11",
        ".Box.room: max(0, LIMIT - self.used) → min(0, LIMIT - self.used)",
        ".Box.room: LIMIT - self.used → LIMIT + self.used",
        ".Box.put: amount > self.room → amount >= self.room",
        ".Box.put: amount > self.room or not self.open → amount > self.room and (not self.open)",
        ".Box.put: not self.open → self.open",
        ".Box.put: False → True",
        ".Box.put: self.used += amount → pass",
        ".Box.put: self.used += amount → self.used -= amount",
        ".Box.put: 'box.filled' → 'box.filled_'",
        ".rows: select(box).where(box.owner == 1, box.open) → select(box)",
        ".rows: select(box).where(box.owner == 1, box.open) → select(box).where(box.open)",
    ):
        assert names.count(name) == 1, name
    assert not [name for name in names if "→ 'Something" in name or "→ 'Doc" in name]


def test_every_mutant_is_another_program_with_a_name_of_its_own() -> None:
    made = mutants("m", SOURCE)
    plain = ast.unparse(ast.parse(SOURCE))
    assert len({mutant.name for mutant in made}) == len(made)
    assert len({mutant.source for mutant in made} - {plain}) == len(made)
    for mutant in made:
        compile(mutant.source, "mutant", "exec")


def test_the_document_explains_only_mutants_that_there_are() -> None:
    """A row that no longer matches any mutant excuses nothing and is to be removed."""
    listed = re.findall(r"^\| `(.+?)` \|", Path("docs/mutation.md").read_text(), re.MULTILINE)
    made = {
        mutant.name
        for path in Path("engine/metering").rglob("*.py")
        for mutant in mutants(
            ".".join(path.with_suffix("").parts).removeprefix("engine.metering."), path.read_text()
        )
    }
    assert [row for row in listed if row.replace("\\|", "|") not in made] == []
