"""Corrections become rows of train: of every kind of data, never a held-out row, and the same bytes each time."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from tests.feedback.conftest import World, png

from flywheel.project.digest import sha256_of
from flywheel.project.errors import DataError


def picture(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    files = [*folder.glob("*"), folder.with_name(f"{folder.name}.json")]
    return {path.name: path.read_bytes() for path in files if path.is_file()}


def test_pictures_encoded_and_as_lists_become_rows(digits_world: World) -> None:
    world = digits_world
    encoded = world.say({"image": png(picture(0))}, "3")
    listed = world.say({"image": picture(1).tolist()}, 4)
    url = world.say({"image": f"data:image/png;base64,{png(picture(2))}"}, None, correct=True)
    test = sha256_of(world.processed / "test.safetensors")
    outcome = world.pull()
    assert outcome.classes == {"0": 1, "3": 1, "4": 1}
    assert outcome.refused == {}
    assert outcome.changed
    assert sorted(path.name for path in world.feedback.iterdir()) == ["rows.parquet", "rows_lists2.parquet"]
    manifest = json.loads((world.folder / "feedback/digits.json").read_text())
    assert set(manifest["predictions"]) == {encoded, listed, url}
    assert manifest["num_rows"] == 3
    assert manifest["held_out"]["test"] == test
    found = world.preprocess()
    assert found == {"num_rows": 3, "used": 3, "sha256": manifest["sha256"]}
    record = json.loads((world.processed / "feedback.json").read_text())
    assert record["predictions"] == sorted([encoded, listed, url])
    train = load_file(world.processed / "train.safetensors")
    for image, label in ((picture(0), 3), (picture(1), 4), (picture(2), 0)):
        at = np.flatnonzero((train["image"][:, 0] == image).all((1, 2)))
        assert train["target"][at].tolist() == [label]
    assert sha256_of(world.processed / "test.safetensors") == test


def test_texts_become_rows(text_world: World) -> None:
    world = text_world
    world.say({"text": "what a wholly new and splendid sentence"}, "positive")
    world.say({"text": "another sentence, which nobody wrote before"}, "neutral")
    assert world.pull().num_rows == 2
    assert world.preprocess()["used"] == 2
    assert world.pulled()["text"].tolist() == [
        "what a wholly new and splendid sentence", "another sentence, which nobody wrote before"
    ]  # fmt: skip


def test_rows_of_tables_become_rows_without_what_requests_do_not_give(table_world: World) -> None:
    world = table_world
    world.say({"size": 4.25, "colour": "red"}, "big")
    world.say({"size": "-4", "colour": None}, "small")
    world.say({"size": -5, "colour": "blue"}, "small")
    assert world.pull().classes == {"big": 1, "small": 2}
    assert world.preprocess()["used"] == 3
    train = load_file(world.processed / "train.safetensors")
    assert {4.25, -4.0, -5.0} <= set(train["numeric"][:, 0].tolist())
    assert world.pulled()["size"].tolist() == ["4.25", "-4", "-5"]


def test_recordings_become_rows(audio_world: World, root: Path) -> None:
    world = audio_world
    import io

    import soundfile

    stream = io.BytesIO()
    tone = np.sin(np.arange(8000) * 0.2).astype(np.float32)
    soundfile.write(stream, tone, 8000, format="WAV")
    world.say({"audio": base64.b64encode(stream.getvalue()).decode()}, "high")
    assert world.pull(max_share=0.5).num_rows == 1
    assert world.preprocess()["used"] == 1
    assert world.pulled()["audio"][0] == stream.getvalue()


def test_items_that_users_choose_become_rows(items_world: World) -> None:
    world = items_world
    fitted = json.loads((world.processed / "preprocessor.json").read_text())["inputs"]["fitted"]
    held = {name: load_file(world.processed / f"{name}.safetensors") for name in ("test", "validation")}
    secret = {
        (int(user), int(item))
        for part in held.values()
        for user, item in zip(part["user"], part["target"], strict=True)
    }
    user, items = 1, fitted["items"]
    had = {int(code) - 1 for code in fitted["histories"][user - 1].split()}
    free = [item for item in range(len(fitted["items"])) if item not in had and (user, item) not in secret]
    hidden = next(item for who, item in sorted(secret) if who == user)
    name = fitted["users"][user - 1]
    for item in (free[0], hidden, free[1]):
        world.say({"user": name, "k": 5}, fitted["items"][item])
    world.say({"history": fitted["items"][:2], "k": 3}, fitted["items"][4], client="bob")
    world.say({"history": fitted["items"][:2]}, fitted["items"][5], client="bob")
    outcome = world.pull(max_share=0.9)
    split = next(
        name for name, part in held.items() if (user, hidden) in set(zip(part["user"], part["target"], strict=True))
    )
    assert outcome.refused == {f"in_{split}": 1}, "what a user took last is what the test foretells"
    assert outcome.num_rows == 4, "several items may be right after one history"
    assert list(world.pulled()) == ["user", "history", "time", "label"]
    assert world.preprocess()["used"] == 4
    fitted = json.loads((world.processed / "preprocessor.json").read_text())["inputs"]["fitted"]
    had_after = [fitted["items"][int(code) - 1] for code in fitted["histories"][fitted["users"].index(name)].split()]
    assert had_after[-2:] == [items[free[0]], items[free[1]]], "in the order in which they were chosen"


def test_numbers_become_rows_unless_they_cannot_be(number_world: World) -> None:
    world = number_world
    world.say({"size": 7.5}, 130.5)
    world.say({"size": 8.5}, 1e9)
    world.say({"size": 9.5}, "many")
    outcome = world.pull()
    assert outcome.classes == {"": 1}
    assert outcome.refused == {"implausible_label": 1, "unknown_label": 1}
    assert world.preprocess()["used"] == 1
    assert world.pulled()["label"].tolist() == [130.5]
    assert world.pull(max_deviations=0).refused == {"unknown_label": 1}


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_held_out_picture_is_never_taken(digits_world: World, split: str) -> None:
    world = digits_world
    for image in world.raw_rows(split)["image"][:5]:
        world.say({"image": png(image)}, "1")
    world.say({"image": np.asarray(world.raw_rows(split)["image"].iloc[5]).tolist()}, "1")
    outcome = world.pull()
    assert outcome.refused == {f"in_{split}": 6}
    assert outcome.num_rows == 0
    assert not list(world.feedback.glob("*"))


def test_a_copy_of_a_held_out_text_with_other_punctuation_is_never_taken(text_world: World) -> None:
    world = text_world
    text = str(world.raw_rows("test")["text"].iloc[0])
    for number, changed in enumerate((text, f"  {text}!!", f"RT @somebody: {text.upper()}")):
        world.say({"text": changed}, "neutral", client=f"c{number}")
    assert world.pull().refused == {"in_test": 3}


def test_a_held_out_row_of_a_table_is_known_without_its_identifier(table_world: World) -> None:
    world = table_world
    row = world.raw_rows("test").iloc[0]
    world.say({"size": float(row["size"]), "colour": str(row["colour"])}, "big")
    world.say({"colour": str(row["colour"]), "size": f" {row['size']}0"}, "big", client="bob")
    assert world.pull().refused == {"in_test": 2}


def test_inputs_that_several_rows_of_a_table_have_tell_no_row_from_another(table_world: World) -> None:
    world = table_world
    frame = pd.read_csv(world.raw / "rows.csv").assign(size=lambda rows: rows["size"].round())
    frame.to_csv(world.raw / "rows.csv", index=False)
    world.preprocess()
    row = world.raw_rows("test").iloc[0]
    coarse = {"size": float(row["size"]), "colour": str(row["colour"])}
    for client, label in (("ann", "big"), ("bob", "big"), ("cem", "small")):
        world.say(coarse, label, client=client)
    outcome = world.pull()
    assert outcome.refused == {}
    assert outcome.classes == {"big": 2, "small": 1}
    assert world.preprocess()["used"] == 3


def test_what_cannot_be_a_row_is_counted_by_reason(digits_world: World) -> None:
    world = digits_world
    world.say({"image": png(picture(0))}, "eleven")
    world.say({"image": png(picture(1))}, None, correct=False)
    world.say(None, "1")
    world.say({"image": "no base64!"}, "1")
    world.say({"image": [[1, 2], [3]]}, "1")
    world.say({"image": np.zeros((5, 5)).tolist()}, "1")
    world.say({"picture": "x"}, "1")
    world.say({"image": png(picture(2))}, " 1 ")
    outcome = world.pull()
    assert outcome.num_words == 8
    assert outcome.refused == {"hash_only": 1, "invalid_input": 4, "no_label": 1, "unknown_label": 1}
    assert sum(outcome.reasons.values()) == 4
    assert "has no column 'image'" in outcome.reasons
    assert outcome.classes == {"1": 1}
    manifest = json.loads((world.folder / "feedback/digits.json").read_text())
    assert manifest["refused"] == outcome.refused


def test_one_row_that_cannot_be_read_takes_no_other_with_it(items_world: World) -> None:
    world = items_world
    fitted = json.loads((world.processed / "preprocessor.json").read_text())["inputs"]["fitted"]
    for number in range(5):
        world.say({"history": [fitted["items"][number]]}, fitted["items"][6], client=f"c{number}")
    world.say({"history": 7}, fitted["items"][1])
    outcome = world.pull(max_share=0.9)
    assert outcome.refused == {"invalid_input": 1}
    assert outcome.num_rows == 5


def test_texts_that_no_file_can_hold_stop_nobody(text_world: World) -> None:
    text_world.say({"text": "half a \ud800 character, alone in its row"}, "neutral")
    text_world.say({"text": "a whole sentence, which comes after it"}, "neutral")
    assert text_world.pull().refused == {"invalid_input": 1}
    assert len(text_world.pulled()) == 1


def test_tables_refuse_values_that_are_none(table_world: World) -> None:
    world = table_world
    for value in ("\ud800", "red"):
        world.say({"size": 8.5, "colour": value}, "big")
    world.say({"size": [1, 2], "colour": "red"}, "big")
    world.say({"size": 10**400, "colour": "red"}, "big")
    world.say({"size": float("nan"), "colour": "blue"}, "big")
    outcome = world.pull()
    assert outcome.refused["invalid_input"] >= 2
    assert world.preprocess()["used"] == outcome.num_rows


def test_a_second_pull_writes_nothing_and_another_place_gets_the_same_bytes(digits_world: World) -> None:
    world = digits_world
    for seed in range(4):
        world.say({"image": png(picture(seed)) if seed % 2 else picture(seed).tolist()}, str(seed))
    world.pull()
    before = contents(world.feedback)
    times = {path: path.stat().st_mtime_ns for path in world.folder.glob("feedback/**/*")}
    assert not world.pull().changed
    assert times == {path: path.stat().st_mtime_ns for path in world.folder.glob("feedback/**/*")}
    other = world.folder / "elsewhere/digits"
    world.feedback = other
    assert world.pull().changed
    assert contents(other) == before
    assert b"2026" not in b"".join(before.values()), "no times in outputs"


def test_new_words_are_added_and_refused_ones_change_no_row(digits_world: World) -> None:
    world = digits_world
    world.say({"image": png(picture(0))}, "3")
    world.pull()
    rows = sha256_of(world.feedback / "rows.parquet")
    world.say({"image": png(picture(1))}, "eleven")
    assert not world.pull().changed
    assert sha256_of(world.feedback / "rows.parquet") == rows
    manifest = json.loads((world.folder / "feedback/digits.json").read_text())
    assert manifest["refused"] == {"unknown_label": 1}
    world.say({"image": png(picture(1))}, "4")
    assert world.pull().changed
    assert len(world.pulled()) == 2


def test_rows_already_in_train_are_judged_by_the_data_sets_own(digits_world: World) -> None:
    """What one pull has added must not count as the data set's own at the next."""
    world = digits_world
    for seed in range(30):
        world.say({"image": png(picture(seed))}, "3")
    first = world.pull(min_client_rows=5).num_rows
    world.preprocess()
    assert world.pull(min_client_rows=5).num_rows == first < 30


def test_files_that_differ_from_their_manifest_are_refused(digits_world: World, caplog: Any) -> None:
    world = digits_world
    world.say({"image": png(picture(0))}, "3")
    world.pull()
    file = world.feedback / "rows.parquet"
    pd.read_parquet(file).assign(label="5").to_parquet(file)
    with pytest.raises(DataError, match=r"rows.parquet: is not the file that .* pull the feedback again"):
        world.preprocess()
    assert world.pull().changed
    assert world.preprocess()["used"] == 1
    file.unlink()
    assert world.preprocess() == {"num_rows": 0, "used": 0}, "a clone whose rows were not pulled yet"


def test_files_of_a_persons_own_may_lie_beside(digits_world: World) -> None:
    world = digits_world
    world.feedback.mkdir(parents=True)
    pd.DataFrame({"image": [picture(9).tolist()], "label": ["1"]}).to_parquet(world.feedback / "own.parquet")
    world.say({"image": png(picture(0))}, "3")
    world.pull()
    assert sorted(path.name for path in world.feedback.iterdir()) == ["own.parquet", "rows.parquet"]
    assert world.preprocess()["used"] == 2


def test_without_processed_data_it_says_what_to_run(digits_world: World) -> None:
    (digits_world.processed / "test.safetensors").unlink()
    with pytest.raises(DataError, match=r"test.safetensors: missing; run `dvc repro`"):
        digits_world.pull()
