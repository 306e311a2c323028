"""Ways around the marketplace in a text: found and hidden, without I/O.

Before a pair has a paid order, addresses that lead off the platform are hidden from the receiver
(`hide_contacts`); numbers of payment cards never belong into a text at all (`hide_cards`). Both
replace what they find by `HIDDEN` and leave everything else alone: prices, dates, times, versions
and the platform's own numbers and links are not contacts. Digits of every script count, and
characters without width between them do not help. Spelling a number out does: the filter deters,
and what it cannot see is for reports and staff.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

HIDDEN = "•••"

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Screened:
    """A text as others may see it, and what was hidden in it: card, email, handle, link, phone."""

    text: str
    kinds: tuple[str, ...] = ()


def hide_cards(text: str) -> Screened:
    """Hide numbers of payment cards: 13 to 19 digits that pass the check of ISO/IEC 7812."""
    if _count_digits(text) < _CARD_DIGITS.start:  # the usual message
        return Screened(text)
    plain = _Plain(text)
    return plain.hide({"card": list(_cards(plain.text))})


def hide_contacts(text: str, own_host: str = "") -> Screened:
    """Hide cards, e-mail addresses, links, handles and telephone numbers.

    Links to `own_host`, the marketplace's own, stay.
    """
    plain = _Plain(text)
    found: dict[str, list[Span]] = {"card": list(_cards(plain.text))}
    rest = _blank(plain.text, found["card"])
    for kind, search in (("email", _emails), ("link", _links), ("handle", _handles)):
        found[kind] = search(rest, own_host)
        rest = _blank(rest, found[kind])
    found["phone"] = list(_phones(rest))
    return plain.hide(found)


class _Plain:
    """A text with ASCII digits and without invisible characters, and the way back."""

    def __init__(self, text: str) -> None:
        self._original = text
        self._places = [at for at, char in enumerate(text) if not _is_invisible(char)]
        self.text = "".join(_plain_char(text[at]) for at in self._places)

    def hide(self, found: dict[str, list[Span]]) -> Screened:
        spans = sorted(span for spans in found.values() for span in spans)
        if not spans:
            return Screened(self._original)
        parts, done = [], 0
        for start, stop in spans:
            parts += [self._original[done : self._places[start]], HIDDEN]
            done = self._places[stop - 1] + 1
        kinds = tuple(sorted(kind for kind, spans in found.items() if spans))
        return Screened("".join((*parts, self._original[done:])), kinds)


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf"


def _plain_char(char: str) -> str:
    """One character for one, so that places stay the same."""
    if char.isascii():
        return char
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if char.isspace():
        return " "
    return _LOOKS_LIKE.get(char, char)


_LOOKS_LIKE = dict.fromkeys("‐‑‒–—−", "-") | {"＠": "@", "．": ".", "。": ".", "＋": "+"}


def _blank(text: str, spans: Sequence[Span]) -> str:
    """The text with these places taken out of further searches."""
    for start, stop in spans:
        text = text[:start] + "\n" * (stop - start) + text[stop:]
    return text


def _search(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [match.span() for match in pattern.finditer(text)]


# Cards --------------------------------------------------------------------------------------------

_DIGIT_RUN = re.compile(r"(?<![\w.,])\d+(?:[ \-.]\d+)*(?!\w)")
_GROUP = re.compile(r"\d+")
_CARD_DIGITS = range(13, 20)
_CARD_ISSUERS = "23456"
"""First digits of cards for payment."""


def _cards(text: str) -> Iterator[Span]:
    for run in _DIGIT_RUN.finditer(text):
        groups = [(run.start() + g.start(), g.group()) for g in _GROUP.finditer(run.group())]
        yield from _windows(groups, _is_card, _CARD_DIGITS)


def _windows(
    groups: list[tuple[int, str]], is_one: Callable[[list[str]], bool], lengths: range
) -> Iterator[Span]:
    """Neighbouring groups of digits that make one number together, the longest first."""
    first = 0
    while first < len(groups):
        last = _last_of(groups, first, is_one, lengths)
        if last is None:
            first += 1
            continue
        yield groups[first][0], groups[last][0] + len(groups[last][1])
        first = last + 1


def _last_of(
    groups: list[tuple[int, str]], first: int, is_one: Callable[[list[str]], bool], lengths: range
) -> int | None:
    found, digits = None, 0
    taken: list[str] = []
    for last in range(first, len(groups)):
        taken.append(groups[last][1])
        digits += len(taken[-1])
        if digits >= lengths.stop:
            break
        if digits in lengths and is_one(taken):
            found = last
    return found


def _is_card(groups: list[str]) -> bool:
    if groups[0][0] not in _CARD_ISSUERS:
        return False
    digits = "".join(groups)
    return len(set(digits)) > 1 and _passes_luhn(digits)


_DOUBLED = str.maketrans("0123456789", "0246813579")
"""A digit twice, and the digits of that added."""


def _passes_luhn(digits: str) -> bool:
    plain, doubled = digits[-1::-2], digits[-2::-2].translate(_DOUBLED)
    return sum(map(int, plain + doubled)) % 10 == 0


# Addresses ----------------------------------------------------------------------------------------

_AT = r"(?:@|\s{0,3}[(\[{]\s?(?:at|@)\s?[)\]}]\s{0,3})"
_DOT = r"(?:\.|\s{0,3}[(\[{]\s?(?:dot|\.)\s?[)\]}]\s{0,3})"
_EMAIL = re.compile(
    rf"(?<![\w.+%-])[\w.+%-]{{1,64}}{_AT}[\w-]{{1,63}}(?:{_DOT}[\w-]{{1,63}}){{0,4}}"
    rf"{_DOT}[^\W\d_]{{2,24}}"
    r"|(?<!\w)[\w.+-]{1,64}\sat\s[\w-]{1,63}\sdot\s(?:com|net|org|ru|ir|de|me|io)(?!\w)",
    re.IGNORECASE,
)


def _emails(text: str, _own_host: str) -> list[Span]:
    return _search(_EMAIL, text)


# Endings that are no words of a sentence whose space was forgotten; the others only with a path.
_ENDINGS = (
    "com|net|org|info|biz|dev|app|shop|site|online|xyz|club|store|email|click|"
    "ru|su|by|kz|ua|ir|tr|uk|de|fr|es|pl|nl|ee|lv|lt|fi|se|dk|ch|cz|sk|ro|hu|gr|cn|jp|ca|eu|"
    "рф|укр|ایران"
)
_LINK = re.compile(
    r"(?<![\w@])(?:"
    r"[a-z][a-z0-9+.-]{1,15}://[^\s<>\"]{1,500}"
    r"|www\.[^\s<>\"]{1,500}"
    rf"|(?:[\w-]{{1,63}}\.){{1,4}}(?:{_ENDINGS})(?![\w-]|\.\w)(?::\d{{2,5}})?(?:[/?#][^\s<>\"]*)?"
    r"|(?:[\w-]{1,63}\.){1,4}(?!txt|py|js|ts|md|html?|json|ya?ml|pdf|docx?)[a-z]{2,8}/[\w?#=@~-]"
    r"[^\s<>\"]*"
    r")",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:[^/@\s]*@)?([^/:?#\s]+)", re.IGNORECASE)
_NO_HOSTS = frozenset({"asp.net", "ado.net", "vb.net", "ml.net", "paint.net"})
_AFTER_A_LINK = ".,;:!?)]}'»”"


def _links(text: str, own_host: str) -> list[Span]:
    spans = []
    for match in _LINK.finditer(text):
        link = match.group().rstrip(_AFTER_A_LINK)
        host = _HOST.match(link)
        name = host.group(1).lower() if host else ""
        if name in _NO_HOSTS or (own_host and name == own_host.lower()):
            continue
        spans.append((match.start(), match.start() + len(link)))
    return spans


_CODE_WORDS = (
    "property|media|import|override|dataclass|staticmethod|classmethod|param|returns?|throws|todo|"
    "deprecated|supports|keyframes|container|layer|apply|autowired|test|entity|component|all|here|"
    "everyone|channel"
)
_MESSENGERS = (
    r"telegram|tg|whats\s?app|viber|skype|instagram|insta|ig|wechat|weixin|discord|"
    r"facebook|fb|messenger|snapchat|kik|"
    r"телеграмм?|телега|тг|ватсап|вотсап|вацап|вайбер|скайп|инстаграм|инста|вк|"
    r"تلگرام|واتساپ|واتس\s?اپ|اینستاگرام|اینستا|اسکایپ|ایتا|روبیکا|بله"
)
_HANDLE = re.compile(
    rf"(?<![\w@./])@(?!(?:{_CODE_WORDS})\b)[a-z][\w.]{{2,31}}\b(?![(@])"
    rf"|(?<!\w)(?:{_MESSENGERS})\s?(?:id|nick|handle|ник|آیدی)?\s?[:=]\s?@?[a-z0-9][\w.:+-]{{3,40}}"
    rf"|(?<!\w)(?:{_MESSENGERS}|signal|line|zoom|teams)\s?[:=]?\s?(?:id\s)?(?:is\s)?@?(?=[\w.]*[a-z])(?=[\w.]*[\d_])[a-z][\w.]{{3,40}}",
    re.IGNORECASE,
)


def _handles(text: str, _own_host: str) -> list[Span]:
    return _search(_HANDLE, text)


# Telephones ---------------------------------------------------------------------------------------

_MONEY_WORD = (
    r"(?:€|\$|£|₽|₴|₺|₸|¥|﷼|eur(?:os?)?|usd|gbp|rub|uah|try|irr|chf|dollars?|rials?|tomans?|cents?|"
    r"руб(?:лей|ля|ль)?|р|грн|евро|تومان|ریال|یورو|دلار)"
)
_AMOUNT = r"(?:[1-9]\d{0,2}(?:[ ,.']\d{3}){1,4}|[1-9]\d{0,8}|0)(?:[.,]\d{1,2})?"
_YEAR = r"(?:1[34]|19|20)\d\d"
_NO_PHONE = re.compile(
    rf"{_MONEY_WORD}\s?{_AMOUNT}(?![\d])"
    rf"|(?<![\d.,]){_AMOUNT}\s?{_MONEY_WORD}(?!\w)"
    r"|(?<![\d.])\d{1,2}([./-])\d{1,2}\1\d{2,4}(?!\d)"  # 31.12.2026
    rf"|(?<![\d.]){_YEAR}([./-])\d{{1,2}}\2\d{{1,2}}(?!\d)"  # 2026-12-31
    r"|(?<!\d)\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?!\d)"  # 10:30
    rf"|(?<!\d){_YEAR}\s?-\s?{_YEAR}(?!\d)"
    r"|(?<![\d.])0\.\d+(?!\d)"  # 0.125
    r"|(?<![\d.])[1-9]\d*(?:\.\d{1,5}){3}(?![\d.])"  # 10.0.19045.3693
    r"|(?<!\d)97[89](?:[ -]?\d){10}(?!\d)"  # a book's
    r"|(?:TT|C)-[\dA-Z]{4}-?[\dA-Z]{4}(?![\w-])"  # of orders and cases
    r"|(?:#|№|no\.|nr\.)\s?\d{1,9}(?!\d)",
    re.IGNORECASE,
)
_CANDIDATE = re.compile(r"(?<![\w.,])(?:\+|00)?[(]?\d(?:[\s().\-/]{0,3}\d){6,24}(?![\w])")
_CALL_ME = re.compile(
    r"(?:phones?|call|tel|telephone|mobile|cell|ring|text me|sms|number|whats\s?app|viber|telegram|"
    r"signal|тел|телефон\w*|звони\w*|позвони\w*|номер\w*|ватсап|вотсап|вайбер|"
    r"تلفن|تماس|شماره|موبایل|واتساپ|ara|telefon\w*|numara\w*)\W{0,3}(?:\w+\W{1,3}){0,3}$",
    re.IGNORECASE,
)
_HINT_REACH = 40
_COUNTRIES = re.compile(r"380|375|37[0-4]|38[1-9]|99\d|90|98|9[1-57]|86|81|6[0-6]|[34]\d|971")
_MOST_PHONE_DIGITS = 15
_LOCAL_DIGITS = range(9, 13)


def _phones(text: str) -> Iterator[Span]:
    rest = _blank(text, _search(_NO_PHONE, text))
    for match in _CANDIDATE.finditer(rest):
        found = match.group()
        hinted = _CALL_ME.search(rest[max(0, match.start() - _HINT_REACH) : match.start()])
        if _is_abroad(found) or (hinted and 7 <= _count_digits(found) <= _MOST_PHONE_DIGITS):
            yield match.span()
            continue
        if "(" in found and 9 <= _count_digits(found) <= 13:
            yield match.span()
            continue
        groups = [(match.start() + g.start(), g.group()) for g in _GROUP.finditer(found)]
        if not _is_other([group for _, group in groups]):
            yield from _windows(groups, _is_local, _LOCAL_DIGITS)


def _count_digits(text: str) -> int:
    return sum(char.isdigit() for char in text)


def _is_abroad(found: str) -> bool:
    if found.startswith("+"):
        return 8 <= _count_digits(found) <= _MOST_PHONE_DIGITS + 4  # an extension may follow
    return found.startswith("00") and 10 <= _count_digits(found) <= _MOST_PHONE_DIGITS + 2


def _is_other(groups: list[str]) -> bool:
    """12 000 000, thousands apart and no zero in front; 1234 5678 9012, as keys are written."""
    if len(groups) == 1:
        return False
    thousands = groups[0][0] != "0" and all(len(group) == 3 for group in groups[1:])
    return thousands or (len(groups) > 2 and all(len(group) == 4 for group in groups))


def _is_local(groups: list[str]) -> bool:
    """A number as people write it in their own country, or with the country's but without a +."""
    digits = "".join(groups)
    if digits[0] == "0":
        return len(set(digits)) > 2
    if [len(group) for group in groups] == [3, 3, 4]:
        return True
    if len(digits) == 11:
        return digits[0] in "78"
    return len(digits) == 12 and _COUNTRIES.match(digits) is not None
