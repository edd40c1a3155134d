"""Unpacking archives that were made to do harm."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.project.errors import SourceError
from flywheel.source.archive import gunzip, unpack
from flywheel.source.unpacking import Limits


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "inside" / "out"


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., Path]:
    def make(*members: tuple[str, bytes] | tuple[zipfile.ZipInfo, bytes]) -> Path:
        path = tmp_path / "toys.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content, zipfile.ZIP_DEFLATED)
        return path

    return make


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked(make_tar: Callable[..., Path], folder: Path, mode: str) -> None:
    unpack(make_tar(("./a", b"1"), ("b/c", b"22"), member("d", tarfile.DIRTYPE), mode=mode), folder)
    assert everything(folder) == {"a": b"1", "b/c": b"22"}
    assert (folder / "d").is_dir()


def test_a_zip_is_unpacked(make_zip: Callable[..., Path], folder: Path) -> None:
    unpack(make_zip(("a", b"1"), ("b/c", b"22"), ("d/", b"")), folder)
    assert everything(folder) == {"a": b"1", "b/c": b"22"}


def test_only_what_lies_under_the_prefix_is_unpacked(make_tar: Callable[..., Path], folder: Path) -> None:
    unpack(make_tar(("a/b", b"1"), ("ab", b"2"), ("c", b"x" * 3_000_000), ("a/d/e", b"3")), folder, prefix="a")
    assert everything(folder) == {"a/b": b"1", "a/d/e": b"3"}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a\\..\\..\\x", "C:/x", "a//x"])
def test_names_outside_the_folder_are_refused(
    make_tar: Callable[..., Path], make_zip: Callable[..., Path], folder: Path, tmp_path: Path, name: str
) -> None:
    before = {p for p in tmp_path.rglob("*") if p.is_file()}
    for archive in (make_tar((name, b"evil")), make_zip((name, b"evil"))):
        with pytest.raises(SourceError, match="outside the folder"):
            unpack(archive, folder)
    assert {p for p in tmp_path.rglob("*") if p.is_file()} - before == {tmp_path / "toys.tar.gz", tmp_path / "toys.zip"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../x", "/etc/passwd", "b/../../x"])
def test_links_out_of_the_folder_are_refused(
    make_tar: Callable[..., Path], folder: Path, kind: bytes, target: str
) -> None:
    with pytest.raises(SourceError, match="links out of the folder"):
        unpack(make_tar(member("a", kind, target)), folder)


def test_a_zips_link_out_of_the_folder_is_refused(make_zip: Callable[..., Path], folder: Path) -> None:
    link = zipfile.ZipInfo("a")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(SourceError, match="links out of the folder"):
        unpack(make_zip((link, b"../../etc/passwd")), folder)


def test_links_inside_become_copies(make_tar: Callable[..., Path], folder: Path) -> None:
    links = [member("d/e", tarfile.SYMTYPE, "../a"), member("f", tarfile.LNKTYPE, "d/e")]
    unpack(make_tar(*links, ("a", b"1")), folder)
    assert everything(folder) == {"a": b"1", "d/e": b"1", "f": b"1"}
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_file_written_through_a_link_is_refused(make_tar: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(SourceError, match="goes through a link"):
        unpack(make_tar(member("a", tarfile.SYMTYPE, "b"), ("a/x", b"evil")), folder)


@pytest.mark.parametrize("target", ["nothing", "b"])
def test_links_to_nothing_or_in_a_circle_are_refused(make_tar: Callable[..., Path], folder: Path, target: str) -> None:
    with pytest.raises(SourceError, match="not a file of the archive"):
        unpack(make_tar(member("a", tarfile.SYMTYPE, target), member("b", tarfile.SYMTYPE, "a")), folder)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(make_tar: Callable[..., Path], folder: Path, kind: bytes) -> None:
    with pytest.raises(SourceError, match="device"):
        unpack(make_tar(member("a", kind)), folder)


def test_a_zips_device_is_refused(make_zip: Callable[..., Path], folder: Path) -> None:
    device = zipfile.ZipInfo("a")
    device.external_attr = (stat.S_IFCHR | 0o666) << 16
    with pytest.raises(SourceError, match="device"):
        unpack(make_zip((device, b"")), folder)


def test_a_name_that_comes_twice_is_refused(make_tar: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(SourceError, match="comes twice"):
        unpack(make_tar(("a", b"1"), ("a", b"2")), folder)
    assert everything(folder) == {"a": b"1"}


def test_a_file_under_a_file_is_refused(make_tar: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(SourceError, match="under a file"):
        unpack(make_tar(("a", b"1"), ("a/b", b"2")), folder)


def test_modes_are_not_kept(make_tar: Callable[..., Path], folder: Path) -> None:
    info = tarfile.TarInfo("a")
    info.mode = 0o4777
    unpack(make_tar(info), folder)
    assert (folder / "a").stat().st_mode & 0o7111 == 0


LIMITS = Limits(ratio=20, free_bytes=100_000, num_members=50, header_bytes=100_000)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_tar_bomb_is_stopped(make_tar: Callable[..., Path], folder: Path, mode: str) -> None:
    with pytest.raises(SourceError, match="unpacks to more than"):
        unpack(make_tar(("a", b"\0" * 5_000_000), mode=mode), folder, limits=LIMITS)
    assert sum(len(content) for content in everything(folder).values()) <= 200_000


def test_a_zip_bomb_is_stopped(make_zip: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(SourceError, match="unpacks to more than"):
        unpack(make_zip(("a", b"\0" * 5_000_000)), folder, limits=LIMITS)
    assert sum(len(content) for content in everything(folder).values()) <= 200_000


def test_a_sparse_file_is_counted_as_what_it_unpacks_to(folder: Path, tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"00000000000\x0000000000000\x00"  # no data at offset 0 ...
    header[483:495] = b"77777777777\x00"  # ... of 8 GiB
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "sparse.tar").write_bytes(bytes(header) + b"\0" * 1024)
    with pytest.raises(SourceError, match="unpacks to more than"):
        unpack(tmp_path / "sparse.tar", folder, limits=LIMITS)


def test_too_many_members_are_a_bomb(make_tar: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(SourceError, match="more than 50 members"):
        unpack(make_tar(*[(str(number), b"") for number in range(60)]), folder, limits=LIMITS)


def test_headers_without_end_are_a_bomb(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "toys.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"comment": "x" * 600_000}
        tar.addfile(info)
    with pytest.raises(SourceError, match="headers without end"):
        unpack(path, folder, limits=Limits(header_bytes=300_000))


@pytest.mark.parametrize("end", ["gz", "xz", "bz2"])
def test_a_cut_archive_is_said_to_be_broken(make_tar: Callable[..., Path], folder: Path, end: str) -> None:
    path = make_tar(("a", bytes(range(256)) * 500), mode=f"w:{end}")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(SourceError, match="broken"):
        unpack(path, folder)


def test_a_tar_cut_between_two_members_is_noticed(make_tar: Callable[..., Path], folder: Path) -> None:
    path = make_tar(("a", b"1" * 512), ("b", b"2" * 512), mode="w")
    path.write_bytes(path.read_bytes()[: 2 * 512])
    with pytest.raises(SourceError, match="cut before its end"):
        unpack(path, folder)


def test_a_tar_with_a_broken_header_is_not_taken_for_a_short_one(make_tar: Callable[..., Path], folder: Path) -> None:
    path = make_tar(("a", b"1" * 512), ("b", b"2" * 512), mode="w")
    content = bytearray(path.read_bytes())
    content[1024 + 3] ^= 1  # in b's name: its checksum is wrong now
    path.write_bytes(content)
    with pytest.raises(SourceError, match="after its end"):
        unpack(path, folder)


def test_a_flipped_bit_in_a_gzipped_tar_is_noticed(make_tar: Callable[..., Path], folder: Path) -> None:
    path = make_tar(("a", b"1"))
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # gzip's own checksum, after the tar's end
    path.write_bytes(content)
    with pytest.raises(SourceError, match="broken"):
        unpack(path, folder)


def test_what_is_no_archive_is_said_so(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "page.zip").write_bytes(b"<html>Log in first</html>")
    with pytest.raises(SourceError, match=r"page\.zip: not an archive"):
        unpack(tmp_path / "page.zip", folder)


def test_an_encrypted_zip_is_refused(make_zip: Callable[..., Path], folder: Path) -> None:
    path = make_zip(("a", b"1"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match="encrypted"):
        unpack(path, folder)


def test_zstd_is_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"x" * 100)
    with pytest.raises(SourceError, match="zstd"):
        unpack(tmp_path / "a.tar.zst", folder)


def test_gunzip_reads_all_parts_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"1") + gzip.compress(b"2"))
    gunzip(tmp_path / "a.gz", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"12"


def test_gunzip_stops_at_the_promised_size(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\0" * 3_000_000))
    with pytest.raises(SourceError, match=r"unpacks to more than 1\.0 kB"):
        gunzip(tmp_path / "a.gz", tmp_path / "a", num_bytes=1000)
    assert (tmp_path / "a").stat().st_size <= 1000


def test_gunzip_of_something_else_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"plain")
    with pytest.raises(SourceError, match="broken"):
        gunzip(tmp_path / "a.gz", tmp_path / "a")


def test_the_disks_errors_are_not_the_archives(
    make_tar: Callable[..., Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_tar(("a", b"1"))

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    original = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r", *a: Full() if "x" in mode else original(self, mode, *a))
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, folder)
