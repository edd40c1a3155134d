"""Sweeps on a Ray cluster of two nodes (raylets of this machine): workers and nodes that die lose no other trial."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flywheel.project.tracking import prepare
from flywheel.sweep.search.folder import trials_in
from flywheel.sweep.search.trial import Trial

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.xdist_group("ray")]


PROGRAM = """
import sys
from ray.cluster_utils import Cluster

nodes, memory = {}, 80 * 2**20
cluster = Cluster(shutdown_at_exit=False)
cluster.add_node(num_cpus=0, include_dashboard=False, object_store_memory=memory)
print("at", cluster.address, flush=True)
for line in sys.stdin:
    verb, name = line.split()
    if verb == "add":
        nodes[name] = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=memory, env_vars={"TEST_NODE": name})
        cluster.wait_for_nodes()
    elif name in nodes:
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
    print("did", name, flush=True)
cluster.shutdown()
"""


class Nodes:
    """A Ray cluster, in a process of its own because Ray reads its environment when it is imported.

    Its head has no CPU; a node has one, and a GPU by its word, which no trial wakes.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = self._heard("at")

    def add(self, name: str) -> None:
        self._say("add", name)

    def kill(self, name: str) -> None:
        self._say("kill", name)

    def close(self) -> None:
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.communicate(timeout=120)
        assert not [one for one in children if _runs(one)]

    def _say(self, verb: str, name: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{verb} {name}\n")
        self._process.stdin.flush()
        self._heard("did")

    def _heard(self, word: str) -> str:
        assert self._process.stdout
        return next(line.split()[1] for line in self._process.stdout if line.startswith(f"{word} "))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    """A cluster that listens on 127.0.0.1 only, and wants a secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        made = Nodes()
        yield made
        made.close()


@pytest.fixture
def nodes(cluster: Nodes) -> Iterator[Nodes]:
    """The cluster with two nodes, `a` and `b`."""
    for name in "ab":
        cluster.add(name)
    yield cluster
    for name in "ab":
        cluster.kill(name)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def instrument(project: Path, bomb: str = "") -> None:
    """Let each trial note the node and the process it runs in, and its threads; then do something there."""
    file = project / "src/flywheel/sweep/run/job.py"
    head = "    with _logged_to(place / places.LOG):\n"
    text = file.read_text()
    assert head in text
    note = """    import os, signal
    with (place / "nodes").open("a") as nodes:
        print(os.environ.get("TEST_NODE"), os.getpid(), os.environ.get("OMP_NUM_THREADS"), file=nodes)
"""
    file.write_text(text.replace(head, note + bomb + head, 1))


def spaced(folder: Path) -> str:
    """This interpreter, in an environment whose path has a space: Ray hands it to a shell as it is."""
    made = folder / "an environment"
    made.mkdir()
    for name in ("bin", "lib"):
        (made / name).symlink_to(Path(sys.prefix) / name)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", made)
    return str(made / "bin/python")


def start(
    project: Path, cluster: Nodes | None, *words: str, python: str = sys.executable, **variables: str
) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(project / "src"), **variables}
    where = ["hydra/launcher=ray", *([f"hydra.launcher.address={cluster.address}"] if cluster else [])]
    command = [python, "-m", "flywheel.train", "-m", "task=digits", *where, *words]
    with (project / "sweep.log").open("ab") as log:
        return subprocess.Popen(command, cwd=project, env=env, stdout=log, stderr=log, start_new_session=True)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Ray's, of the cluster whose files lie in a folder."""
    found = []
    for one in psutil.process_iter(["cmdline", "status"]):
        if str(folder) in " ".join(one.info["cmdline"] or ()) and one.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(one)
    return found


def addresses(folder: Path) -> list[str]:
    """Where they listen."""
    found = [connection for one in processes_in(folder) for connection in one.net_connections("tcp")]
    return [connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN]


def said(project: Path) -> str:
    return (project / "sweep.log").read_text()


def sweep_of(project: Path) -> Path:
    (folder,) = (project / ".flywheel/sweeps/digits").glob("*")
    return folder


def by_rate(folder: Path) -> dict[str, Trial]:
    return {trial.params["optimizer.lr"]: trial for trial in trials_in(folder)}


def noted(folder: Path, number: int) -> list[list[str]]:
    return [line.split() for line in (folder / str(number) / "nodes").read_text().splitlines()]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished_runs() -> list[Any]:
    client = prepare()
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    return [run for run in runs if "mlflow.parentRunId" in run.data.tags and run.info.status == "FINISHED"]


@pytest.mark.end_to_end
def test_a_worker_that_is_killed_takes_no_other_trial_along(project: Path, nodes: Nodes) -> None:
    bomb = '    if "0.002" in (place / places.TRIAL).read_text():\n        os.kill(os.getpid(), signal.SIGKILL)\n'
    instrument(project, bomb)
    process = start(
        project, nodes, "trainer.max_epochs=2", "optimizer=sgd", "optimizer.lr=0.001,0.002,0.003,1e30,0.01,0.02",
        "sweep.max_attempts=2", "model.net.hidden=[2048,2048]",
    )  # fmt: skip
    assert process.wait(timeout=550) == 1, said(project)[-3000:]
    folder = sweep_of(project)
    trials = by_rate(folder)
    assert {key: trial.state for key, trial in trials.items()} == {
        "0.001": "complete", "0.002": "failed", "0.003": "complete", "1e+30": "failed", "0.01": "complete",
        "0.02": "complete",
    }  # fmt: skip
    assert "killed 2 times" in trials["0.002"].error
    assert "no longer finite" in trials["1e+30"].error
    assert "1 workers died, trial 1:" in said(project)
    starts = [one for trial in trials.values() for one in noted(folder, trial.number)]
    assert {node for node, _, _ in starts} == {"a", "b"}
    assert len(starts) == 7, "each once, but the one that kills its worker"
    assert len({pid for _, pid, _ in starts}) <= 5, "workers are used again"
    assert {threads for _, _, threads in starts} == {"1"}
    assert {run.data.tags["machine.num_threads"] for run in finished_runs()} == {"1"}
    logs = "".join((folder / str(trial.number) / "log.txt").read_text() for trial in trials.values() if trial.curve)
    assert ", GPU 0" in logs


def test_a_node_that_dies_takes_no_other_trial_along(project: Path, nodes: Nodes) -> None:
    instrument(project)
    process = start(project, nodes, "trainer.max_epochs=40", "optimizer.lr=0.001,0.002,0.003,0.004")

    def both_train() -> bool:
        files = list((project / ".flywheel/sweeps/digits").glob("*/*/nodes"))
        return {file.read_text().split()[0] for file in files if (file.parent / "curve.json").exists()} == {"a", "b"}

    wait_for(both_train, process)
    nodes.kill("b")
    assert process.wait(timeout=550) == 0, said(project)[-3000:]
    trials = trials_in(sweep_of(project))
    assert [trial.state for trial in trials] == ["complete"] * 4
    assert {len(trial.curve) for trial in trials} == {40}
    assert {run.data.tags["model_sha256"] for run in finished_runs()} == {trial.model_sha256 for trial in trials}
    assert len(finished_runs()) == 4


def test_a_sweep_that_is_killed_takes_its_own_cluster_along_and_goes_on(project: Path, tmp_path: Path) -> None:
    instrument(project)
    python = spaced(tmp_path)
    words = ["sweep.slots=2", "trainer.max_epochs=20", "sweep.resume=auto", "optimizer.lr=0.001,0.002,0.003,0.004"]
    temporary = Path("/tmp", f"fw-{secrets.token_hex(3)}")  # short: Ray's sockets lie in it
    temporary.mkdir()
    try:
        process = start(project, None, *words, python=python, TMPDIR=str(temporary))
        sweeps = project / ".flywheel/sweeps/digits"
        wait_for(lambda: len(list(sweeps.glob("*/*/result.json"))) >= 1, process)
        assert (listening := addresses(temporary))
        assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while processes_in(temporary) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not processes_in(temporary)
        again = start(project, None, *words, python=python, TMPDIR=str(temporary))
        assert again.wait(timeout=550) == 0, said(project)[-3000:]
        assert not processes_in(temporary)
    finally:
        shutil.rmtree(temporary)
    trials = trials_in(sweep_of(project))
    assert [trial.state for trial in trials] == ["complete"] * 4
    assert len(finished_runs()) == 4
    starts = [one for trial in trials for one in noted(sweep_of(project), trial.number)]
    assert len(starts) <= 6, "the ended ones are not run again"


def test_an_address_that_nothing_answers_at_is_one_line(project: Path, run_flywheel: Run) -> None:
    words = ("hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:9")
    done = run_flywheel("train", "-m", "task=digits", *words, "optimizer.lr=0.001,0.002")
    assert done.returncode == 2
    assert "hydra.launcher.address: no Ray cluster answers at 127.0.0.1:9" in done.stderr.splitlines()[-1]
