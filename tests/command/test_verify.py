import hashlib
import json
from pathlib import Path

import pytest
import yaml

from flywheel.command.verify import verify_cache, verify_store


def put(project: Path, content: bytes, suffix: str = "") -> Path:
    md5 = hashlib.md5(content).hexdigest()
    file = project / ".dvc/cache/files/md5" / md5[:2] / (md5[2:] + suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o444)
    return file


@pytest.fixture
def cached(project: Path) -> tuple[Path, Path]:
    """A cached folder with one file, and its copy in the working tree."""
    file = put(project, b"good bytes")
    listing = json.dumps([{"md5": hashlib.md5(b"good bytes").hexdigest(), "relpath": "x.bin"}]).encode()
    folder = put(project, listing, ".dir")
    out = {"path": "artifacts/t/model", "md5": f"{folder.parent.name}{folder.name}"}
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train@t": {"outs": [out]}}}))
    copy = project / "artifacts/t/model/x.bin"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"good bytes")
    return file, copy


def rot(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(b"rotten")
    file.chmod(0o444)


def test_a_good_cache_is_good(cached: tuple[Path, Path]) -> None:
    checked = verify_cache(fix=True)
    assert (checked.num_files, checked.damaged) == (2, [])


def test_rot_is_named_and_left_alone_unless_asked(cached: tuple[Path, Path]) -> None:
    rot(cached[0])
    (found,) = verify_cache(fix=False).damaged
    assert found.belongs_to == "artifacts/t/model/x.bin"
    assert found.fixed == ""
    assert cached[0].read_bytes() == b"rotten"


def test_a_good_copy_in_the_working_tree_is_put_back(cached: tuple[Path, Path]) -> None:
    rot(cached[0])
    (found,) = verify_cache(fix=True).damaged
    assert found.fixed == "put back from artifacts/t/model/x.bin"
    assert cached[0].read_bytes() == b"good bytes"
    assert cached[0].stat().st_mode & 0o777 == 0o444


def test_without_a_good_copy_both_go_so_that_dvc_makes_them_anew(cached: tuple[Path, Path]) -> None:
    rot(cached[0])
    cached[1].write_bytes(b"rotten")
    (found,) = verify_cache(fix=True).damaged
    assert "`dvc repro` makes it again" in found.fixed
    assert not cached[0].exists()
    assert not cached[1].exists()


def test_a_rotten_download_is_removed(project: Path) -> None:
    digest = hashlib.sha256(b"data").hexdigest()
    file = project / ".flywheel/store" / digest[:2] / digest
    file.parent.mkdir(parents=True)
    file.write_bytes(b"data")
    assert verify_store(fix=True).damaged == []
    file.write_bytes(b"date")
    (found,) = verify_store(fix=True).damaged
    assert found.fixed
    assert not file.exists()
