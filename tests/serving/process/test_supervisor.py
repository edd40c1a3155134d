from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.project.errors import ConfigError, FlywheelError
from flywheel.serve import serve
from flywheel.serving.process.supervisor import Supervisor, remove_left_folders
from flywheel.serving.settings import ServingSettings, load_settings
from flywheel.serving.version.served import ChampionVersion


class Fixed:
    def __init__(self, champion: ChampionVersion) -> None:
        self.champions = [champion]

    def first(self) -> list[ChampionVersion]:
        return self.champions

    def changed(self) -> None:
        return None


def start(at_store: Path, *tasks: str, **options: object) -> None:
    serve(list(tasks), lambda line: None, root=at_store, **options)


def test_it_does_not_start_where_it_should_not(at_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYWHEEL_TOKENS", raising=False)
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0: needs tokens"):
        start(at_store, host="0.0.0.0")
    with pytest.raises(FlywheelError, match=r"digit: has no champion; did you mean 'digits'\?"):
        start(at_store, "digit")
    with pytest.raises(ConfigError, match="'all' is not known; did you mean 'full'"):
        start(at_store, record="all")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="cannot listen"):
        start(at_store, port=taken.getsockname()[1])


def test_a_store_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(ConfigError, match="there is no store"):
        start(tmp_path)
    assert not list(tmp_path.iterdir())


def test_workers_that_cannot_start_end_the_server(champion: ChampionVersion) -> None:
    settings = ServingSettings(port=0)
    command = [sys.executable, "-c", "import sys; sys.exit(3)"]
    with pytest.raises(ConfigError, match=r"workers cannot start \(exit code 3\)"):
        Supervisor(settings, Fixed(champion), command, {}, lambda line: None).run()


def test_what_a_killed_server_left_is_removed_at_the_next_start_and_a_running_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, champion: ChampionVersion
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    # What a server does at its start, as far as its workers' folder goes; then it waits, and is killed.
    program = "from flywheel.serving.process import supervisor; supervisor._own_folder(); print(1, flush=True); input()"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert all(one.stdout is not None and one.stdout.readline() == "1\n" for one in started)
    killed, running = started
    killed.kill()
    killed.communicate()
    other = tmp_path / "flywheel-serve-file"
    other.write_text("no folder")
    assert len(list(tmp_path.iterdir())) == 3
    command = [sys.executable, "-c", "import sys; sys.exit(3)"]
    with pytest.raises(ConfigError, match="workers cannot start"):
        Supervisor(ServingSettings(port=0), Fixed(champion), command, {}, lambda line: None).run()
    left = set(tmp_path.iterdir()) - {other}
    assert len(left) == 1, "that of the server that still runs"
    running.communicate("\n")
    remove_left_folders()
    assert set(tmp_path.iterdir()) == {other}


def test_settings_are_read_and_checked(root: Path, tmp_path: Path, write: Callable[[str], Path]) -> None:
    assert load_settings(root) == ServingSettings()
    assert load_settings(tmp_path, port=9, host=None).port == 9
    with pytest.raises(ConfigError, match="unknown key 'prt'; did you mean 'port'"):
        load_settings(write("prt: 1"))
    with pytest.raises(ConfigError, match=r"serving\.workers: 0 is out of range"):
        load_settings(write("workers: 0"))
    with pytest.raises(ConfigError, match=r"serving\.port: 70000 is out of range; use at least 0 and at most 65535"):
        load_settings(write("port: 70000"))
    with pytest.raises(ConfigError, match="no YAML"):
        load_settings(write("port: ["))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def run(text: str) -> Path:
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "conf/serving.yaml").write_text(text)
        return tmp_path

    return run
