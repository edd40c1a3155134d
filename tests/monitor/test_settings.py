from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.monitor.settings import MonitorSettings, load_settings
from flywheel.project.errors import ConfigError


def write(root: Path, text: str) -> Path:
    (root / "conf").mkdir(exist_ok=True)
    (root / "conf/monitor.yaml").write_text(text)
    return root


def test_the_committed_file_says_the_defaults(root: Path) -> None:
    assert load_settings(root, "fashion") == MonitorSettings()


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path, "fashion") == MonitorSettings()


def test_a_task_has_values_of_its_own(tmp_path: Path) -> None:
    root = write(tmp_path, "min_rows: 200\ntasks: {fashion: {min_rows: 500}}\n")
    assert load_settings(root, "fashion").min_rows == 500
    assert load_settings(root, "tweets").min_rows == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha: 2\n", "monitor.alpha: 2"),
        ("min_rows: 0\n", "monitor.min_rows: 0 is out of range"),
        ("min_rows: 2000\n", "monitor.min_rows: is more than max_rows"),
        ("max_quality_loss: -1\n", "monitor.max_quality_loss: -1"),
        ("min_row: 5\n", "did you mean 'min_rows'"),
        ("tasks: {fashion: {alfa: 1}}\n", "monitor.tasks.fashion: unknown key 'alfa'"),
        ("- a\n", "is not a mapping"),
        ("a: [", "no YAML"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(write(tmp_path, text), "fashion")
    assert said in str(error.value)
