from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from flywheel.modality.audio.data import archive as audio_archive
from flywheel.modality.audio.data.archive import members
from flywheel.modality.audio.data.file import AudioError
from flywheel.project.errors import DataError

FILES = {"b/2.wav": b"two", "a/1.WAV": b"one", "a/.hidden.wav": b"", ".git/3.wav": b"", "a/notes.txt": b"x"}


def folder(root: Path) -> Path:
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def tar(path: Path, mode: str, link: tuple[str, bytes] | None = None) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link is not None:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = link[1], "/etc/passwd"
            archive.addfile(info)
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


def read(root: Path) -> list[tuple[str, bytes | str]]:
    """Each recording's name, and its bytes or why it has none."""
    found: list[tuple[str, bytes | str]] = []
    for member in members(root, [".wav"]):
        try:
            found.append((member.name, member.read()))
        except AudioError as error:
            found.append((member.name, str(error)))
    return found


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    assert read(folder(tmp_path / "x")) == [("a/1.WAV", b"one"), ("b/2.wav", b"two")]


@pytest.mark.parametrize(
    ("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tar.xz", "w:xz"), ("odd", "w:bz2")]
)
def test_a_tar_is_read_in_its_own_order(tmp_path: Path, name: str, mode: str) -> None:
    assert read(tar(tmp_path / name, mode)) == [("b/2.wav", b"two"), ("a/1.WAV", b"one")]


def test_a_zip_is_read_in_its_own_order(tmp_path: Path) -> None:
    assert read(zipped(tmp_path / "x.zip")) == [("b/2.wav", b"two"), ("a/1.WAV", b"one")]


def test_files_that_are_too_large_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_archive, "MAX_FILE_BYTES", 2)
    for root in (folder(tmp_path / "x"), tar(tmp_path / "x.tar", "w"), zipped(tmp_path / "x.zip")):
        assert [content for _, content in read(root)] == ["has 3 bytes, more than 2"] * 2


def test_what_is_no_archive_or_a_broken_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder; run the download stage"):
        read(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match="text: is not a zip or tar archive, or is damaged"):
        read(tmp_path / "text")
    whole = tar(tmp_path / "x.tar.gz", "w:gz")
    whole.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.tar\.gz: is not a zip or tar archive, or is damaged"):
        read(whole)


def test_one_broken_file_of_a_zip_is_one_bad_row(tmp_path: Path) -> None:
    packed = zipped(tmp_path / "x.zip")
    content = bytearray(packed.read_bytes())
    content[content.index(b"a/1.WAV") + 8] ^= 0xFF
    packed.write_bytes(content)
    (good, bad) = read(packed)
    assert good == ("b/2.wav", b"two")
    assert bad[0] == "a/1.WAV"
    assert str(bad[1]).startswith("cannot be read: ")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_recording_that_is_a_link_is_refused_and_never_followed(tmp_path: Path, kind: bytes) -> None:
    packed = tar(tmp_path / "x.tar", "w", link=("./a/link.wav", kind))
    with pytest.raises(DataError, match=r"x\.tar: 'a/link\.wav' is a link; pack it with tar --hard-dereference -h"):
        read(packed)


def test_other_links_are_passed_over(tmp_path: Path) -> None:
    packed = tar(tmp_path / "x.tar", "w", link=("a/.link.wav", tarfile.SYMTYPE))
    assert read(packed) == [("b/2.wav", b"two"), ("a/1.WAV", b"one")]


def test_an_encrypted_file_of_a_zip_is_a_bad_row(tmp_path: Path) -> None:
    packed = zipped(tmp_path / "x.zip")
    content = bytearray(packed.read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # of each local and each central header
        at = content.find(start)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(start, at + 1)
    packed.write_bytes(content)
    assert [name for name, _ in read(packed)] == ["b/2.wav", "a/1.WAV"]
    assert all(str(why).startswith("cannot be read: File ") and "encrypted" in str(why) for _, why in read(packed))
