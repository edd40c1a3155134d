from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from flywheel.learner.blocks import Blocks, mixed_seed
from flywheel.learner.data import Block, Part, map_safetensors, open_part, padding_of
from flywheel.project.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    arrays = {"image": generator.integers(0, 256, (50, 1, 4, 4), dtype=np.uint8), "target": np.arange(50)}
    save_file({**arrays, "row": np.arange(50)}, tmp_path / "train.safetensors")
    return tmp_path / "train.safetensors"


def test_every_row_comes_once_an_epoch_in_a_new_order(file: Path) -> None:
    blocks = Blocks(open_part(file, ["image"], stream=False), batch_size=8, steps_per_block=2, seed=3)
    first = torch.cat([block.target for block in blocks])
    blocks.set_epoch(1)
    second = torch.cat([block.target for block in blocks])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()
    assert [len(block.target) for block in blocks] == [16, 16, 16, 2]
    assert (len(blocks), blocks.num_steps) == (4, 7)


def test_the_order_depends_on_seed_and_epoch_alone(file: Path) -> None:
    part = open_part(file, ["image"], stream=False)
    fresh = Blocks(part, 8, 2, seed=3)
    fresh.set_epoch(5)
    used = Blocks(part, 8, 4, seed=3)
    for epoch in range(6):
        used.set_epoch(epoch)
        torch.rand(7)  # other draws in between
    assert fresh.order().tolist() == used.order().tolist()


def test_seeds_of_neighbouring_trainings_and_epochs_do_not_collide() -> None:
    assert len({mixed_seed(seed, epoch) for seed in range(200) for epoch in range(-1, 500)}) == 200 * 501


def test_streaming_gives_the_very_same_blocks_as_memory(file: Path) -> None:
    held = Blocks(open_part(file, ["image"], stream=False), 8, 2, seed=1)
    mapped = Blocks(open_part(file, ["image"], stream=True), 8, 2, seed=1)
    assert mapped.part.streams
    for one, other in zip(held, mapped, strict=True):
        assert torch.equal(one.inputs["image"], other.inputs["image"])
        assert torch.equal(one.target, other.target)


def test_without_a_seed_the_file_s_order_is_kept(file: Path) -> None:
    blocks = Blocks(open_part(file, ["image"], stream=False), 8, 2)
    assert torch.cat([block.target for block in blocks]).tolist() == list(range(50))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda b: b[:200], "shorter than its header says"),
        (lambda b: b[:4], "no safetensors header"),
        (lambda b: b"\xff" * 8 + b[8:], "no safetensors header"),
    ],
)
def test_a_damaged_file_is_one_line(file: Path, damage, said: str) -> None:
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=said):
        open_part(file, ["image"], stream=True)


def test_missing_files_inputs_and_rows_are_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing; run `dvc repro`"):
        open_part(tmp_path / "no.safetensors", ["image"], stream=False)
    with pytest.raises(DataError, match="has no tensor text"):
        open_part(file, ["image", "text"], stream=False)
    save_file({"image": np.zeros((0, 1), np.uint8), "target": np.zeros(0, np.int64)}, file)
    with pytest.raises(DataError, match="has no rows"):
        open_part(file, ["image"], stream=False)


def test_mapping_agrees_with_safetensors_itself(file: Path) -> None:
    from safetensors.numpy import load_file

    mapped, loaded = map_safetensors(file), load_file(file)
    assert mapped.keys() == loaded.keys()
    for name in mapped:
        assert mapped[name].dtype == loaded[name].dtype
        assert np.array_equal(mapped[name], loaded[name])


def test_a_part_keeps_its_rows_on_a_device_move(file: Path) -> None:
    part = open_part(file, ["image"], stream=False)
    moved = part.to(torch.device("cpu"))
    assert isinstance(moved, Part)
    assert torch.equal(moved.gather(torch.tensor([4, 2]))["target"], torch.tensor([4, 2]))


@pytest.fixture(params=[False, True], ids=["memory", "stream"])
def texts(request: pytest.FixtureRequest, tmp_path: Path) -> Part:
    """500 rows of 1 to 30 tokens; each token says its row's length."""
    lengths = np.random.default_rng(0).integers(1, 31, 500)
    tokens = np.where(np.arange(30) < lengths[:, None], lengths[:, None], 0).astype(np.int32)
    save_file({"tokens": tokens, "target": lengths, "row": np.arange(500)}, tmp_path / "t.safetensors")
    part = open_part(tmp_path / "t.safetensors", ["tokens"], stream=request.param)
    part.measure(padding_of({"tokens": {"shape": [30], "padding": 0}, "other": {"shape": [2]}}))
    return part


@pytest.mark.parametrize("seed", [None, 4])
def test_batches_of_padded_rows_are_cut_to_their_longest_and_rows_of_one_length_share_them(
    texts: Part, seed: int | None
) -> None:
    batches = [batch for block in Blocks(texts, 16, 3, seed=seed) for batch in block.batches()]
    seen = []
    for inputs, target in batches:
        assert inputs["tokens"].shape[1] == target.max()
        assert torch.equal((inputs["tokens"] != 0).sum(dim=1), target)
        seen += target.tolist()
    assert sorted(seen) == sorted(row for block in Blocks(texts, 500, 1) for row in block.target.tolist())
    assert [len(target) for _, target in batches] == [16] * 31 + [4]
    kept = sum(inputs["tokens"].numel() for inputs, _ in batches)
    assert kept < 1.1 * sum(seen)


def test_bucketed_batches_come_in_random_order_each_epoch(texts: Part) -> None:
    blocks = Blocks(texts, 16, 1, seed=1)
    orders = []
    for epoch in range(2):
        blocks.set_epoch(epoch)
        orders.append([int(block.target.max()) for block in blocks])
    assert orders[0] != orders[1]
    assert orders[0][:-1] != sorted(orders[0][:-1])


def test_rows_of_nothing_but_padding_keep_one_place() -> None:
    part = Part({"x": torch.zeros(3, 5, 2), "target": torch.zeros(3)})
    part.measure({"x": 0})
    assert part.lengths["x"].tolist() == [1, 1, 1]
    (block,) = Blocks(part, 3, 1)
    assert isinstance(block, Block)
    assert [inputs["x"].shape for inputs, _ in block.batches()] == [(3, 1, 2)]


@pytest.mark.parametrize("num_ranks", [2, 3, 5])
@pytest.mark.parametrize("stream", [False, True])
def test_ranks_share_each_batch_of_the_same_order(file: Path, num_ranks: int, stream: bool) -> None:
    part = open_part(file, ["image"], stream=stream)
    whole = [target.tolist() for block in Blocks(part, 7, 3, seed=2) for _, target in block.batches()]
    assert len(whole[-1]) == 1, "of which all ranks but one have nothing"
    found: list[list[int]] = [[] for _ in whole]
    for rank in range(num_ranks):
        blocks = list(Blocks(part, 7, 3, seed=2, rank=rank, num_ranks=num_ranks))
        steps = [(block.share(step, 0), batch) for block in blocks for step, batch in enumerate(block.batches())]
        assert len(steps) == len(whole), "all ranks make the same number of steps"
        for place, (share, (inputs, target)) in enumerate(steps):
            assert share.whole == len(whole[place])
            assert len(target) == len(inputs["image"]) == max(1, share.own)
            found[place] += target[: share.own].tolist()
    assert [sorted(batch) for batch in found] == [sorted(batch) for batch in whole]


def test_ranks_cut_padded_rows_alike_and_share_the_long_ones() -> None:
    tokens = torch.zeros(16, 10, dtype=torch.int32)
    for row in range(16):
        tokens[row, : 1 + row % 10] = 1
    part = Part({"tokens": tokens, "target": torch.arange(16)})
    part.measure({"tokens": 0})
    first, second = (next(iter(Blocks(part, 8, 2, seed=0, rank=rank, num_ranks=2))) for rank in (0, 1))
    assert first.lengths == second.lengths
    for (one, _), (other, _) in zip(first.batches(), second.batches(), strict=True):
        assert one["tokens"].shape == other["tokens"].shape
        assert abs(int(one["tokens"].sum()) - int(other["tokens"].sum())) <= 8, "neither has all the long rows"
