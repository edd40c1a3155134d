"""A tokeniser out of a `tokenizer.json` made here: BERT's kind, with a dozen pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.modality.text.data.tokeniser.pretrained import PretrainedTokeniser
from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError, DataError, SourceError

PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "good", "film", "##s", "un", "##seen", "!", "a"]


def tokenizer_json(pieces: list[str], *, padding: str = "[PAD]") -> dict[str, Any]:
    """BERT's normaliser, pre-tokeniser, WordPiece and [CLS] ... [SEP], with settings for a fixed 4 tokens."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    ids = {piece: number for number, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.add_special_tokens([padding, "[UNK]", "[CLS]", "[SEP]"])
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    made.decoder = decoders.WordPiece()
    made.enable_truncation(4)
    made.enable_padding(length=4)
    state: dict[str, Any] = json.loads(made.to_str())
    return state


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    monkeypatch.delenv("FLYWHEEL_MIRROR", raising=False)


def unfitted(path: Path, content: str) -> PretrainedTokeniser:
    path.write_text(content)
    return PretrainedTokeniser(f"file:{path}", sha256_of(path))


@pytest.fixture
def fitted(tmp_path: Path) -> PretrainedTokeniser:
    made = unfitted(tmp_path / "tokenizer.json", json.dumps(tokenizer_json(PIECES)))
    made.fit(iter([]))
    return made


def test_ids_are_the_model_s_own_with_its_marks_round_them(fitted: PretrainedTokeniser) -> None:
    ids = fitted.encode(["Good  films!", "unseen zebra", ""], 8)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[3, 5, 6, 7, 10, 4, 0, 0], [3, 8, 9, 2, 4, 0, 0, 0], [3, 4, 0, 0, 0, 0, 0, 0]]
    assert (fitted.vocabulary_size, fitted.unknown_id) == (12, 2)
    assert (fitted.first_ids, fitted.last_ids) == ((3,), (4,))
    assert fitted.vocabulary == PIECES


def test_long_texts_are_cut_and_keep_their_marks(fitted: PretrainedTokeniser) -> None:
    assert fitted.encode(["a good film a good film"], 5).tolist() == [[3, 11, 5, 6, 4]]
    assert fitted.encode(["a good film a good un"], 4, "tail").tolist() == [[3, 5, 8, 4]]
    assert fitted.tokenise(["a good film a good film"]).lengths.tolist() == [6]  # the file's own truncation is off


def test_ids_read_as_text(fitted: PretrainedTokeniser) -> None:
    assert fitted.decode(fitted.encode(["Good films!"], 9)[0].tolist()) == "good films!"
    assert fitted.decode(fitted.encode(["zebra"], 9)[0].tolist()) == "[UNK]"


def test_what_it_knows_is_in_its_json_and_nothing_is_fetched_again(fitted: PretrainedTokeniser, tmp_path: Path) -> None:
    text = json.dumps(fitted.to_json(), sort_keys=True)
    (tmp_path / "tokenizer.json").unlink()
    for file in (tmp_path / "home").rglob("*"):
        file.unlink() if file.is_file() else None
    rebuilt = PretrainedTokeniser.from_json(json.loads(text))
    assert json.dumps(rebuilt.to_json(), sort_keys=True) == text
    texts = ["Good films!", "unseen zebra"]
    assert rebuilt.encode(texts, 8).tolist() == fitted.encode(texts, 8).tolist()
    with pytest.raises(SourceError, match="no source gave it"):
        PretrainedTokeniser(fitted.uri, fitted.sha256).fit([])


@pytest.mark.parametrize(("content", "words"), [
    ("no JSON", "cannot be used"),
    ("[1]", "has no model.vocab"),
    (json.dumps({"model": {"type": "WordPiece"}}), "has no model.vocab"),
])  # fmt: skip
def test_another_file_is_refused(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        unfitted(tmp_path / "other.json", content).fit([])
    assert "\n" not in str(raised.value)


def test_a_vocabulary_whose_id_0_is_a_word_is_refused(tmp_path: Path) -> None:
    pieces = ["good", "[PAD]", *PIECES[2:5], "film"]
    made = unfitted(tmp_path / "tokenizer.json", json.dumps(tokenizer_json(pieces)))
    with pytest.raises(ConfigError, match="its id 0 is 'good', which is not padding"):
        made.fit([])


def test_used_before_it_is_fitted_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has not been loaded"):
        unfitted(tmp_path / "t", "{}").encode(["a"], 4)
