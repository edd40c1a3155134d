from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from flywheel.init_task import blocks
from flywheel.init_task.blocks import read_blocks


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WHOLE_BYTES", 4000)
    monkeypatch.setattr(blocks, "HEAD_BYTES", 1000)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 300)
    monkeypatch.setattr(blocks, "NUM_BLOCKS", 10)


def lines(number: int) -> bytes:
    return b"".join(b"%07d,x\n" % row for row in range(number))


def test_a_small_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(lines(100))
    found = read_blocks(tmp_path / "a.csv")
    assert (found.head, found.others, found.is_whole, found.num_bytes) == (lines(100), (), True, 1000)


def test_a_large_file_gives_complete_lines_from_everywhere(tmp_path: Path, small_limits: None) -> None:
    (tmp_path / "a.csv").write_bytes(lines(5000))
    found = read_blocks(tmp_path / "a.csv")
    assert not found.is_whole
    assert found.num_bytes == 50_000
    assert found.num_read <= 4000
    assert len(found.others) == 10
    rows = [int(line.split(b",")[0]) for part in (found.head, *found.others) for line in part.splitlines()]
    assert rows == sorted(set(rows))
    assert rows[:100] == list(range(100))
    assert max(rows) > 4400
    assert read_blocks(tmp_path / "a.csv") == found


def test_a_large_gzip_gives_its_head(tmp_path: Path, small_limits: None) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(lines(5000)))
    found = read_blocks(tmp_path / "a.csv.gz")
    assert found.head == lines(400)
    assert (found.others, found.is_whole, found.num_bytes) == ((), False, None)


def test_the_bytes_read_do_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 GB, most of them a hole, are looked at by reading 8 MB."""
    file = tmp_path / "a.csv"
    file.write_bytes(lines(1000))
    with file.open("r+b") as stream:
        stream.truncate(2_000_000_000)
    read = []
    real = Path.open

    def counting(self: Path, *words: object, **options: object) -> object:
        stream = real(self, *words, **options)  # type: ignore[call-overload]
        inner = stream.read
        stream_read = lambda size=-1: read.append(inner(size)) or read[-1]  # noqa: E731
        return _Counting(stream, stream_read)

    monkeypatch.setattr(Path, "open", counting)
    read_blocks(file)
    assert sum(map(len, read)) <= blocks.WHOLE_BYTES + 16


class _Counting:
    def __init__(self, stream: object, read: object) -> None:
        self.stream, self.read = stream, read

    def seek(self, place: int) -> None:
        self.stream.seek(place)  # type: ignore[attr-defined]

    def __enter__(self) -> _Counting:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()  # type: ignore[attr-defined]
