"""Data that come with an installed package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest

from flywheel.project.config import DataConfig
from flywheel.project.errors import SourceError
from flywheel.source import bundled
from flywheel.source.fetch import fetch
from flywheel.source.probe import probe

DIGITS = "bundled:sklearn/digits.csv.gz"


def test_digits_come_as_scikit_learn_has_them(make_data: Callable[..., DataConfig], project: Path) -> None:
    fetch(make_data(DIGITS), project / "out")
    shipped = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    assert (project / "out" / "digits.csv.gz").read_bytes() == Path(str(shipped)).read_bytes()


def test_scikit_learn_is_not_imported(project: Path) -> None:
    code = (
        "import sys; from flywheel.source.bundled import BundledSource as B; from flywheel.source.base import Job\n"
        "from flywheel.project.config import SourceConfig; from pathlib import Path\n"
        f"B(SourceConfig(''), Job(Path(), Path())).get({DIGITS!r}); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sklearn", "numpy", "scipy", "pandas"} & set(done.stdout.split())


def test_what_is_not_shipped_is_said(
    make_data: Callable[..., DataConfig], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match=r"sklearn ships no 'none\.csv'"):
        fetch(make_data("bundled:sklearn/none.csv"), project / "out")
    monkeypatch.setattr(bundled, "FOLDERS", {"no_such_package": "data"})
    reach = probe(make_data("bundled:no_such_package/a"))[0]
    assert (reach.usable, reach.detail) == (False, "no_such_package is not installed; run `make`")
