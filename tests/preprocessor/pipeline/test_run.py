from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.preprocessor.task import load_preprocessor
from flywheel.project.compose import compose_task
from flywheel.project.config import ReaderConfig, TaskConfig
from flywheel.project.errors import DataError
from flywheel.project.params import task_from
from flywheel.report.examples import Examples

Make = Callable[..., Any]
SPLITS = ("train", "validation", "test")
NO_FEEDBACK = Path("/nowhere")


@pytest.fixture
def run(tmp_path: Path, load_json: Make) -> Make:
    """Preprocess, and give the arrays of each split, the profile and the meta."""

    def go(task: TaskConfig, raw: Path, feedback: Path = NO_FEEDBACK) -> tuple[dict[str, Any], Any, Any]:
        target = tmp_path / "processed"
        meta = preprocess(task, raw, feedback, target)
        assert meta == load_json(target / "meta.json")
        arrays = {name: load_file(target / f"{name}.safetensors") for name in SPLITS}
        return arrays, load_json(target / "profile.json"), meta

    return go


def test_official_test_split_is_taken_whole_and_validation_is_stratified(
    composed: Callable[[str], TaskConfig], fixtures: Path, tmp_path: Path, gunzip: Make, load_json: Make
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in (fixtures / "fashion_mnist").iterdir():
        (raw / path.stem).write_bytes(gunzip(path))
    meta = preprocess(composed("fashion"), raw, NO_FEEDBACK, tmp_path / "out")
    assert meta["num_rows"] == {"train": 48, "validation": 12, "test": 20}
    assert sorted(meta["class_counts"]) == [4, 4, *[5] * 8]
    assert meta["classes"][0] == "T-shirt/top", "the order is the data set's own, not the alphabet's"
    test = load_file(tmp_path / "out/test.safetensors")
    official = np.frombuffer((raw / "t10k-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    np.testing.assert_array_equal(test["image"], official.reshape(20, 1, 28, 28))
    codes = np.frombuffer((raw / "t10k-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    np.testing.assert_array_equal(test["target"], codes)
    np.testing.assert_array_equal(test["row"], np.arange(20))
    held = np.bincount(load_file(tmp_path / "out/validation.safetensors")["target"]).tolist()
    assert [6 - number for number in held] == meta["class_counts"]
    names = {"classes.png", "meta.json", "preprocessor.json", "profile.json", "samples.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {f"{name}.safetensors" for name in SPLITS}


@pytest.mark.parametrize(("name", "rows", "size"), [("digits", 80, 8), ("mnist5k", 50, 28)])
def test_without_an_official_test_split_one_is_drawn(
    composed: Callable[[str], TaskConfig], fixtures: Path, tmp_path: Path, name: str, rows: int, size: int
) -> None:
    meta = preprocess(composed(name), fixtures / name, NO_FEEDBACK, tmp_path / "out")
    arrays = {part: load_file(tmp_path / "out" / f"{part}.safetensors") for part in SPLITS}
    seen = np.concatenate([arrays[part]["row"] for part in SPLITS])
    assert sorted(seen) == list(range(rows))
    assert meta["num_rows"]["test"] == rows // 5
    assert meta["inputs"]["image"]["shape"] == [1, size, size]
    assert meta["classes"] == [str(digit) for digit in range(10)]
    loaded = load_preprocessor(tmp_path / "out/preprocessor.json")
    assert loaded.inputs.meta()["inputs"] == meta["inputs"]


def test_scaling_is_learnt_from_train_alone(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, with_test: Any
) -> None:
    images, labels = pictures(40), np.arange(40) % 2
    other = np.full((10, 4, 4), 255) - np.arange(10)[:, None, None]
    raw = write_raw(train=(images, labels), test=(other, np.arange(10) % 2))
    arrays, profile, meta = run(make_task(reader=with_test), raw)
    train = arrays["train"]["image"]
    assert meta["inputs"]["image"]["mean"] == [pytest.approx(train.mean(), rel=1e-12)]
    assert meta["inputs"]["image"]["std"] == [pytest.approx(train.std(), rel=1e-12)]
    assert profile["splits"]["test"]["inputs"]["image"]["mean"] == pytest.approx(other.mean())
    assert profile["splits"]["train"]["inputs"]["image"]["std"] == pytest.approx(train.std())


@pytest.mark.parametrize("official_test", [True, False])
@pytest.mark.parametrize("drop_duplicates", [True, False])
def test_neither_chunks_nor_a_second_run_change_a_byte(
    make_task: Make, write_raw: Make, pictures: Make, tmp_path: Path, contents: Make, with_test: Any,
    official_test: bool, drop_duplicates: bool,
) -> None:  # fmt: skip
    images, labels = pictures(60), np.arange(60) % 3
    images[[50, 51, 52]] = images[[4, 5, 6]]
    test = pictures(15, seed=1)
    test[3] = images[0]
    raw = write_raw(train=(images, labels), test=(test, np.arange(15) % 3))
    reader = with_test if official_test else {}
    for chunk_rows in (7, 1, 4096):
        task = make_task(reader=reader, chunk_rows=chunk_rows, drop_duplicates=drop_duplicates)
        preprocess(task, raw, NO_FEEDBACK, tmp_path / f"out{chunk_rows}")
    first = contents(tmp_path / "out7")
    assert len(first) == 8
    assert first == contents(tmp_path / "out1") == contents(tmp_path / "out4096")


def test_another_process_gives_the_same_bytes(
    composed: Callable[[str], TaskConfig], fixtures: Path, tmp_path: Path, contents: Make
) -> None:
    program = (
        "import json, sys; from pathlib import Path; from flywheel.project.params import task_from\n"
        "from flywheel.preprocessor.pipeline.run import preprocess\n"
        "task = task_from(json.loads(sys.argv[1]), 'digits')\n"
        "preprocess(task, Path(sys.argv[2]), Path('/nowhere'), Path(sys.argv[3]))\n"
    )
    settings = json.dumps(asdict(composed("digits")))
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, settings, str(fixtures / "digits"), str(tmp_path / seed)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_train_rows_equal_to_a_test_row_leave_train_and_validation(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, with_test: Any
) -> None:
    images, labels = pictures(40), np.arange(40) % 2
    test = np.concatenate([images[[3, 8]], pictures(4, seed=9)])
    raw = write_raw(train=(images, labels), test=(test, [labels[3], 1 - labels[8], 0, 1, 0, 1]))
    arrays, profile, meta = run(make_task(reader=with_test, validation=0.5), raw)
    np.testing.assert_array_equal(arrays["test"]["image"][:, 0], test)
    held = {*arrays["train"]["row"], *arrays["validation"]["row"]}
    assert held == set(range(40)) - {3, 8}
    found = {"num_rows": 2, "other_label": 1, "dropped": 2, "num_others": 2, "first": [[3, 0], [8, 1]]}
    assert profile["duplicates"]["train_in_test"] == found
    assert profile["contradictory"] == 2
    assert meta["num_rows"]["test"] == 6


def test_copies_within_train_are_dropped_by_choice_and_contradictions_never(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, with_test: Any
) -> None:
    images, labels = pictures(40), np.arange(40) % 2
    images[[10, 21]] = images[[2, 4]]
    raw = write_raw(train=(images, labels), test=(pictures(4, seed=9), [0, 1, 0, 1]))
    for drop in (True, False):
        task = make_task(reader=with_test, drop_duplicates=drop, validation=0.0)
        arrays, profile, _ = run(task, raw)
        found = {"num_rows": 2, "other_label": 1, "dropped": int(drop), "first": [[10, 2], [21, 4]]}
        assert profile["duplicates"]["within_train"] == found
        assert set(arrays["train"]["row"].tolist()) == set(range(40)) - ({10} if drop else set())
        assert profile["contradictory"] == 2, "21 and 4: which label is right is not for the order of the file to say"


def test_validation_shares_no_picture_with_train_unless_that_is_wanted(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, with_test: Any
) -> None:
    images = np.concatenate([pictures(30)] * 2)
    raw = write_raw(train=(images, np.arange(60) % 2), test=(pictures(4, seed=9), [0, 1, 0, 1]))
    for overlap, shared in (("drop", False), ("keep", True)):
        arrays, profile, _ = run(make_task(reader=with_test, overlap=overlap, drop_duplicates=False), raw)
        held = [{row.tobytes() for row in arrays[part]["image"]} for part in ("train", "validation")]
        assert bool(held[0] & held[1]) == shared
        assert bool(profile["duplicates"]["train_in_validation"]["dropped"]) != shared


def test_drawn_test_part_shares_no_picture_with_train(
    make_task: Make, write_raw: Make, pictures: Make, run: Make
) -> None:
    images = np.concatenate([pictures(30)] * 3)
    raw = write_raw(train=(images, np.arange(90) % 2))
    arrays, profile, _ = run(make_task(drop_duplicates=False), raw)
    held = {part: {row.tobytes() for row in arrays[part]["image"]} for part in SPLITS}
    assert not held["train"] & held["test"]
    assert not held["validation"] & held["test"]
    assert not held["train"] & held["validation"]
    assert profile["duplicates"]["train_in_test"]["num_rows"] > 0
    assert len(arrays["test"]["row"]) == 18, "a share of all rows, copies among them"


def test_official_test_keeps_its_own_duplicates(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, with_test: Any
) -> None:
    test = pictures(6, seed=5)
    test[5] = test[0]
    raw = write_raw(train=(pictures(20), np.arange(20) % 2), test=(test, [0, 1, 0, 1, 0, 0]))
    arrays, profile, _ = run(make_task(reader=with_test), raw)
    assert arrays["test"]["row"].tolist() == [0, 1, 2, 3, 4, 5]
    found = {"num_rows": 1, "other_label": 0, "dropped": 0, "first": [[5, 0]]}
    assert profile["duplicates"]["within_test"] == found


def test_split_depends_on_the_seed_alone(make_task: Make, write_raw: Make, pictures: Make, run: Make) -> None:
    raw = write_raw(train=(pictures(60), np.arange(60) % 3))
    rows = [run(make_task(seed=seed), raw)[0]["test"]["row"].tolist() for seed in (0, 1, 0)]
    assert rows[0] == rows[2] != rows[1]


def test_validation_of_nothing_is_an_empty_file(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, with_test: Any
) -> None:
    raw = write_raw(train=(pictures(6), np.arange(6) % 2), test=(pictures(2, seed=1), [0, 1]))
    arrays, _, meta = run(make_task(reader=with_test, validation=0.0), raw)
    assert meta["num_rows"] == {"train": 6, "validation": 0, "test": 2}
    assert arrays["validation"]["image"].shape == (0, 1, 4, 4)


def test_bad_rows_are_counted_and_named(tmp_path: Path, make_task: Make, run: Make) -> None:
    generator = np.random.default_rng(0)
    lines = [",".join(map(str, [*generator.integers(0, 256, 4), row % 2])) for row in range(100)]
    lines[7] = lines[7].replace(lines[7].split(",")[1], "oops", 1)
    lines[20] = lines[20].rsplit(",", 1)[0] + ","
    lines[33] = "1,2,3"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    reader = {"path": "a.csv", "label_column": -1, "image_size": [2, 2], "header": False}
    task = make_task(reader={})
    task.data.reader.read = {"_target_": "flywheel.modality.image.data.csv_images.CsvImageReader", **reader}
    arrays, profile, _ = run(task, tmp_path)
    held = np.concatenate([arrays[part]["row"] for part in SPLITS])
    assert set(range(100)) - {*map(int, held)} == {7, 20, 33}
    dropped = profile["dropped"]["train"]
    assert (dropped["num_rows"], dropped["share"]) == (3, 0.03)
    assert {reason["why"]: reason["rows"] for reason in dropped["reasons"]} == {
        "pixel column 1: 'oops' is not a number": [7], "label is missing": [20], "pixel column 3 is empty": [33]
    }  # fmt: skip
    task.preprocess.max_dropped = 0.02
    with pytest.raises(DataError, match=r"a\.csv, row 7: 3 of 100 train rows .*\(3.0%, limit 2.0%\); .*max_dropped"):
        run(task, tmp_path)


def test_folder_of_pictures_with_corrupt_ones(
    fixtures: Path, tmp_path: Path, make_task: Make, run: Make, png: Make, pictures: Make
) -> None:
    raw = tmp_path / "raw"
    for split, count in (("train", 20), ("test", 4)):
        for kind, pixels in (("cat", pictures(count)), ("dog", pictures(count, seed=1) // 2)):
            (raw / split / kind).mkdir(parents=True)
            for number, image in enumerate(pixels + (split == "test")):
                (raw / split / kind / f"{number:02}.png").write_bytes(png(image))
    (raw / "train/cat/03.png").write_bytes(png(pictures(1)[0])[:40])
    task = make_task(inputs={"image_size": [6, 6], "channels": 3})
    task.data.reader.read = {"_target_": "flywheel.modality.image.data.folder.ImageFolderReader"}
    arrays, profile, meta = run(task, raw)
    assert meta["num_rows"] == {"train": 31, "validation": 8, "test": 8}
    assert arrays["train"]["image"].shape == (31, 3, 6, 6)
    reason = profile["dropped"]["train"]["reasons"][0]
    assert reason["rows"] == [{"row": 3, "file": "cat/03.png"}]


def test_feedback_goes_to_train_only_and_never_repeats_test(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, png: Make, with_test: Any, tmp_path: Path
) -> None:
    test, new = pictures(6, seed=1), pictures(4, seed=2)
    raw = write_raw(train=(pictures(20), np.arange(20) % 2), test=(test, np.arange(6) % 2))
    before, _, _ = run(make_task(reader=with_test), raw)
    feedback = tmp_path / "feedback"
    feedback.mkdir()
    rows = [png(new[0]), png(test[2]), b"broken", png(new[1])]
    pd.DataFrame({"image": rows, "label": ["0", "1", "0", "1"]}).to_parquet(feedback / "b.parquet")
    nested = [new[2].tolist(), new[3].tolist(), new[2].tolist()]
    pd.DataFrame({"image": nested, "label": [1, 0, 1]}).to_parquet(feedback / "a.parquet")
    arrays, profile, _ = run(make_task(reader=with_test, max_dropped=0.1), raw, feedback)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(arrays[part]["image"], before[part]["image"])
        np.testing.assert_array_equal(arrays[part]["row"], before[part]["row"])
    assert arrays["train"]["row"].tolist() == [*before["train"]["row"], 20, 21, 23, 26]
    np.testing.assert_array_equal(arrays["train"]["image"][-4:, 0], new[[2, 3, 0, 1]])
    assert arrays["train"]["target"][-4:].tolist() == [1, 0, 0, 1]
    assert {key: profile["feedback"][key] for key in ("num_rows", "used")} == {"num_rows": 7, "used": 4}
    assert profile["raw"]["train"] == 20
    assert profile["dropped"]["train"]["reasons"][0]["rows"] == [{"row": 25, "file": "b.parquet"}]


def test_feedback_never_reaches_a_drawn_test_part(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, png: Make, tmp_path: Path
) -> None:
    raw = write_raw(train=(pictures(40), np.arange(40) % 2))
    before, _, _ = run(make_task(), raw)
    (tmp_path / "feedback").mkdir()
    images = [png(image) for image in [*pictures(30, seed=3), before["test"]["image"][0, 0]]]
    pd.DataFrame({"image": images, "label": ["0"] * 31}).to_parquet(tmp_path / "feedback/a.parquet")
    after, profile, _ = run(make_task(), raw, tmp_path / "feedback")
    for part in ("validation", "test"):
        np.testing.assert_array_equal(before[part]["row"], after[part]["row"])
    assert {key: profile["feedback"][key] for key in ("num_rows", "used")} == {"num_rows": 31, "used": 30}


def test_feedback_file_without_labels_is_refused(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, tmp_path: Path
) -> None:
    raw = write_raw(train=(pictures(20), np.arange(20) % 2))
    pd.DataFrame({"image": [b"x"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: has no column 'label'"):
        run(make_task(), raw, tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 0, 0, 0, 1], [0, 0], r"train-images, row 4: class '1' has 1 row, too few to give some to validation"),
        ([0, 0, 1, 1], [0, 2], r"test-images, row 1: class '2' is in test but not in train"),
        ([0, 0, 0, 0], [0, 0], r"holds 1 classes; two are needed"),
        ([0, 1, 0, 1], [], r"test-images: test has no rows"),
        ([], [0, 1], r"train-images: train has no rows"),
    ],
)
def test_labels_that_cannot_be_split_are_one_clear_line(
    make_task: Make,
    write_raw: Make,
    pictures: Make,
    run: Make,
    with_test: Any,
    train: list[int],
    test: list[int],
    message: str,
) -> None:
    raw = write_raw(train=(pictures(len(train)), train), test=(pictures(len(test), seed=1), test))
    with pytest.raises(DataError, match=message):
        run(make_task(reader=with_test), raw)


def test_class_too_small_to_be_drawn_twice(make_task: Make, write_raw: Make, pictures: Make, run: Make) -> None:
    raw = write_raw(train=(pictures(12), [0] * 10 + [1, 1]))
    with pytest.raises(DataError, match="class '1' has 2 rows, too few to give some to validation"):
        run(make_task(), raw)


def test_train_that_is_wholly_in_test_leaves_nothing(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, with_test: Any
) -> None:
    images = pictures(6)
    raw = write_raw(train=(images, np.arange(6) % 2), test=(images, np.arange(6) % 2))
    with pytest.raises(DataError, match="no rows are left for train"):
        run(make_task(reader=with_test), raw)


def test_pictures_of_many_sizes_need_a_size(tmp_path: Path, fixtures: Path, make_task: Make, run: Make) -> None:
    task = make_task(max_dropped=0.3)
    task.data.reader.read = {"_target_": "flywheel.modality.image.data.folder.ImageFolderReader"}
    with pytest.raises(DataError, match=r"cat/1\.jpg, row 1: 6 of 10 train rows .*is 10x8, not 8x8 .*image_size"):
        run(task, fixtures / "pets")
    sized = make_task(inputs={"image_size": [8, 8]})
    sized.data.reader.read = task.data.reader.read
    assert run(sized, fixtures / "pets")[2]["num_rows"] == {"train": 8, "validation": 2, "test": 4}


def test_missing_raw_folder_and_file(make_task: Make, run: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; run the download stage"):
        run(make_task(), tmp_path / "none")
    with pytest.raises(DataError, match="train-images: missing; run the download stage"):
        run(make_task(), tmp_path)


def test_a_failure_leaves_the_last_good_output(
    make_task: Make, write_raw: Make, pictures: Make, run: Make, tmp_path: Path, contents: Make
) -> None:
    raw = write_raw(train=(pictures(20), np.arange(20) % 2))
    run(make_task(), raw)
    before = contents(tmp_path / "processed")
    (raw / "train-images").write_bytes((raw / "train-images").read_bytes()[:-3])
    with pytest.raises(DataError, match="truncated"):
        run(make_task(), raw)
    assert contents(tmp_path / "processed") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["processed", "raw"]


@pytest.mark.parametrize("official", [True, False])
def test_the_test_rows_carry_their_group_and_no_model_is_told(
    root: Path, tmp_path: Path, load_json: Make, contents: Make, official: bool
) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({
        "x": random.normal(size=90), "label": np.where(np.arange(90) % 2, "a", "b"),
        "who": [f"person {n // 6}" for n in range(90)], "part": np.where(np.arange(90) < 60, "train", "test"),
    })  # fmt: skip
    raw = tmp_path / "raw"
    raw.mkdir()
    (table if official else table.drop(columns="part")).to_csv(raw / "t.csv", index=False)
    base = task_from(compose_task(root, ["task=breast_cancer"]), "toy")
    read = {"_target_": "flywheel.reader.table.TableReader", "path": "t.csv", "label_column": "label",
            "group_column": "who", **({"split_column": "part"} if official else {})}  # fmt: skip
    for folder, chunk_rows in (("out", 4096), ("again", 7)):
        target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
        settings = replace(base.preprocess, chunk_rows=chunk_rows, target=target)
        task = replace(base, name="toy", data=replace(base.data, reader=ReaderConfig(read)), preprocess=settings)
        meta = preprocess(task, raw, NO_FEEDBACK, tmp_path / folder)
    assert contents(tmp_path / "out") == contents(tmp_path / "again")
    arrays = {name: load_file(tmp_path / "out" / f"{name}.safetensors") for name in SPLITS}
    test = arrays["test"]
    people = table["who"].to_numpy()[test["row"] + (60 if official else 0)]
    assert test["group"].dtype == np.int32
    assert len(set(zip(test["group"].tolist(), people, strict=True))) == len(set(people)) == meta["num_groups"]["test"]
    assert "group" not in arrays["train"]
    assert "group" not in arrays["validation"]
    assert "group" not in meta["inputs"]
    examples = Examples(tmp_path / "out/test.safetensors", meta["inputs"])
    assert np.array_equal(examples.groups, test["group"])
    assert set(examples.inputs(np.arange(2))) == set(meta["inputs"])


def test_data_without_groups_hold_none(make_task: Make, write_raw: Make, pictures: Make, run: Make) -> None:
    arrays, _, meta = run(make_task(), write_raw(train=(pictures(40), np.arange(40) % 2)))
    assert "group" not in arrays["test"]
    assert "num_groups" not in meta
