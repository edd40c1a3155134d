"""Where a result comes from: the commit, what differs from it, the data's hashes and the versions of what ran."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from flywheel.project import dvc_lock

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "numpy",
    "pandas",
    "onnxruntime",
    "mlflow",
    "dvc",
    "hydra-core",
)
DIFF_LIMIT_BYTES = 1_000_000


def git_commit(root: Path) -> str | None:
    """The commit checked out at `root`; None outside git or before the first commit."""
    return _git(root, "rev-parse", "HEAD")


def git_diff(root: Path) -> str:
    """What the working tree's tracked files differ in from the commit; empty where they do not, or outside git.

    `dvc.lock` and what stages write into git are left out: they differ while a pipeline runs, and say nothing
    that the data hashes do not.
    """
    left_out = (":(exclude)dvc.lock", ":(exclude)artifacts", ":(exclude)params.yaml")
    return (_git(root, "diff", "HEAD", "--", ".", *left_out) or "")[:DIFF_LIMIT_BYTES]


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def lock_hashes(root: Path, stage: str) -> dict[str, str]:
    """The data hashes that `dvc.lock` holds for a stage (`train@fashion`): path -> md5 of what it read and wrote."""
    entry = dvc_lock.read(root).get("stages", {}).get(stage, {})
    items = [*entry.get("deps", []), *entry.get("outs", [])]
    no_data = ("src/", "data/params.checked")
    return {item["path"]: item["md5"] for item in items if not item["path"].startswith(no_data) and "md5" in item}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
