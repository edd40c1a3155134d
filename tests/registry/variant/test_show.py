from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.registry.variant import show

TIMES = {"p50_ms": 0.1234, "p95_ms": 0.5}
LATENCY: Any = {"fp32": {"batch_1": TIMES, "batch_64": TIMES}}
PARITY: Any = {
    "fp32": {"num_bytes": 4000, "accuracy": 0.9, "interval": [0.88, 0.92]},
    "metric": "accuracy",
    "variants": {
        "small": {
            "num_bytes": 1000, "accuracy": 0.8, "interval": [0.78, 0.82], "difference": -0.1, "passed": False,
            "why": "Refused: too bad.",
        },
        "none": {"passed": False, "why": "Refused: cannot be made."},
    },
}  # fmt: skip


def test_the_table_has_a_line_for_each_and_the_reasons_of_refusals() -> None:
    head, fp32, small, none, *reasons = show.lines(PARITY, LATENCY)
    assert head.split("  ")[0] == "variant"
    assert "0.9000" in fp32
    assert "0.123/0.500" in fp32
    assert "-0.1000" in small
    assert "4.00x" in small
    assert small.endswith("no")
    assert none.split() == ["none", "no"]
    assert reasons == ["small: Refused: too bad.", "none: Refused: cannot be made."]


def test_equal_figures_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        show.draw(PARITY, LATENCY, "digits", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
