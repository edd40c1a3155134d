"""Checks what Flywheel needs of this machine: one line for each, with a fix where something is wrong."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from flywheel.project.database import masked
from flywheel.project.dvc_lock import check as check_lock
from flywheel.project.errors import FlywheelError
from flywheel.project.params import load_params, project_root, state_dir, task_from
from flywheel.project.tracking import prepare, tracking_uri
from flywheel.project.whole import read_json
from flywheel.registry.versions import how_to_register

LEAST_FREE_BYTES = 2_000_000_000
PORTS = {5000: "mlflow ui"}


@dataclass(frozen=True)
class Finding:
    """One line: `state` is ok, warn (works without) or bad (fix it)."""

    state: str
    what: str
    said: str
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Run all checks, the quick ones first; a check that fails is a finding too."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        _python, _disk, _git, _dvc, _params, _torch, _mlflow, _registry, _ports, _sources
    ]  # fmt: skip
    for look in looks:
        try:
            yield from look()
        except FlywheelError as error:
            said = f"{error.where}: {error.what}" if error.where else error.what
            yield Finding("bad", look.__name__.strip("_"), said, error.fix or "")
        except (OSError, ImportError) as error:
            yield Finding("bad", look.__name__.strip("_"), str(error), "run `make setup`")


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info < (3, 14)
    yield Finding(
        "ok" if good else "bad", "python", f"{version} at {sys.executable}", "" if good else "use 3.11 to 3.13"
    )
    pins = dict(
        line.strip().split("==")
        for line in (project_root() / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    differ = [
        f"{name} {found} (not {pins.get(name, 'pinned')})"
        for name in ("torch", "pytorch-lightning", "dvc", "mlflow", "hydra-core", "pandas")
        if (found := metadata.version(name).split("+")[0]) != pins.get(name)
    ]
    yield Finding("warn" if differ else "ok", "packages", ", ".join(differ) or "as in constraints.txt",
                  "run `touch constraints.txt; make setup`" if differ else "")  # fmt: skip


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(project_root()).free
    good = free >= LEAST_FREE_BYTES
    yield Finding("ok" if good else "warn", "disk", f"{free / 1e9:.1f} GB free", "" if good else "free some space")
    for folder in (project_root(), state_dir()):
        if folder.exists() and not os.access(folder, os.W_OK):
            yield Finding("bad", "disk", f"{folder} cannot be written", "fix its permissions")


def _git() -> Iterator[Finding]:
    from flywheel.project.lineage import git_commit, git_diff

    commit = git_commit(project_root())
    if commit is None:
        yield Finding("warn", "git", "no commit yet", "run `git init` and commit: runs are then traceable")
        return
    changed = bool(git_diff(project_root()))
    yield Finding("warn" if changed else "ok", "git", f"{commit[:8]}{', with uncommitted changes' if changed else ''}",
                  "commit before a run that counts" if changed else "")  # fmt: skip


def _dvc() -> Iterator[Finding]:
    config = project_root() / ".dvc" / "config"
    if not config.is_file():
        yield Finding("bad", "dvc", "no .dvc/config", "run `git checkout .dvc`")
        return
    num_stages = check_lock(project_root())
    remote = "remote" in config.read_text()
    yield Finding("ok", "dvc", f"{metadata.version('dvc')}, dvc.lock knows {num_stages} stages, "
                  f"{'a remote is set' if remote else 'no remote'}",
                  "" if remote else "`dvc remote add -d NAME URL` shares data with others")  # fmt: skip


def _params() -> Iterator[Finding]:
    from flywheel.project.compose import is_stale

    stale = is_stale(project_root())
    tasks = ", ".join(load_params()["tasks"])
    yield Finding("warn" if stale else "ok", "params", "params.yaml is stale" if stale else f"tasks: {tasks}",
                  "run `make params`" if stale else "")  # fmt: skip


def _torch() -> Iterator[Finding]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    gpu = gpu or ("Apple MPS" if torch.backends.mps.is_available() else None)
    said = f"{torch.__version__}, {gpu or 'no GPU'}, {torch.get_num_threads()} threads"
    fix = ""
    if gpu is None and Path("/dev/nvidia0").exists():
        fix = "there is an NVIDIA card: install the CUDA build of torch, or a newer driver"
    yield Finding("warn" if fix else "ok", "torch", said, fix)


def _mlflow() -> Iterator[Finding]:
    client = prepare()
    tasks = [experiment.name for experiment in client.search_experiments() if experiment.name != "Default"]
    yield Finding("ok", "mlflow", f"{masked(tracking_uri())}: {len(tasks)} task(s) tracked")


def _registry() -> Iterator[Finding]:
    """DVC takes a registered task for done, also where its store is gone, or another one has the model."""
    client = prepare()
    folders = [file.parent for file in sorted((project_root() / "artifacts").glob("*/registered.json"))]
    lost = [folder.name for folder in folders if not client.search_model_versions(_registered(folder))]
    fix = how_to_register(*lost) if lost else ""
    said = f"not there: {', '.join(lost)}" if lost else f"{len(folders)} task(s) of this pipeline registered"
    yield Finding("warn" if lost else "ok", "registry", said, fix)


def _registered(folder: Path) -> str:
    """The question after the version that a task's `decision.json` is about."""
    file = folder / "decision.json"
    known = f" and tags.model_sha256='{read_json(file)['candidate']}'" if file.is_file() else ""
    return f"name='{folder.name}'{known}"


def _ports() -> Iterator[Finding]:
    for port, use in PORTS.items():
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        yield Finding("warn" if taken else "ok", f"port {port}", f"{'taken' if taken else 'free'} ({use})",
                      f"`make ui PORT={port + 1}`" if taken else "")  # fmt: skip


def _sources() -> Iterator[Finding]:
    from flywheel.source.probe import probe

    for name, settings in load_params()["tasks"].items():
        found = probe(task_from(settings, f"tasks.{name}").data)
        usable = any(reach.usable for reach in found)
        for reach in found:
            state = "ok" if reach.usable else "warn" if usable else "bad"
            fix = "" if reach.usable else "another source is used" if usable else "no source of this task is reachable"
            yield Finding(state, f"source of {name}", f"{reach.uri}: {reach.detail}", fix)
