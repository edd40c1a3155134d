import subprocess
from pathlib import Path

from flywheel.project.lineage import git_commit, git_diff, lock_hashes, package_versions


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_commit_and_what_differs_from_it(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    (tmp_path / "dvc.lock").write_text("x\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    assert len(str(git_commit(tmp_path))) == 40
    assert git_diff(tmp_path) == ""
    (tmp_path / "dvc.lock").write_text("y\n")
    assert git_diff(tmp_path) == ""
    (tmp_path / "code.py").write_text("a = 2\n")
    assert "+a = 2" in git_diff(tmp_path)


def test_hashes_of_data_but_not_of_code(tmp_path: Path) -> None:
    assert lock_hashes(tmp_path, "train@t") == {}
    (tmp_path / "dvc.lock").write_text(
        "stages:\n  train@t:\n    deps:\n    - {path: data/x, md5: a1}\n    - {path: src/y.py, md5: b2}\n"
        "    outs:\n    - {path: artifacts/z, md5: c3}\n"
    )
    assert lock_hashes(tmp_path, "train@t") == {"data/x": "a1", "artifacts/z": "c3"}
    assert lock_hashes(tmp_path, "train@other") == {}


def test_versions_name_what_a_result_depends_on() -> None:
    assert {"python", "torch", "pytorch-lightning", "numpy", "mlflow", "dvc"} <= set(package_versions())
