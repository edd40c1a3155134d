from __future__ import annotations

import random
import time
from typing import Any

import pytest

from flywheel.modality.text.data.cleaning import TextCleaning, near_text


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Bad.<br /><br />Very &amp; truly <B class='x'>bad</B>!", "Bad. Very & truly bad !"),
        ("a <!-- no --> b <script>alert('<p>')</script> c", "a b c"),
        ("&amp;amp;lt;b&gt;x", "x"),
        ("I &lt;3 it, 2 < 3 > 1, x <y and z> w", "I <3 it, 2 < 3 > 1, x <y and z> w"),
        ("The caf\u00c3\u00a9 isn\u00e2\u20ac\u2122t", "The caf\u00e9 isn\u2019t"),
        ("so\x00 it\u200b is\x07\ufeff \ud800", "so it is"),
        ("  one\r\n two\u00a0\tthree ", "one two three"),
        ("e\u0301t\u00e9", "\u00e9t\u00e9"),
        ("\U0001f469\u200d\U0001f680 up", "\U0001f469\u200d\U0001f680 up"),
    ],
)
def test_damage_is_fixed_and_what_is_meant_stays(dirty: str, clean: str) -> None:
    assert TextCleaning().clean(dirty) == clean


def test_each_option_can_be_left_out() -> None:
    nothing = {"html": False, "encoding": False, "control": False, "unicode": False, "whitespace": False}
    dirty = " <b>\x00Caf\u00c3\u00a9 e\u0301 &amp;\n"
    assert TextCleaning(**nothing).clean(dirty) == dirty
    found = {key: TextCleaning(**{**nothing, key: True}).clean(dirty) for key in nothing}
    assert found == {
        "html": "  \x00Caf\u00c3\u00a9 e\u0301 &\n",
        "encoding": " <b>\x00Caf\u00e9 e\u0301 &amp;\n",
        "control": " <b>Caf\u00c3\u00a9 e\u0301 &amp;\n",
        "unicode": " <b>\x00Caf\u00c3\u00a9 \u00e9 &amp;\n",
        "whitespace": "<b>\x00Caf\u00c3\u00a9 e\u0301 &amp;",
    }
    assert TextCleaning(lowercase=True).clean("ABC \u00c4") == "abc \u00e4"


def test_urls_and_users_are_kept_marked_or_dropped() -> None:
    text = "RT @Bob_1: see https://t.co/x?y=1 and www.a.org me@b.com"
    assert TextCleaning().clean(text) == text
    marked = TextCleaning(urls="mark", users="mark").clean(text)
    assert marked == "RT @user: see httpurl and httpurl me@b.com"
    assert TextCleaning(urls="drop", users="drop").clean(text) == "RT : see and me@b.com"
    with pytest.raises(ValueError, match=r"cleaning\.urls must be one of keep, mark, drop"):
        TextCleaning(urls="hide")


@pytest.mark.parametrize("options", [{}, {"urls": "drop", "users": "drop", "lowercase": True}, {"users": "mark"}])
def test_cleaning_a_clean_text_changes_nothing(options: dict[str, Any]) -> None:
    pieces = ["&amp;", "&", "amp;", "lt;", "<br />", "<", "br>", "\x00", "\u00e9", "\u00c3\u00a9", "\u00e2\u20ac\u2122",
              "\u200b", " ", "\r\n", "@bob", "http://x.y", "#38;", "a", "<!--", "-->", "<script>", "</script>",
              "e\u0301", "\u0130", "\ud800", "\ufb01", "&eacute;"]  # fmt: skip
    cleaning, draw = TextCleaning(**options), random.Random(0)
    for _ in range(2000):
        once = cleaning.clean("".join(draw.choices(pieces, k=draw.randint(1, 12))))
        assert cleaning.clean(once) == once


@pytest.mark.parametrize("piece", ["<!--", "<script>", "<a ", "&amp;", "&#38;lt;", "http://", "@a", "<"])
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    start = time.perf_counter()
    TextCleaning(urls="mark", users="mark").clean(piece * 50_000)
    assert time.perf_counter() - start < 2


def test_near_duplicates_are_equal_and_others_are_not() -> None:
    tweet = "Cars that drive themselves? Never! http://t.co/1 #nope"
    for like in (
        "RT @ann: Cars that drive themselves? Never! #nope",
        "cars that drive themselves, NEVER... @bob #Nope",
    ):
        assert near_text(like) == near_text(tweet) == "carsthatdrivethemselvesnevernope"
    assert near_text("Cars that drive themselves? Ever!") != near_text(tweet)
    assert near_text("via Rome") == "viarome"
    assert near_text("@ann http://t.co/1 :)") == ""
