"""A look serves all who ask within a while, and the longer, the longer it took."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from flywheel.project.errors import FeedbackError
from flywheel.serving.process import live_cache
from flywheel.serving.process.live_cache import LiveCache
from flywheel.serving.version.served import ChampionVersion

FIRST = ChampionVersion("digits", 1, "a" * 64, "folder", {})


class Eyes:
    """LiveCache, and counts."""

    def __init__(self) -> None:
        self.seen: list[ChampionVersion] = []
        self.fails = False

    def __call__(self, champion: ChampionVersion) -> dict[str, Any]:
        self.seen.append(champion)
        if self.fails:
            raise FeedbackError("cannot be used", where="here", fix="fix it")
        return {"number": len(self.seen)}


def test_one_look_serves_all_who_ask_and_another_version_gets_its_own() -> None:
    eyes = Eyes()

    async def ask() -> list[Any]:
        made = LiveCache(eyes)
        several = await asyncio.gather(*(made.of(FIRST) for _ in range(5)))
        return [*several, await made.of(replace(FIRST, number=2)), await made.of(replace(FIRST, task="films"))]

    assert [one["number"] for one in asyncio.run(ask())] == [1, 1, 1, 1, 1, 2, 3]


@pytest.mark.parametrize(("seconds", "times", "looked"), [(-1.0, -1.0, 2), (-1.0, 1e9, 1), (60.0, 0.0, 1)])
def test_how_long_a_look_serves(monkeypatch: pytest.MonkeyPatch, seconds: float, times: float, looked: int) -> None:
    monkeypatch.setattr(live_cache, "KEPT_SECONDS", seconds)
    monkeypatch.setattr(live_cache, "KEPT_TIMES", times)
    eyes = Eyes()

    async def ask() -> None:
        made = LiveCache(eyes)
        await made.of(FIRST)
        await made.of(FIRST)

    asyncio.run(ask())
    assert len(eyes.seen) == looked


def test_what_fails_is_said_to_who_asked_and_tried_again() -> None:
    eyes = Eyes()

    async def ask() -> dict[str, Any]:
        made = LiveCache(eyes)
        eyes.fails = True
        with pytest.raises(FeedbackError, match="cannot be used"):
            await made.of(FIRST)
        eyes.fails = False
        return await made.of(FIRST)

    assert asyncio.run(ask()) == {"number": 2}
