from __future__ import annotations

from typing import Any

import pytest

from flywheel.project.config import ExportConfig, VariantConfig
from flywheel.project.errors import ConfigError
from flywheel.registry.variant import choice

PARITY: Any = {
    "fp32": {"num_bytes": 100, "accuracy": 0.9},
    "metric": "accuracy",
    "variants": {
        "good": {"num_bytes": 30, "accuracy": 0.89, "passed": True},
        "better": {"num_bytes": 40, "accuracy": 0.91, "passed": True},
        "bad": {"num_bytes": 10, "accuracy": 0.5, "passed": False},
        "broken": {"passed": False, "why": "Refused."},
    },
}


def test_what_is_served() -> None:
    times = {"fp32": 3.0, "good": 2.0, "better": 1.0}
    for serve, wanted in (
        ("fp32", "fp32"), ("smallest", "good"), ("fastest", "better"), ("better", "better"), ("bad", "fp32"),
        ("broken", "fp32"),
    ):  # fmt: skip
        assert choice.served(PARITY, serve, times.__getitem__) == wanted
    assert choice.served({"fp32": {"num_bytes": 1}}, "smallest", lambda name: 0.0) == "fp32"


def test_the_gate_judges_by_the_weakest_where_a_clock_decides() -> None:
    assert choice.judged(PARITY, "fastest", 1) == "good"
    assert choice.judged(PARITY, "fastest", -1) == "better"
    assert choice.judged(PARITY, "smallest", 1) == "good"
    assert choice.judged(PARITY, "bad", 1) == "fp32"
    assert choice.judged({"fp32": {"num_bytes": 1}}, "fastest", 1) == "fp32"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"serve": "smalest"}, "export.serve: no variant 'smalest'; did you mean 'smallest'"),
        ({"variants": {"fp32": VariantConfig({})}}, "'fp32' cannot name a variant"),
        ({"variants": {"../up": VariantConfig({})}}, "cannot name a variant"),
        (
            {"variants": {"a": VariantConfig({}, of="b"), "b": VariantConfig({})}},
            r"export.variants.a.of: no variant 'b'",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        choice.check(ExportConfig(**settings))


def test_a_variant_of_a_variant_is_fine() -> None:
    both = {"student": VariantConfig({}), "small": VariantConfig({}, of="student")}
    choice.check(ExportConfig(variants=both, serve="small"))
