"""Which passwords are too weak (NIST SP 800-63B section 3.1.1.2): no rules of composition, but
nothing common, repetitive, sequential or made of what everybody knows about the account. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.errors import BadInput

LEAST_CHARACTERS = 10
MOST_CHARACTERS = 256

_COMMON = frozenset(
    """
    password passwort passw0rd contrasena contraseña motdepasse parola parol senha sifre şifre
    geslo heslo haslo lozinka wachtwoord salasana пароль رمزعبور qwerty qwertz azerty qwertyuiop
    asdfgh asdfghjkl zxcvbn zxcvbnm qazwsx qazwsxedc йцукен фывапролдж letmein welcome
    willkommen bienvenue benvenuto iloveyou tequiero jetaime ichliebedich mylove lovely sunshine
    princess princesa football baseball basketball superman batman spiderman starwars pokemon
    minecraft dragon monkey shadow master michael jennifer jessica michelle daniel charlie
    jordan thomas hunter ashley bailey andrew matthew nicole anthony joshua pepper ginger summer
    winter spring autumn january february september october november december monday friday
    admin administrator administrador root toor user guest test testing tester demo default
    changeme secret topsecret access login trustno computer internet samsung google facebook
    instagram whatsapp linkedin microsoft windows chelsea liverpool arsenal barcelona realmadrid
    juventus manchester mustang corvette ferrari mercedes cookie chocolate butterfly purple
    orange yellow flower freedom whatever forever hello hellohello sayang angel angels family
    friends happy blessed jesus jesuschrist godisgood killer matrix phoenix champion thunder
    diamond tigger maggie buster unknown nothing nopassword mypassword yourpassword newpassword
    oldpassword password123
    """.split()  # noqa: SIM905
)
_LEET = str.maketrans("01345789@$!+", "oleastbgasit")
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik",
    "1q2w3e4r5t6y7u8i9o0p",
    "йцукенгшщзхъфывапролджэячсмитьбю",
    "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
)
_LONGEST_RUN = 4
"""Neighbours on a keyboard or in an alphabet count as one step from this length on."""


def check(password: str, known: Iterable[str]) -> None:
    """`known`: what others know of the account, such as its address and name.

    Raises `BadInput`: `password_too_short`, `password_too_long`, `password_too_common`.
    """
    if len(password) < LEAST_CHARACTERS:
        raise BadInput(
            "password_too_short",
            f"A password has at least {LEAST_CHARACTERS} characters.",
            path="$.password",
        )
    if len(password) > MOST_CHARACTERS:
        raise BadInput(
            "password_too_long",
            f"A password has at most {MOST_CHARACTERS} characters.",
            path="$.password",
        )
    if _is_guessable(password.casefold(), known):
        raise BadInput("password_too_common", "This password is easily guessed.", path="$.password")


def _is_guessable(password: str, known: Iterable[str]) -> bool:
    words = _COMMON | {word for text in known for word in _words(text)}
    return any(_own(form, words) < _LONGEST_RUN + 2 for form in (password, _plain(password)))


def _plain(password: str) -> str:
    """With digits that stand for letters written as those, but for what is only a number's end."""
    stem = password.rstrip("0123456789!?.@#$%&*+-_")
    return stem.translate(_LEET) + password[len(stem) :]


def _words(text: str) -> Iterable[str]:
    whole = re.findall(r"\w{4,}", text.casefold())
    return [*whole, "".join(whole)] if whole else []


def _own(password: str, words: Iterable[str]) -> int:
    """How many characters are the password's own: common words, runs and repetitions count one."""
    rest = password
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "\0")
    rest = re.sub(r"(?<!\d)(19|20)\d\d(?!\d)", "\0", rest)  # a year
    rest = re.sub(r"(.+?)\1+", r"\1", rest, flags=re.DOTALL)
    count, place = 0, 0
    while place < len(rest):
        place += max(1, _run(rest, place))
        count += 1
    return count


def _run(text: str, place: int) -> int:
    """The length of a run along a row that begins here; 0 if it is too short to be one."""
    length = max(_along(text, place, row) for row in (*_ROWS, *(r[::-1] for r in _ROWS)))
    return length if length >= _LONGEST_RUN else 0


def _along(text: str, place: int, row: str) -> int:
    start = row.find(text[place])
    if start < 0:
        return 0
    length = 1
    while (
        place + length < len(text)
        and start + length < len(row)
        and text[place + length] == row[start + length]
    ):
        length += 1
    return length
