"""Replaces personal data in texts by the name of their kind, `<email>`, before anything is stored.

Where a number has check digits (cards, IBAN) they must be right, an address must be one, and telephone numbers are
found by Google's rules (the package `phonenumbers`): what only looks like one, a date or an order's number, stays. The
larger libraries for this work recognise names as well, by language models that have to be downloaded: too heavy for a
server's way to its store, and their answers change with the model.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flywheel.project.config_feedback import MASKS
from flywheel.project.types import Json

Span = tuple[int, int]

_EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}\w{2,24}")
_URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\"']+|\bwww\.[^\s<>\"']+", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])(?=[0-9a-fA-F]*+:[0-9a-fA-F]*+:)[0-9a-fA-F:.]+(?![\w:])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{1,4}){3,9}\b", re.IGNORECASE)
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_HANDLE = re.compile(r"(?<![\w@/.])@\w{1,64}")
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{64,}")
_SHORTEST_IBAN, _LONGEST_IBAN = 15, 34


class Mask:
    """Masks some kinds of personal data.

    Args:
        kinds: Some of the kinds in `flywheel.project.config_feedback.MASKS`.
        phone_regions: Countries (two letters) whose national numbers are known.
    """

    def __init__(self, kinds: Sequence[str], phone_regions: Sequence[str] = ()) -> None:
        self.kinds = [kind for kind in MASKS if kind in kinds]
        self._find: dict[str, Callable[[str], Iterator[Span]]] = {**_FIND, "phone": _phones_of(phone_regions)}

    def json(self, value: Json) -> Json:
        """Mask every text of a row, however deep; keys, numbers and encoded files stay."""
        return {key: self._any(item) for key, item in value.items()}

    def text(self, text: str) -> str:
        """Mask a text: `write to <email>`."""
        for kind in self.kinds:
            spans = list(self._find[kind](text))
            for start, end in reversed(spans):
                text = f"{text[:start]}<{kind}>{text[end:]}"
        return text

    def _any(self, value: Any) -> Any:
        if isinstance(value, str):
            return value if value.startswith("data:") or _ENCODED.fullmatch(value) else self.text(value)
        if isinstance(value, list):
            return value if value and not isinstance(value[0], str | list | dict) else [self._any(one) for one in value]
        return self.json(value) if isinstance(value, dict) else value


def is_card(digits: str) -> bool:
    """Whether a number's last digit checks the others by Luhn's rule, as those of payment cards do."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 * (number > 9)
    return total % 10 == 0 and len(set(digits)) > 1


def is_iban(text: str) -> bool:
    """Whether the two check digits of an IBAN (no spaces) are right: modulo 97, ISO 13616."""
    if not _SHORTEST_IBAN <= len(text) <= _LONGEST_IBAN:
        return False
    turned = text[4:] + text[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def _spans(pattern: re.Pattern[str]) -> Callable[[str], Iterator[Span]]:
    def find(text: str) -> Iterator[Span]:
        return (match.span() for match in pattern.finditer(text))

    return find


def _cards(text: str) -> Iterator[Span]:
    return (match.span() for match in _CARD.finditer(text) if is_card(re.sub(r"\D", "", match[0])))


def _ibans(text: str) -> Iterator[Span]:
    """A word after it may look like another group, so the longest beginning that is an IBAN counts."""
    for match in _IBAN.finditer(text):
        found = match[0]
        while found:
            plain = re.sub(r"[ -]", "", found).upper()
            if is_iban(plain):
                yield match.start(), match.start() + len(found)
                break
            cut = max(found.rfind(" "), found.rfind("-"))
            found = found[:cut] if cut > 0 else ""


def _addresses(text: str) -> Iterator[Span]:
    last = 0
    places = [match.span() for pattern in (_IPV4, _IPV6) for match in pattern.finditer(text)]
    for start, end in sorted(places):
        found = text[start:end].rstrip(".:")
        if start >= last and _is_address(found):
            last = start + len(found)
            yield start, last


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _phones_of(regions: Sequence[str]) -> Callable[[str], Iterator[Span]]:
    def find(text: str) -> Iterator[Span]:
        if sum(map(str.isdigit, text)) < 7:
            return
        from phonenumbers import Leniency, PhoneNumberMatcher

        taken: list[Span] = []
        for region in (None, *regions):
            for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
                if all(match.end <= start or match.start >= end for start, end in taken):
                    taken.append((match.start, match.end))
        yield from sorted(taken)

    return find


_FIND: dict[str, Callable[[str], Iterator[Span]]] = {
    "email": _spans(_EMAIL), "url": _spans(_URL), "ip": _addresses, "iban": _ibans, "card": _cards,
    "handle": _spans(_HANDLE),
}  # fmt: skip
