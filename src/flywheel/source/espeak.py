"""`espeak:<dist>==<version>/<file>?words=...`: recordings that the speech synthesiser eSpeak NG speaks, from its wheel.

    espeak:espeakng-loader==0.2.4/digits.zip?words=0,1,2&accents=en,en-us&takes=3&rate_hz=8000&seed=0

| setting | meaning | if not given |
|---|---|---|
| words | what is spoken, with commas between | has to be |
| accents | eSpeak's language names | en-us |
| voices | eSpeak's voice variants | all that the wheel has |
| takes | how often each voice speaks each word | 1 |
| speed | words a minute, `least-most` | 120-200 |
| pitch | 0 to 100, `least-most` | 30-70 |
| rate_hz | samples a second | 16000 |
| seed | of speed and pitch, and of the noise in a voice | 0 |

The file is a zip of `<word>_<voice>_<accent>_<take>.wav`. The same wheel on the same kind of machine gives the same
bytes. The wheel is not installed; its library is loaded in a process of its own.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from flywheel.project.config import SourceConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.source.base import Job, Source, safe_name
from flywheel.source.pypi import PypiSource
from flywheel.source.tool import run_tool

PACKAGE = "espeakng_loader"
PROGRAM = Path(__file__).with_name("espeak_speaker.py")


@dataclass(frozen=True)
class SpeechPlan:
    """What an `espeak:` URI asks for; see the module."""

    requirement: str
    file: str
    words: tuple[str, ...]
    accents: tuple[str, ...] = ("en-us",)
    voices: tuple[str, ...] = ()
    takes: int = 1
    speed: tuple[int, int] = (120, 200)
    pitch: tuple[int, int] = (30, 70)
    rate_hz: int = 16000
    seed: int = 0


class EspeakSource(Source):
    """Recordings made here."""

    def __init__(self, config: SourceConfig, job: Job) -> None:
        super().__init__(config, job)
        self._wheel = PypiSource(SourceConfig(_in_wheel(parse(config.uri)), sha256=config.sha256), job)

    def get(self, uri: str) -> Path:
        """Fetch the wheel, and let it speak."""
        plan = parse(uri)
        folder = self._wheel.get(_in_wheel(plan))
        made = self.job.new_folder()
        written = {**asdict(plan), "folder": str(folder)}
        (made / "plan.json").write_text(json.dumps(written), encoding="utf-8")
        # -P: or the folder of the program would be searched first, and this package's http.py found for Python's.
        run_tool([sys.executable, "-P", str(PROGRAM), "plan.json", plan.file], made)
        return made / plan.file

    def probe(self, uri: str) -> str:
        """See whether the wheel could be fetched."""
        return self._wheel.probe(_in_wheel(parse(uri)))

    def validator(self, uri: str) -> str:
        """Give all of it: a published wheel never changes, and the settings are in the URI."""
        return uri


def parse(uri: str) -> SpeechPlan:
    """Take an `espeak:` URI apart.

    Raises:
        ConfigError: It has another form, or a setting that is not known or cannot be.
    """
    found = re.fullmatch(r"espeak:([A-Za-z0-9][\w.-]*==[\w.+!-]+)/([\w.-]+\.zip)\?(.+)", uri)
    if not found or not safe_name(found[2]):
        form = "espeak:<dist>==<version>/<file>.zip?words=<word>,<word>"
        raise ConfigError(f"not of the form {form}", where=uri)
    given = dict(parse_qsl(found[3], keep_blank_values=True))
    known = ("words", "accents", "voices", "takes", "speed", "pitch", "rate_hz", "seed")
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown setting '{key}'", where=uri, fix=nearest(key, known))
    lists: dict[str, Any] = {
        key: tuple(given[key].split(",")) for key in ("words", "accents", "voices") if key in given
    }
    ranges: dict[str, Any] = {key: _range(given[key], key, uri) for key in ("speed", "pitch") if key in given}
    numbers: dict[str, Any] = {
        key: _number(given[key], key, uri) for key in ("takes", "rate_hz", "seed") if key in given
    }
    if not lists.get("words") or not all(all(names) for names in lists.values()):
        raise ConfigError("names no words, or an empty one", where=uri, fix="write words=zero,one,two")
    plan = SpeechPlan(found[1], found[2], **lists, **ranges, **numbers)
    if plan.takes < 1 or not 1000 <= plan.rate_hz <= 96000:
        raise ConfigError("takes must be 1 or more, and rate_hz 1000 to 96000", where=uri)
    return plan


def _in_wheel(plan: SpeechPlan) -> str:
    return f"pypi:{plan.requirement}/{PACKAGE}"


def _number(text: str, key: str, uri: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ConfigError(f"{key} '{text}' is not a whole number", where=uri)
    return int(text)


def _range(text: str, key: str, uri: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", text)
    if not found or int(found[1]) > int(found[2]):
        raise ConfigError(f"{key} '{text}' is not a range", where=uri, fix="write e.g. 120-200")
    return int(found[1]), int(found[2])
