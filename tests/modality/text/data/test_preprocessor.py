from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.bpe import BpeTokeniser
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.instantiate import build
from flywheel.project.kind import PREPROCESSOR

TEXTS = ["a good film", "a bad, bad <br/> film", "good &amp; short", "a film of a film of a film"]


def frame(texts: list[Any], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"text": np.array([*texts, None], dtype=object)[:-1], **columns})


def fitted(**options: Any) -> TextPreprocessor:
    made = TextPreprocessor(options.pop("tokeniser", WordTokeniser()), **{"max_length": 6, **options})
    made.fit([frame(TEXTS[:1]), frame(TEXTS[1:])])
    return made


def test_it_is_built_from_nested_nodes() -> None:
    tokeniser = {"_target_": "flywheel.modality.text.data.tokeniser.word.WordTokeniser", "vocabulary_size": 5}
    node = {"_target_": "flywheel.modality.text.data.preprocessor.TextPreprocessor", "tokeniser": tokeniser,
            "cleaning": {"lowercase": True}}  # fmt: skip
    made = build(node, PREPROCESSOR, where="preprocess.inputs")
    assert (made.tokeniser.max_size, made.cleaning.lowercase) == (5, True)
    with pytest.raises(ConfigError, match="shout"):
        build({**node, "cleaning": {"shout": True}}, PREPROCESSOR, where="preprocess.inputs")


def test_transform_cleans_and_pads() -> None:
    made = fitted()
    tokens = made.transform(frame(["A  good\x00 film", "bad <b>weather</b>"]))["tokens"]
    assert tokens.dtype == np.int32
    words = ["[PAD]", "[UNK]", *made.tokeniser.words]  # type: ignore[attr-defined]
    shown = [[words[one] for one in row] for row in tokens]
    assert shown == [["a", "good", "film", *["[PAD]"] * 3], ["bad", "[UNK]", *["[PAD]"] * 4]]


def test_meta_says_what_a_network_must_know() -> None:
    meta = fitted().meta()
    assert meta["inputs"] == {"tokens": {"dtype": "int32", "shape": [6], "padding": 0}}
    words = ["a", "film", "bad", "good", "of", "&", ",", "short"]
    assert (meta["sequence_length"], meta["vocabulary_size"]) == (6, len(words) + 2)


def test_unusable_texts_are_dropped_with_a_reason() -> None:
    given = frame(["good", None, " \n", float("nan"), "<br>", 12, [1], "x"], label=list("abcdefgh"))
    given["error"] = [None] * 7 + ["is not utf-8 text (byte 3)"]
    given.index = pd.RangeIndex(10, 18)
    kept, dropped = fitted().clean(given)
    assert kept["text"].tolist() == ["good", "12"]
    assert kept["label"].tolist() == ["a", "f"]
    assert {one.row: one.why for one in dropped} == {
        11: "text is missing", 12: "text is empty", 13: "text is missing", 14: "text is empty",
        16: "is not text but a list", 17: "is not utf-8 text (byte 3)",
    }  # fmt: skip


def test_digests_and_nearness() -> None:
    made = fitted()
    kept, _ = made.clean(frame(["Good film!", "Good  film!", "RT @x: good film http://a.b", "other", "!", "?"]))
    same = made.digest(kept)
    assert (same[0] == same[1]).all()
    assert len(np.unique(same, axis=0)) == 5
    near = made.near(kept)
    assert near.dtype == np.uint64
    assert near[0] == near[1] == near[2]
    assert len(np.unique(near)) == 4, "texts of signs alone are near only where they are equal"
    more = made.digest(kept.assign(confidence=range(6)))
    np.testing.assert_array_equal(same, more), "other columns are not inputs"


def test_statistics_add_up_to_the_whole() -> None:
    made = fitted()
    texts = frame([*TEXTS, "an unheard word"])
    parts = [texts.iloc[:2], texts.iloc[2:]]
    whole = made.statistics(texts, made.transform(texts))
    pieces = [made.statistics(part, made.transform(part)) for part in parts]
    assert {key: pieces[0][key] + pieces[1][key] for key in whole} == whole
    assert made.describe(whole) == {
        "tokens": 3 + 5 + 3 + 8 + 3,
        "mean_length": 22 / 5,
        "unknown_rate": 3 / 20,
        "truncated": {"num_rows": 1, "share": 1 / 5},
        "lengths": {"2-3": 3, "4-7": 1, "8-15": 1},
    }
    assert made.facts() == {"vocabulary_size": made.tokeniser.vocabulary_size, "sequence_length": 6}


def test_a_tokeniser_without_unknown_words_has_a_rate_of_zero() -> None:
    made = fitted(tokeniser=BpeTokeniser(300))
    given = frame(["\u00e9\u00e9"])
    assert made.describe(made.statistics(given, made.transform(given)))["unknown_rate"] == 0


@pytest.mark.parametrize("tokeniser", [WordTokeniser(), BpeTokeniser(300)])
def test_json_round_trip_transforms_alike(tokeniser: Any) -> None:
    made = fitted(tokeniser=tokeniser, truncate="tail", cleaning={"lowercase": True}, column="text")
    state = json.loads(json.dumps(made.to_json()))
    again = TextPreprocessor.from_json(state)
    assert again.to_json() == state
    assert again.meta() == made.meta()
    given = frame(["A film of films, of A film", "x"])
    np.testing.assert_array_equal(again.transform(given)["tokens"], made.transform(given)["tokens"])


def test_preview_is_the_text_shortened() -> None:
    made = fitted(max_length=300)
    long = frame([" ".join(["film"] * 200)])
    assert made.preview(made.transform(frame(TEXTS)), 0).text == "a good film"
    text = made.preview(made.transform(long), 0).text
    assert text is not None
    assert len(text) == 400
    assert text.endswith("\u2026")
    assert made.words(frame(["@United  big up the PILOT!", "x" * 500])) == [
        "@United  big up the PILOT!",
        "x" * 399 + "…",
    ]


def test_requests_come_from_text_files_and_tables(tmp_path: Path) -> None:
    made = fitted()
    (tmp_path / "one.txt").write_text("a good\nfilm")
    frame(TEXTS[:2], label=["p", "n"]).to_csv(tmp_path / "two.csv", index=False)
    frame(TEXTS[2:]).to_json(tmp_path / "three.jsonl", orient="records", lines=True)
    requests = made.read_requests([tmp_path / name for name in ("one.txt", "two.csv", "three.jsonl")])
    assert requests["row"].tolist() == [0, 0, 1, 0, 1]
    expected = made.transform(frame([TEXTS[0], *TEXTS]))["tokens"]
    np.testing.assert_array_equal(made.transform(requests)["tokens"], expected)
    with pytest.raises(DataError, match="has no column 'text'"):
        made.transform(pd.DataFrame({"texts": ["a"]}))


def test_a_bad_request_is_named_by_its_file() -> None:
    with pytest.raises(DataError, match=r"a\.csv, row 7: text is empty"):
        fitted().transform(frame(["good", " "], file=["a.csv"] * 2, row=[6, 7]))
    assert fitted().schema()["properties"] == {"text": {"type": "string", "minLength": 1, "description": "a text"}}


def test_settings_that_cannot_be_are_refused() -> None:
    for options in ({"column": "label"}, {"max_length": 0}, {"truncate": "middle"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            TextPreprocessor(WordTokeniser(), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not a Tokeniser"):
        TextPreprocessor("word")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not a TextPreprocessor's"):
        TextPreprocessor.from_json({})
    other = {"_target_": "flywheel.modality.text.data.preprocessor.TextPreprocessor"}
    with pytest.raises(ConfigError, match=r"inputs\.tokeniser: '.*TextPreprocessor' is not .*Tokeniser;"):
        TextPreprocessor.from_json({**fitted().to_json(), "tokeniser": other})


def test_words_are_shared_with_nets_that_bring_their_own_vectors() -> None:
    made = TextPreprocessor(WordTokeniser(), share_vocabulary=True)
    made.fit([pd.DataFrame({"text": ["b a b"]})])
    assert made.meta()["vocabulary"] == ["", "[UNK]", "b", "a"]
    assert TextPreprocessor.from_json(made.to_json()).meta() == made.meta()
    with pytest.raises(ValueError, match="share_vocabulary needs a WordTokeniser"):
        TextPreprocessor(BpeTokeniser(), share_vocabulary=True)


def test_characters_are_the_first_bytes_in_lower_case() -> None:
    made = TextPreprocessor(WordTokeniser(), num_characters=6)
    made.fit([frame(["Ab\0c", "naïve text"])])
    characters = made.transform(frame(["Ab c", "naïve text"]))["characters"]
    assert characters.dtype == np.uint8
    assert [bytes(row) for row in characters] == [b"ab c\0\0", "naïve".encode()]
    assert made.meta()["inputs"]["characters"] == {"dtype": "uint8", "shape": [6], "padding": 0}
    assert TextPreprocessor.from_json(made.to_json()).meta() == made.meta()
    assert "characters" not in fitted().transform(frame(["a"]))
    with pytest.raises(ValueError, match="num_characters must be 0 or more"):
        TextPreprocessor(WordTokeniser(), num_characters=-1)


def test_a_version_from_before_there_were_characters_is_still_read() -> None:
    state = fitted().to_json()
    del state["num_characters"]
    assert TextPreprocessor.from_json(state).meta() == fitted().meta()
