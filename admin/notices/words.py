"""Templates to texts: each kind of notice in the reader's language, else in English.

A template is `templates/<locale>/<type>.txt` with the blocks ``subject``, which is also the line in
the inbox and the text of an SMS, and ``body``. Kinds without a template of their own are told with
``other.txt``. The values: `name` of the reader, `market`, `link` to what it is about, `data` of the
event and what `admin.notices.facts` knows of its subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from admin.http.times import money_text
from admin.market.preset import Preset
from admin.notices.mail import one_line

TEMPLATES = Path(__file__).parent / "templates"
DEFAULT_LOCALE = "en"
OTHER = "other"

_PAGES = {
    "order": "/orders/{id}",
    "listing": "/listings/{id}",
    "request": "/requests/{id}",
    "proposal": "/proposals/{id}",
    "case": "/cases/{id}",
    "payout": "/wallet",
    "payment": "/wallet",
    "wallet": "/wallet",
    "application": "/application",
    "account": "/account",
    "user": "/account",
    "conversation": "/messages/{id}",
    "message": "/messages/{id}",
    "review": "/reviews/{id}",
}
"""Where the storefront shows what a notice is about."""


class Words:
    """Renders notices of one marketplace."""

    def __init__(
        self,
        preset: Preset,
        public_url: str,
        *,
        undefined: type[jinja2.Undefined] = jinja2.ChainableUndefined,
    ) -> None:
        self._market = preset.title
        self._url = public_url.rstrip("/")
        self._environments = {
            locale: _environment(locale, undefined) for locale in {*preset.locales, DEFAULT_LOCALE}
        }

    def link(self, subject_type: str, subject_id: str) -> str:
        page = _PAGES.get(subject_type, "/notifications")
        return self._url + page.format(id=quote(subject_id, safe=""))

    def page(self, path: str, **query: str) -> str:
        """An absolute link into the storefront."""
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self._url}{path}?{asked}"

    def subject(self, type_: str, locale: str, values: Mapping[str, Any]) -> str:
        return one_line(self._block("subject", type_, locale, values))

    def text(self, type_: str, locale: str, values: Mapping[str, Any]) -> str:
        """The whole mail, from greeting to signature."""
        template = self._template(type_, locale)
        return template.render(self._values(values)).strip() + "\n"

    def _block(self, name: str, type_: str, locale: str, values: Mapping[str, Any]) -> str:
        template = self._template(type_, locale)
        context = template.new_context(dict(self._values(values)))
        return "".join(template.blocks[name](context))

    def _values(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"market": self._market, "home": self._url, **values}

    def _template(self, type_: str, locale: str) -> jinja2.Template:
        if locale in self._environments and type_ in written(locale):
            return self._environments[locale].get_template(f"{type_}.txt")
        name = type_ if type_ in written(DEFAULT_LOCALE) else OTHER
        return self._environments[DEFAULT_LOCALE].get_template(f"{name}.txt")


def _environment(locale: str, undefined: type[jinja2.Undefined]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES / locale),
        autoescape=False,  # plain text
        undefined=undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["money"] = money_text
    return environment


@cache
def written(locale: str) -> frozenset[str]:
    """The types that have a template in this very language."""
    return frozenset(path.stem for path in (TEMPLATES / locale).glob("*.txt"))
