"""What a page is to people who do not see it, or use no mouse: axe, the keyboard, live regions."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page

AXE = Path(__file__).parents[2] / "engine/client/node_modules/axe-core/axe.min.js"

_RUN_AXE = """async () => {
  const tags = {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]};
  const {violations} = await axe.run(document, {runOnly: tags, resultTypes: ["violations"]});
  return violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)]);
}"""

_LISTEN = """() => {
  window.heard = [];
  new MutationObserver((changes) => {
    for (const {target} of changes) {
      const text = target.parentElement?.closest("[data-live]") && target.textContent
        || target.dataset?.live && target.textContent;
      if (text) window.heard.push(text);
    }
  }).observe(document, {subtree: true, childList: true, characterData: true});
}"""

_IN_REACH = """(element) => {
  const box = element.getBoundingClientRect();
  const inside = box.left >= 0 && box.top >= 0
    && box.right <= innerWidth + 0.5 && box.bottom <= innerHeight + 0.5;
  const top = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
  return box.width > 0 && inside && element.contains(top);
}"""

_FOCUSED = """() => {
  const element = document.activeElement;
  const shown = element.matches("input[type=radio]") ? element.closest("label") : element;
  const {outlineStyle, outlineWidth} = getComputedStyle(shown);
  return {
    name: element.dataset.testid ?? "",
    outlined: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
  };
}"""


async def axe_violations(page: Page) -> list[Any]:
    """Breaches of WCAG 2.2 A and AA that axe finds, contrast included: rule and elements.

    What still moves is let come to rest: a half faded element has half of its contrast.
    """
    await page.evaluate(
        "() => document.getAnimations().filter((a) => a.effect.getTiming().iterations !== Infinity)"
        ".forEach((a) => a.finish())"
    )
    await page.evaluate(AXE.read_text())
    found: list[Any] = await page.evaluate(_RUN_AXE)
    return found


async def listen(page: Page) -> None:
    """Collect what screen readers are told, from now on and after a reload."""
    await page.add_init_script(f"({_LISTEN})()")
    await page.evaluate(_LISTEN)


async def hear(page: Page, words: str) -> None:
    """Wait until a screen reader has been told something with `words` in it."""
    await page.wait_for_function(
        "words => window.heard.some((text) => text.includes(words))", arg=words, timeout=15_000
    )


async def in_reach(locator: Locator, timeout_s: float = 5) -> bool:
    """Whether the element comes wholly on the screen, and a tap on its middle meets it."""
    deadline = time.monotonic() + timeout_s
    while not await locator.evaluate(_IN_REACH):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def tab_through(page: Page, presses: int) -> dict[str, bool]:
    """Press Tab so often: the test id of each control that got the focus, and whether it shows."""
    reached: dict[str, bool] = {}
    for _ in range(presses):
        await page.keyboard.press("Tab")
        at = await page.evaluate(_FOCUSED)
        reached[at["name"]] = at["outlined"]
    return reached
