from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from flywheel.command.predict import predict, table
from flywheel.project.errors import DataError, FlywheelError, RegistryError
from flywheel.project.instantiate import build
from flywheel.project.kind import READER
from flywheel.register import register


@pytest.fixture
def test_images(digits: Any) -> np.ndarray[Any, Any]:
    """The raw pictures of the test rows, in the order of the test set."""
    rows = load_file(digits.folder / digits.processed / "test.safetensors")["row"]
    reader = build(digits.task.data.reader.read, READER, where="read")
    frame = pd.concat(reader.read(digits.folder / digits.raw)["train"].chunks(1000))
    return np.stack(frame.loc[rows, "image"].tolist())


def read(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    return pd.read_csv(file) if file.suffix == ".csv" else pd.read_json(file, lines=True)


def test_raw_test_rows_are_answered_as_evaluate_answered_them(
    at_store: Path, digits: Any, test_images: np.ndarray[Any, Any]
) -> None:
    """No skew between training and use: raw files through `predict` give what the processed test set gave."""
    import torch

    from flywheel.model.network import load_network

    np.save("test.npy", test_images)
    predict("digits", [Path("test.npy")], output=Path("out.parquet"))
    answers = read(Path("out.parquet"))
    network = load_network(digits.folder / "good/model")
    stored = load_file(digits.folder / digits.processed / "test.safetensors")
    wanted = network.predict({"image": torch.from_numpy(stored["image"])}).numpy()
    got = answers[[f"probability_{n}" for n in range(10)]].to_numpy()
    assert answers["label"].tolist() == [str(n) for n in wanted.argmax(1)]
    assert np.abs(got - wanted).max() <= digits.task.export.max_difference
    exported = load_file(digits.folder / "good/export/scores.safetensors")["scores"]
    assert np.array_equal(got, exported)
    assert answers["row"].tolist() == list(range(len(wanted)))


def test_a_picture_of_another_format_is_refused_and_starts_no_program(
    at_store: Path, unpromised: bytes, called_gs: Callable[[], str]
) -> None:
    Path("a.png").write_bytes(unpromised)
    with pytest.raises(DataError, match=r"a\.png, row 0: is not a readable picture \(PNG, JPEG, BMP, GIF or"):
        predict("digits", [Path("a.png")])
    assert called_gs() == ""


def test_a_file_name_that_no_table_could_hold_is_refused(at_store: Path) -> None:
    Path("caf\udce9.npy").touch()
    with pytest.raises(DataError, match=r"the file name 'caf\\udce9.npy' is not UTF-8; rename it"):
        predict("digits", [Path("caf\udce9.npy")], output=Path("out.csv"))


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl", ".CSV"])
def test_each_kind_of_output_holds_the_answers_and_what_gave_them(
    at_store: Path, test_images: np.ndarray[Any, Any], ending: str
) -> None:
    Path("pictures").mkdir()
    for number, image in enumerate(test_images[:3]):
        Image.fromarray(image).save(f"pictures/{number}.png")
    np.save("more.npy", test_images[3:5])
    done = predict("digits", [Path("pictures"), Path("more.npy")], output=Path(f"out{ending}"))
    assert done.num_rows == 5
    answers = read(Path(f"out{ending}").rename(f"out{ending.lower()}"))
    assert list(answers.columns[:4]) == ["file", "row", "label", "probability"]
    assert answers["file"].tolist() == [*(f"pictures/{n}.png" for n in range(3)), "more.npy", "more.npy"]
    assert answers["row"].tolist() == [0, 0, 0, 0, 1]
    assert set(answers["version"]) == {"digits/1"}
    assert set(answers["model_sha256"]) == {done.model_sha256}
    assert answers["probability"].between(0.1, 1).all()


def test_small_batches_and_groups_change_nothing(
    at_store: Path, test_images: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number, image in enumerate(test_images[:5]):
        files.append(Path(f"{number}.png"))
        Image.fromarray(image).save(files[-1])
    np.save("many.npy", test_images)
    files.append(Path("many.npy"))
    predict("digits", files, output=Path("whole.csv"))
    monkeypatch.setattr("flywheel.command.predict.BATCH_ROWS", 7)
    monkeypatch.setattr("flywheel.command.predict.GROUP_FILES", 2)
    for name in ("parts.csv", "parts.parquet"):
        predict("digits", files, output=Path(name))
    assert Path("parts.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert len(read(Path("parts.parquet"))) == 5 + len(test_images)


def test_another_version_or_alias_can_answer(at_store: Path, test_images: np.ndarray[Any, Any]) -> None:
    np.save("one.npy", test_images[:1])
    files = [Path("one.npy")]
    assert predict("digits", files).version == "digits/1"
    assert predict("digits", files, alias="candidate").version == "digits/2"
    assert predict("digits", files, version="2").version == "digits/2"
    with pytest.raises(FlywheelError, match="give one of them"):
        predict("digits", files, version="2", alias="champion")
    with pytest.raises(RegistryError, match="no version 9"):
        predict("digits", files, version="9")
    with pytest.raises(RegistryError, match="did you mean 'digits'"):
        predict("digit", files)


def test_without_an_output_the_first_rows_are_shown(at_store: Path, test_images: np.ndarray[Any, Any]) -> None:
    from rich.console import Console

    np.save("test.npy", test_images)
    before = sorted(Path.cwd().iterdir())
    done = predict("digits", [Path("test.npy")])
    assert sorted(Path.cwd().iterdir()) == before
    assert (done.num_rows, len(done.head), done.output) == (len(test_images), 20, None)
    console = Console(width=100, record=True, file=None, quiet=True)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table(done))
    shown = capture.get()
    assert "359 rows, answered by digits/1" in shown
    assert "339 more" in shown
    assert "test.npy" in shown
    assert "probability_0" not in shown


def test_a_bad_file_is_named_and_nothing_is_written(at_store: Path, test_images: np.ndarray[Any, Any]) -> None:
    np.save("good.npy", test_images)
    Path("bad.png").write_bytes(b"no picture")
    Path("empty.npy").touch()
    np.save("large.npy", np.zeros((2, 9, 9), np.uint8))
    out = Path("out.csv")
    out.write_text("the last good answers")
    for files, words in (
        (["good.npy", "bad.png"], r"bad\.png, row 0: "),
        (["good.npy", "none.png"], r"none\.png: no such file"),
        (["empty.npy"], r"empty\.npy: "),
        (["good.npy", "large.npy"], r"large\.npy, row 0: is 9x9, not 8x8"),
        ([], "no files given"),
    ):
        with pytest.raises(DataError, match=words) as raised:
            predict("digits", [Path(file) for file in files], output=out)
        assert "\n" not in str(raised.value)
    assert out.read_text() == "the last good answers"
    assert not list(Path.cwd().glob(".out*"))


def test_an_output_of_unknown_kind_is_refused_before_any_work(project: Path) -> None:
    Path("one.npy").touch()
    with pytest.raises(FlywheelError, match=r"out\.xls: answers are not written as '\.xls'"):
        predict("digits", [Path("one.npy")], output=Path("out.xls"))


def test_a_rotten_model_is_not_used(
    project: Path, digits: Any, test_images: np.ndarray[Any, Any]
) -> None:  # fmt: skip
    digits.use("good", project)
    register(digits.task)
    np.save("one.npy", test_images[:1])
    (model,) = Path("mlartifacts").rglob("artifacts/model.onnx")
    model.write_bytes(b"rotten")
    with pytest.raises(RegistryError, match="missing or damaged"):
        predict("digits", [Path("one.npy")])


@pytest.mark.slow
def test_predictions_equal_those_that_the_evaluate_stage_stored(
    at_store: Path, digits: Any, test_images: np.ndarray[Any, Any]
) -> None:
    from dataclasses import replace

    from flywheel.evaluate import evaluate

    digits.use("good", Path.cwd())
    evaluate(replace(digits.task, evaluate=replace(digits.task.evaluate, num_bootstrap=10)))
    stored = pd.read_parquet("artifacts/digits/report/predictions.parquet")
    np.save("test.npy", test_images)
    predict("digits", [Path("test.npy")], output=Path("out.parquet"))
    answers = read(Path("out.parquet"))
    names = [f"probability_{n}" for n in range(10)]
    assert answers["label"].tolist() == stored["predicted_label"].tolist()
    assert np.abs(answers[names].to_numpy() - stored[names].to_numpy()).max() <= digits.task.export.max_difference


def test_answers_are_json_that_others_can_read(at_store: Path, test_images: np.ndarray[Any, Any]) -> None:
    np.save("some.npy", test_images[:2])
    predict("digits", [Path("some.npy")], output=Path("out.jsonl"))
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert sum(lines[0][f"probability_{n}"] for n in range(10)) == pytest.approx(1, abs=1e-5)
