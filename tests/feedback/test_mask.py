"""Personal data are found by what they are; what only looks like them stays."""

from __future__ import annotations

import base64

import pytest

from flywheel.feedback.mask import Mask, is_card, is_iban
from flywheel.project.config_feedback import MASKS


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to anna.b+x@mail.example.org, please", "write to <email>, please"),
        ("see https://example.org/u/anna?id=3 or www.anna.example", "see <url> or <url>"),
        ("from 192.168.0.17 and ::ffff:10.0.0.1 and 2001:db8::17.So", "from <ip> and <ip> and <ip>.So"),
        ("IBAN DE89 3704 0044 0532 0130 00 today", "IBAN <iban> today"),
        ("gb82west12345698765432.", "<iban>."),
        ("card 4111 1111 1111 1111, 5500-0055-5555-5559", "card <card>, <card>"),
        ("call +41 44 668 18 00 or (650) 253-0000", "call <phone> or <phone>"),
        ("thanks @anna_b and @bob", "thanks <handle> and <handle>"),
        ("Grüße an jürgen@müller.example", "Grüße an <email>"),
    ],
)
def test_what_is_personal_is_masked(text: str, masked: str) -> None:
    assert Mask(MASKS, ["US"]).text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "at 10:30 on 2026-11-25, version 1.2.3, order 4111 1111 1111 1112",
        "IBAN DE89 3704 0044 0532 0130 01 has wrong digits",
        "999.999.999.999 and 1.2.3.4.5 are no addresses; 12:34:56 is a time; :: too",
        "0000 0000 0000 0000 is no card",
        "email at home, 3 @ 5 each, a@b",
        "a room of 650 253 by 12",
        pytest.param(":" * 100_000 + "g", id="colons"),
        "",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert Mask(MASKS, ["US"]).text(text) == text


def test_only_the_kinds_that_were_asked_for() -> None:
    assert Mask(["handle"]).text("@anna anna@example.org") == "<handle> anna@example.org"
    assert Mask(["phone"]).text("(650) 253-0000 +41 44 668 18 00") == "(650) 253-0000 <phone>"
    assert Mask([]).text("anna@example.org") == "anna@example.org"


def test_rows_are_masked_however_deep_and_files_stay() -> None:
    picture = base64.b64encode(bytes(range(256))).decode()
    row = {"a@b.example": "a@b.example", "n": 4111111111111111, "image": picture, "url": f"data:;base64,{picture}",
           "more": {"list": ["x@y.example", 3, None, ["z@y.example"]]}, "pixels": [[1, 2], [3, 4]]}  # fmt: skip
    masked = Mask(MASKS).json(row)
    assert masked == {**row, "a@b.example": "<email>", "more": {"list": ["<email>", 3, None, ["<email>"]]}}


def test_masking_a_masked_text_changes_nothing() -> None:
    mask = Mask(MASKS, ["US"])
    once = mask.text("anna@example.org (650) 253-0000 @anna 10.0.0.1 www.example.org")
    assert mask.text(once) == once


@pytest.mark.parametrize("text", ["@" * 20_000, "a." * 20_000 + "@", "1-" * 20_000, ":" * 20_000, "DE89 " * 5_000])
@pytest.mark.timeout(20)
def test_texts_made_to_be_slow_are_not(text: str) -> None:
    Mask(MASKS, ["US"]).text(text)


def test_check_digits() -> None:
    assert is_card("4111111111111111")
    assert not is_card("4111111111111112")
    assert is_iban("DE89370400440532013000")
    assert not is_iban("DE89370400440532013001")
    assert not is_iban("DE893704")
