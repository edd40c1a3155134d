"""Cleans texts: HTML, encoding damage, control characters, Unicode forms, whitespace, URLs and user names.

Cleaning a clean text changes nothing: `clean` repeats its steps until the text stays as it is.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, fields

from flywheel.project.types import Json
from flywheel.reader.format.value import one_line_end

HANDLING = ("keep", "mark", "drop")
URL_MARK, USER_MARK = "httpurl", "@user"  # the words of Nguyen et al. 2020, BERTweet, arXiv:2005.10200
MAX_PASSES = 8
"""More are needed only for entities that someone nested on purpose, eight deep."""

_TAGS = (
    "a abbr acronym address article aside audio b base big blockquote body br button canvas caption center cite code"
    " col colgroup dd del details dfn dialog div dl dt em embed fieldset figcaption figure font footer form frame"
    " frameset h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label legend li link main map mark"
    " marquee meta nav noscript object ol optgroup option p param picture pre q s samp section select small source"
    " span strike strong sub summary sup svg table tbody td template textarea tfoot th thead time title tr tt u ul"
    " var video wbr"
)
# Only real elements: "x <y and z> w" is not HTML. What follows the name must not hold another "<".
_TAG = re.compile(rf"</?(?:{_TAGS.replace(' ', '|')})(?:\s[^<>]*|/)?>|<!doctype[^<>]*>", re.IGNORECASE)
# No second beginning inside: else a text of nothing but beginnings would take time that grows with its square.
_HIDDEN = re.compile(
    r"<!--(?:(?!<!--).)*?-->|<(script|style)(?:\s[^<>]*)?>(?:(?!<\1).)*?</\1\s*>", re.IGNORECASE | re.DOTALL
)
# C0 and C1 without tab and line ends; zero-width space, soft hyphen, direction marks, byte order mark, noncharacters.
# Zero-width joiners stay: they are part of emoji and of Indic scripts. Lone surrogates cannot be stored as UTF-8.
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")
_URL = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
_USER = re.compile(r"(?<![\w@])@\w+")


@dataclass(frozen=True)
class TextCleaning:
    """What is cleaned; each a key of `preprocess.inputs.cleaning`.

    Attributes:
        html: Turn entities (`&amp;`) into characters, and tags into a space; comments, scripts and styles go.
        encoding: Fix UTF-8 that was read as latin-1, Windows-1252 and the like (ftfy; Speer 2019).
        control: Remove control characters, invisible ones and lone surrogates.
        unicode: Compose characters (NFC), so that equal texts have equal code points.
        whitespace: Make every run of white space one space, and strip both ends.
        lowercase: Write everything in small letters.
        urls: `keep`, `mark` (each becomes `httpurl`) or `drop`.
        users: The same for `@name`; the mark is `@user`.
    """

    html: bool = True
    encoding: bool = True
    control: bool = True
    unicode: bool = True
    whitespace: bool = True
    lowercase: bool = False
    urls: str = "keep"
    users: str = "keep"

    def __post_init__(self) -> None:
        """Refuse handlings that there are not."""
        for key in ("urls", "users"):
            if getattr(self, key) not in HANDLING:
                raise ValueError(f"cleaning.{key} must be one of {', '.join(HANDLING)}, not '{getattr(self, key)}'")

    def clean(self, text: str) -> str:
        """Clean one text."""
        text = one_line_end(text)  # a file that was saved on another system holds the same text
        for _ in range(MAX_PASSES):
            cleaned = self._pass(text)
            if cleaned == text:
                break
            text = cleaned
            if cleaned.isascii() and not any(sign in cleaned for sign in "&<@"):
                break  # nothing is left that a second pass could find
        return text

    def to_json(self) -> Json:
        """The options."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _pass(self, text: str) -> str:
        if self.encoding and not text.isascii():
            text = _fixed(text)
        if self.html and "&" in text:
            text = html.unescape(text)
        if self.control:
            text = _CONTROL.sub("", text)
        if self.html and "<" in text:
            text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
        if self.unicode and not text.isascii():
            text = unicodedata.normalize("NFC", text)
        if self.lowercase:
            text = text.lower()
        if self.urls != "keep":
            text = _URL.sub(URL_MARK if self.urls == "mark" else " ", text)
        if self.users != "keep":
            text = _USER.sub(USER_MARK if self.users == "mark" else " ", text)
        return _SPACE.sub(" ", text).strip() if self.whitespace else text


_RETWEET = re.compile(r"\b(?:RT|MT|via)\b(?=\s*+(?::\s*+)?@)", re.IGNORECASE)
_SIGNS = re.compile(r"[\W_]+")


def near_text(text: str) -> str:
    """What remains of a text when case, retweet marks, user names, URLs, punctuation and white space are gone.

    Two texts of which it is equal and not empty are near-duplicates: a tweet and its retweet, a review sent twice.
    """
    text = _USER.sub(" ", _RETWEET.sub(" ", _URL.sub(" ", text)))
    return _SIGNS.sub("", text).casefold()


def _fixed(text: str) -> str:
    from ftfy import fix_encoding  # takes a tenth of a second to import; most texts need none of it

    return fix_encoding(text)
