"""What `flywheel doctor` says of each source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flywheel.project.config import DataConfig
from flywheel.source.probe import Reach, probe


def test_each_source_and_mirror_is_asked_in_order_and_nothing_is_downloaded(
    make_data: Callable[..., DataConfig], web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files = {"/a": b"1" * 1500}
    monkeypatch.setenv("FLYWHEEL_MIRROR", web.url + "/mirror")
    assert probe(make_data(f"{web.url}/{{file}}", "file:none", files={"a": b"1"})) == [
        Reach(f"{web.url}/mirror/toys/{{file}}", False, "the server answers 404 Not Found"),
        Reach(f"{web.url}/{{file}}", True, "reachable, 1.5 kB"),
        Reach("file:none", False, "no such file or folder"),
    ]
    assert {method for method, _, _ in web.requests} == {"HEAD"}
