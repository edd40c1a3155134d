"""One pinned file: from any source, by its sum, into the store, once."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError, SourceError
from flywheel.source.pretrained import pretrained_file


@pytest.fixture
def own(project: Path) -> Path:
    file = project / "weights.bin"
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a model's two files, the only one that pip finds."""
    path = tmp_path / "index" / "toy_model-1.5-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_model/model/weights.bin", b"weights")
        archive.writestr("toy_model/model/vocabulary.json", b"[]")
        archive.writestr("toy_model-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.5\n")
        archive.writestr("toy_model-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_model-1.5.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return path


def sum_of(content: bytes, folder: Path) -> str:
    file = folder / "content"
    file.write_bytes(content)
    return sha256_of(file)


def test_a_file_is_in_the_store_and_needs_its_source_no_more(own: Path, project: Path) -> None:
    sha256 = sha256_of(own)
    path = pretrained_file("file:weights.bin", sha256.upper())
    assert path == project / ".flywheel/store" / sha256[:2] / sha256
    assert own.exists()
    own.unlink()
    assert pretrained_file("file:weights.bin", sha256).read_bytes() == b"weights"


def test_both_files_of_a_wheel_take_one_download(wheel: Path, tmp_path: Path) -> None:
    weights, vocabulary = sum_of(b"weights", tmp_path), sum_of(b"[]", tmp_path)
    assert pretrained_file("pypi:toy-model==1.5/toy_model/model/weights.bin", weights).read_bytes() == b"weights"
    wheel.unlink()
    found = pretrained_file("pypi:toy-model==1.5/toy_model/model/vocabulary.json", vocabulary)
    assert found.read_bytes() == b"[]"


def test_the_web_is_asked_once_by_all_who_want_it(web: Any, tmp_path: Path) -> None:
    web.files["/a/weights.bin"] = b"w" * 70_000
    sha256 = sum_of(b"w" * 70_000, tmp_path)
    found: list[Path] = []
    wanting = [
        threading.Thread(target=lambda: found.append(pretrained_file(f"{web.url}/a/weights.bin", sha256)))
        for _ in range(4)
    ]
    for thread in wanting:
        thread.start()
    for thread in wanting:
        thread.join()
    assert len(found) == 4
    assert {path.read_bytes() for path in found} == {b"w" * 70_000}
    assert len(web.gets()) == 1


def test_rotten_bytes_are_fetched_again(own: Path) -> None:
    sha256 = sha256_of(own)
    path = pretrained_file("file:weights.bin", sha256)
    path.chmod(0o644)
    path.write_bytes(b"rotten!")
    assert pretrained_file("file:weights.bin", sha256).read_bytes() == b"weights"


def test_a_mirror_is_asked_first(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = sha256_of(own)
    place = tmp_path / "mirror" / f"pretrained-{sha256[:8]}" / "weights.bin"
    place.parent.mkdir(parents=True)
    own.rename(place)
    monkeypatch.setenv("FLYWHEEL_MIRROR", str(tmp_path / "mirror"))
    assert pretrained_file("https://nowhere.invalid/a/weights.bin", sha256).read_bytes() == b"weights"


def test_other_bytes_are_refused_and_not_kept(own: Path, project: Path) -> None:
    with pytest.raises(SourceError, match=r"pretrained file weights\.bin: no source gave it: .*promised was 0000"):
        pretrained_file("file:weights.bin", "0" * 64)
    assert not (project / ".flywheel/store/00").exists()
    assert not list((project / ".flywheel/store/scratch").iterdir())


@pytest.mark.parametrize(("uri", "sha256", "words"), [
    ("file:nothing.bin", "0" * 64, "no such file or folder.*FLYWHEEL_MIRROR"),
    ("file:conf", "0" * 64, "is a folder, not one file"),
])  # fmt: skip
def test_what_cannot_be_had_is_one_line(uri: str, sha256: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as raised:
        pretrained_file(uri, sha256)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("uri", "sha256", "words"), [
    ("file:weights.bin", "abc", "'abc' is not a sha256"),
    ("hub:weights.bin", "0" * 64, "no kind of source 'hub:'"),
    ("pypi:toys/weights.bin", "0" * 64, "not of the form pypi:"),
])  # fmt: skip
def test_wrong_settings_are_found_before_any_work(project: Path, uri: str, sha256: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pretrained_file(uri, sha256)
    assert not (project / ".flywheel").exists()


def test_nothing_is_asked_when_the_store_has_it(own: Path, web: Any) -> None:
    sha256 = sha256_of(own)
    pretrained_file("file:weights.bin", sha256)
    assert pretrained_file(f"{web.url}/weights.bin", sha256).read_bytes() == b"weights"
    assert web.requests == []
