from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flywheel.modality.interactions.data.reader import InteractionsReader
from flywheel.modality.interactions.data.table import identifiers
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.types import Splits

RECBOLE: dict[str, Any] = {
    "path": "watched.inter",
    "user_column": "user_id",
    "item_column": "item_id",
    "time_column": "timestamp",
}


def frames(splits: Splits, rows: int = 5) -> dict[str, pd.DataFrame]:
    return {name: pd.concat(split.chunks(rows)) for name, split in splits.items() if split.num_rows}


def read_csv(tmp_path: Path, text: str, **given: Any) -> dict[str, pd.DataFrame]:
    (tmp_path / "log.csv").write_text(text)
    return frames(InteractionsReader("log.csv", **{"min_user": 1, **given}).read(tmp_path))


@pytest.fixture
def watched(root: Path) -> Path:
    return root / "tests/fixtures/interactions"


def by_hand(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """Each user's (time, row, item) in time, by plain loops."""
    found: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for row, line in enumerate(path.read_text().splitlines()[1:]):
        user, item, _, time = line.split("\t")
        found[user].append((int(time), row, item))
    return {user: sorted(rows) for user, rows in found.items()}


def test_each_users_last_is_test_the_one_before_validation_and_histories_hold_all_that_was_earlier(
    watched: Path,
) -> None:
    splits = InteractionsReader(**RECBOLE).read(watched)
    read = frames(splits)
    seen = 0
    places = pd.concat(read.values()).set_index("row")["place"]
    for user, found_rows in by_hand(watched / "watched.inter").items():
        rows = sorted(found_rows, key=lambda one: (one[0], places[one[1]]))  # at one time, as it was drawn
        assert [places[row] for _, row, _ in rows] == list(range(len(rows)))
        items = [item for _, _, item in rows]
        for place, (_, row, item) in enumerate(rows):
            part = {1: "validation", 0: "test"}.get(len(rows) - 1 - place, "train")
            found = read[part][read[part]["row"] == row].iloc[0]
            assert (found["user"], found["label"]) == (user, item)
            assert found["history"] == items[:place]
            seen += 1
    assert seen == sum(split.num_rows for split in splits.values())


def test_no_train_row_knows_anything_later_and_no_held_out_row_is_in_train(watched: Path) -> None:
    read = frames(InteractionsReader(**RECBOLE).read(watched))
    last_train = read["train"].groupby("user")["time"].max()
    for part in ("validation", "test"):
        assert (read[part].set_index("user")["time"] >= last_train.reindex(read[part]["user"])).all()
    when = {(row["user"], row["label"]): (row["time"], row["place"]) for _, row in pd.concat(read.values()).iterrows()}
    for _, row in pd.concat(read.values()).iterrows():
        assert row["label"] not in row["history"]
        assert all(when[row["user"], item] < (row["time"], row["place"]) for item in row["history"])


def test_chunks_of_any_size_give_the_same_rows(watched: Path) -> None:
    splits = InteractionsReader(**RECBOLE).read(watched)
    for name, frame in frames(splits, 1000).items():
        pd.testing.assert_frame_equal(frame, frames(splits, 3)[name], check_dtype=False)
        assert frame.index.tolist() == list(range(splits[name].num_rows))


def test_held_out_items_that_train_never_saw_are_marked(watched: Path) -> None:
    test = frames(InteractionsReader(**RECBOLE).read(watched))["test"]
    bad = test[test["label"] == "10"]
    assert bad["error"].tolist() == ["its item occurs in no train row"]
    assert test.drop(bad.index)["error"].isna().all()


def test_titles_come_from_the_side_table(watched: Path) -> None:
    reader = InteractionsReader(
        **RECBOLE, items_path="films.item", items_id_column="item_id", items_title_column="movie_title"
    )
    train = frames(reader.read(watched))["train"]
    assert set(train[train["label"] == "3"]["title"]) == {'12" Discs'}


def test_ratings_below_the_limit_do_not_count(watched: Path) -> None:
    reader = InteractionsReader(**RECBOLE, rating_column="rating", min_rating=3, min_user=1)
    lines = (watched / "watched.inter").read_text().splitlines()[1:]
    wanted = {row for row, line in enumerate(lines) if int(line.split("\t")[2]) >= 3}
    assert set(pd.concat(frames(reader.read(watched)).values())["row"]) == wanted


def test_filtering_goes_on_until_every_user_and_item_has_enough(tmp_path: Path) -> None:
    # z has one item only; without z, item 9 has one user; without it, y has one item left; x and w stay.
    text = "user,item,time\nx,1,1\nx,2,2\nw,1,1\nw,2,2\ny,9,1\ny,1,2\nz,9,1\n"
    read = read_csv(tmp_path, text, min_user=2, min_item=2)
    assert set(pd.concat(read.values())["user"]) == {"x", "w"}


def test_what_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="flywheel"):
        read_csv(tmp_path, "user,item,time\nx,1,1\nx,2,2\nx,1,3\nx,3,4\ny,1,1\n", min_user=3)
    said = "2 interactions left out: 1 of an item that the user had had before; 1 of users with fewer than 3"
    assert said in caplog.text


def test_the_first_time_counts_where_a_user_has_an_item_again(tmp_path: Path) -> None:
    read = read_csv(tmp_path, "user,item,time\nx,1,3\nx,2,2\nx,1,1\nx,3,4\n")
    assert read["test"]["history"].tolist() == [["1", "2"]]


def test_of_interactions_at_one_time_the_seed_decides_and_not_the_file(tmp_path: Path) -> None:
    """Times are days, and the file is sorted by item: the last row of a user tells nothing."""
    lines = [f"u{user},i{item:02},2024-01-{10 + user % 2}" for item in range(20) for user in range(60) if user != item]

    def tested(rows: list[str], **given: Any) -> pd.DataFrame:
        read = read_csv(tmp_path, "\n".join(["user,item,time", *rows]), **given)
        both = [read[part].sort_values("user").reset_index(drop=True) for part in ("validation", "test")]
        return pd.concat(both)[["user", "label", "history", "tied", "place"]]

    found = tested(lines)
    assert found["tied"].all()
    assert found["label"].nunique() > 10, "not the last item of the file"
    for again in (lines[::-1], random.Random(0).sample(lines, len(lines))):
        pd.testing.assert_frame_equal(tested(again), found)
        users = [set(tested(rows, max_test_users=7)["user"]) for rows in (lines, again)]
        assert users[0] == users[1]
    assert (tested(lines, seed=1)["label"] != found["label"]).mean() > 0.5
    apart = read_csv(tmp_path, "user,item,time\nx,b,1\nx,a,2\nx,c,2\nx,d,3\n")
    assert not apart["test"]["tied"].any()
    assert apart["validation"]["tied"].all()


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (
            ("1700000000", "1700000100000", "1700000200"),
            r"seconds \(2 rows, row 0 first\) and milliseconds \(1 rows, ro",
        ),
        (("2023-11-14", "1700000100000", "1700000200000"), r"dates \(1 rows, row 0 first\) and milliseconds \(2 rows"),
        (("3", "2023-11-14", "5"), r"dates \(1 rows, row 1 first\) and numbers \(2 rows, row 0 first\)"),
    ],
)
def test_a_column_of_times_has_one_unit(tmp_path: Path, times: tuple[str, ...], said: str) -> None:
    rows = "".join(f"x,{item},{time}\n" for item, time in enumerate(times))
    with pytest.raises(DataError, match=rf"mixes times in {said}.*time_unit: ms"):
        read_csv(tmp_path, f"user,item,time\n{rows}")


def test_a_stated_unit_makes_dates_and_numbers_one(tmp_path: Path) -> None:
    text = "user,item,time\nx,1,1700000000000\nx,2,2023-11-14T22:13:19Z\nx,3,2023-11-14T22:13:21Z\n"
    read = read_csv(tmp_path, text, time_unit="ms")
    assert read["test"]["history"].tolist() == [["2", "1"]]
    assert read["validation"]["time"].tolist() == [1.7e9]
    with pytest.raises(ConfigError, match="time_unit 'm' is not known; use one of s, ms, us, ns"):
        InteractionsReader("log.csv", time_unit="m")


def test_milliseconds_become_seconds_as_feedback_has_them_and_counts_stay(tmp_path: Path) -> None:
    read = read_csv(tmp_path, "user,item,time\nx,1,1700000000000\nx,2,1700000001500\n")
    assert read["test"]["time"].tolist() == [1700000001.5]
    read = read_csv(tmp_path, "user,item,time\nx,1,7\nx,2,90000\n")
    assert read["test"]["time"].tolist() == [90000]


def test_unreadable_dates_are_named_as_the_reason(tmp_path: Path) -> None:
    rows = "".join(f"x,{item},{item + 1}. Mai 2024\n" for item in range(4))
    why = "row 0: no interaction is left: 4 of 4 rows cannot be used; here time '1. Mai 2024' is neither a number"
    with pytest.raises(DataError, match=why):
        read_csv(tmp_path, f"user,item,time\n{rows}")


def test_without_times_the_order_of_the_rows_is_the_order_in_time(tmp_path: Path) -> None:
    read = read_csv(tmp_path, "user,item\nx,5\nx,4\nx,3\n", time_column=None)
    assert read["test"]["history"].tolist() == [["5", "4"]]


def test_long_histories_keep_the_last_items(tmp_path: Path) -> None:
    text = "user,item,time\n" + "".join(f"x,{item},{item}\n" for item in range(8))
    assert read_csv(tmp_path, text, history_length=3)["test"]["history"].tolist() == [["4", "5", "6"]]


def test_dates_are_times(tmp_path: Path) -> None:
    text = "user,item,time\nx,1,2024-03-01T10:00:00\nx,2,2023-12-31\nx,3,2024-03-01T09:59:59\n"
    read = read_csv(tmp_path, text)
    assert read["test"]["label"].tolist() == ["1"]
    assert read["train"]["time"].tolist() == [1703980800.0]


def test_bad_rows_are_marked_with_their_reason(tmp_path: Path) -> None:
    read = read_csv(tmp_path, "user,item,time\nx,1,1\n,2,1\nx,,2\nx,3,soon\nx,4,4\nx,5,5\n")
    bad = read["train"][read["train"]["error"].notna()]
    why = ["user is missing", "item is missing", "time 'soon' is neither a number nor a date"]
    assert bad["error"].tolist() == why
    assert bad["row"].tolist() == [1, 2, 3]
    assert read["test"]["history"].tolist() == [["1", "4"]]


def test_test_users_are_drawn_by_the_seed(watched: Path) -> None:
    drawn = [
        set(frames(InteractionsReader(**RECBOLE, max_test_users=4, seed=seed).read(watched))["test"]["user"])
        for seed in (1, 1, 2)
    ]
    assert len(drawn[0]) == 4
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_every_format_gives_the_same_rows(tmp_path: Path, watched: Path, ending: str) -> None:
    frame = pd.read_csv(watched / "watched.inter", sep="\t")
    frame.columns = pd.Index(["user", "item", "rating", "time"])
    path = tmp_path / f"log.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    elif ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    wanted = frames(InteractionsReader(**RECBOLE).read(watched))
    for name, found in frames(InteractionsReader(path.name).read(tmp_path)).items():
        pd.testing.assert_frame_equal(found, wanted[name])


@pytest.mark.parametrize(
    ("given", "why"),
    [({"holdout": "random"}, "holdout"), ({"min_rating": 3.0}, "rating_column"), ({"min_user": 0}, "min_user 0")],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        InteractionsReader("log.csv", **given)


def test_a_missing_column_and_an_empty_rest_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'when'"):
        read_csv(tmp_path, "user,item,time\nx,1,1\n", time_column="when")
    with pytest.raises(DataError, match="no interaction is left"):
        read_csv(tmp_path, "user,item,time\nx,1,1\n", min_user=2)


def test_identifiers_are_the_same_whatever_the_format() -> None:
    assert identifiers([3, 3.0, " 3 ", "3", "3.0", "3.00"]) == ["3"] * 6
    assert identifiers(["3.5", "v3.0", "007.0", "3.", ".0", "", None]) == ["3.5", "v3.0", "007", "3.", ".0", None, None]
