"""What a listing says: its content as a revision keeps it, and the words it is found by. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from admin.market.preset import Preset
from admin.market.terms import Terms
from engine.errors import BadInput, TalktimeError
from engine.metering.money import MAX_AMOUNT_MINOR
from engine.metering.tariff import Tariff

MOST_IMAGES = 8
MODES = ("video", "audio", "text")
_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 400
_MOST_WORD_CHARACTERS = 40


class Content(Struct, kw_only=True):
    """One revision. `title`, `description`: by locale, the first locale is the listing's own.

    `images`, `files`: ids. `requirements`: what the buyer should tell before the work (P26).
    """

    locales: list[str]
    title: dict[str, str]
    description: dict[str, str]
    category: str
    images: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    requirements: str = ""


def read(stored: Mapping[str, Any]) -> Content:
    return msgspec.convert(stored, Content)


def check(content: Content, preset: Preset) -> None:
    """Every language filled (C33), of those that the marketplace has.

    Raises `BadInput`: `locale_unknown`, `text_missing`, `too_many_locales`.
    """
    if not 1 <= len(content.locales) <= 2 or len(set(content.locales)) != len(content.locales):
        raise BadInput("too_many_locales", "One or two languages.", path="$.locales")
    for locale in content.locales:
        if locale not in preset.locales:
            raise BadInput("locale_unknown", f"No such language: {locale}", path="$.locales")
    for name in ("title", "description"):
        texts: dict[str, str] = getattr(content, name)
        for locale in content.locales:
            if not texts.get(locale, "").strip():
                path = f"$.{name}.{locale}"
                raise BadInput("text_missing", f"The {name} lacks {locale}.", path=path)
        for locale in texts:
            if locale not in content.locales:
                path = f"$.{name}.{locale}"
                raise BadInput("locale_unknown", f"Not a language of it: {locale}", path=path)


def incomplete(
    content: Content, kind: str, *, priced: bool, category_known: bool
) -> TalktimeError | None:
    """Why it cannot be shown to customers yet."""
    if not priced:
        return BadInput("price_missing", "Say what it costs first.", path="$.tariffs")
    if not category_known:
        return BadInput("category_missing", "Choose a category first.", path="$.category")
    if kind == "files" and not content.files and not content.links:
        return BadInput("files_missing", "Add a file or a link first.", path="$.files")
    return None


def check_slot(n: int, count: int, most: int) -> None:
    """Where a file may be put: in place of one, or behind the last.

    Raises `BadInput("too_many_files")` (T76).
    """
    if n > most:
        raise BadInput("too_many_files", f"A listing has at most {most} files.", path="$.n")
    if n > count + 1:
        raise BadInput("file_gap", f"The next file is number {count + 1}.", path="$.n")


def check_links(links: list[str], terms: Terms) -> None:
    if len(links) > terms.max_links:
        message = f"A listing has at most {terms.max_links} links."
        raise BadInput("too_many_links", message, path="$.links")


# Prices -------------------------------------------------------------------------------------------


def tariffs(prices: Mapping[Any, int], preset: Preset, currency: str) -> dict[str, Tariff]:
    """The marketplace's tariff at these prices, by mode.

    Raises `BadInput`: `mode_not_offered`, `price_out_of_range`.
    """
    made = {}
    for mode, price_minor in prices.items():
        if mode not in preset.modes:
            raise BadInput("mode_not_offered", f"No such mode: {mode}", path=f"$.tariffs.{mode}")
        values = dict(preset.tariff)
        if mode == "text":  # its free part is everything before the clock's message
            values["grace_seconds"] = 0
        try:
            made[mode] = Tariff(currency=currency, price_minor=price_minor, **values)
        except ValueError as error:
            path = f"$.tariffs.{mode}"
            raise BadInput("price_out_of_range", str(error), path=path) from None
    return made


def price_from_minor(offered: Iterable[Tariff], price_minor: int | None) -> int:
    """The least that ordering it puts on hold; 0 while it has no price."""
    least = min((tariff.prepay_minor() for tariff in offered), default=price_minor or 0)
    return min(least, MAX_AMOUNT_MINOR)


# Search -------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Lower-cased words of letters and digits, as they are indexed and looked for."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [word[:_MOST_WORD_CHARACTERS] for word in _WORD.findall(folded)]


def facet(name: str, value: str) -> str:
    """A token that no word of a user can be: what a listing has, beside what it says."""
    return f"{name}={''.join(words(value)) or '?'}"


def search_text(content: Content, modes: Iterable[str], languages: Iterable[str], who: str) -> str:
    """Tokens with single spaces between them: words in every language, then facets."""
    said = [who, *content.title.values(), content.category, *content.description.values()]
    tokens = dict.fromkeys(word for text in said for word in words(text))
    found = list(tokens)[:_MOST_WORDS]
    found += [facet("locale", locale) for locale in content.locales]
    found += [facet("mode", mode) for mode in modes]
    found += [facet("language", language) for language in languages]
    return " ".join(found)
