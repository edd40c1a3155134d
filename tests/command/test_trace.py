from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.command.predict import predict
from flywheel.command.trace import lines, trace
from flywheel.project.digest import sha256_of
from flywheel.project.errors import RegistryError
from flywheel.project.tracking import prepare, start_run
from flywheel.register import register


@pytest.fixture
def traced(at_store: Path, digits: Any) -> str:
    """The champion's model sha256."""
    return sha256_of(digits.folder / "good/model/model.safetensors")


def test_a_version_leads_to_run_commit_data_and_source(traced: str) -> None:
    (found,) = trace("digits/1")
    for reference in ("digits/v1", "digits@champion", "models:/digits/1", "models:/digits@champion"):
        assert trace(reference) == [found]
    assert found["version"] == "digits/1"
    assert found["aliases"] == ["champion"]
    assert found["model_sha256"] == traced
    assert found["source_uri"] == "bundled:sklearn/digits.csv.gz"
    assert found["git_commit"] == "none"  # the temporary project is not in git
    assert found["dvc.lock"] == {"data/processed/digits": "0123.dir"}
    assert len(found["test_sha256"]) == 64
    told = "\n".join(lines(found))
    for words in ("digits/1", traced, "bundled:sklearn", "data/processed/digits  0123.dir", "champion"):
        assert words in told


def test_run_digest_and_prediction_file_lead_to_the_version(traced: str) -> None:
    run_id = trace("digits/1")[0]["run"]
    np.save("one.npy", np.zeros((1, 8, 8), np.uint8))
    outputs = [Path(f"out{ending}") for ending in (".csv", ".parquet", ".jsonl")]
    for output in outputs:
        predict("digits", [Path("one.npy")], output=output)
    for reference in (run_id, traced, *map(str, outputs)):
        assert trace(reference) == trace("digits/1")


def test_a_run_that_never_became_a_version_tells_what_it_knows(project: Path) -> None:
    tags = {"mlflow.source.git.commit": "c0ffee", "git.dirty": "True", "dvc.data/processed/digits": "4567.dir",
            "model_sha256": "e" * 64}  # fmt: skip
    run = start_run("digits", name="try", resume_key="k", resume=False, tags=tags)
    run.log_data("digits", "d" * 36, {"uri": "https://example.org/digits"}, "training")
    run.end()
    (found,) = trace(run.run_id)
    assert found["git_commit"] == "c0ffee"
    assert found["git_dirty"] == "true"
    assert found["run_name"] == "try"
    assert found["source_uri"] == "https://example.org/digits"
    assert found["training data"] == f"digits {'d' * 36}"
    assert found["dvc.lock"] == {"data/processed/digits": "4567.dir"}
    assert trace("e" * 64) == [found]
    assert f"{'git_commit':20} c0ffee" in lines(found)


def test_a_version_whose_run_was_deleted_still_tells_its_lineage(project: Path, digits: Any) -> None:
    import sqlite3
    from contextlib import closing

    digits.use("good", project)
    register(digits.task)
    client = prepare()
    run_id = trace("digits/1")[0]["run"]
    client.delete_run(run_id)
    assert trace("digits/1")[0]["run"] == run_id  # deleted runs can be restored, and are still there
    with closing(sqlite3.connect("mlflow.db")) as store:
        store.execute("update model_versions set run_id = ?", ("0" * 32,))
        store.commit()
    (found,) = trace("digits/1")
    assert "no longer in the store" in found["run"]
    assert found["source_uri"] == "bundled:sklearn/digits.csv.gz"


UNKNOWN = {
    "digits/9": "no version 9",
    "digits@nobody": "no version has the alias 'nobody'",
    "nothing/1": "no registered model",
    "0" * 32: "no such run",
    "0" * 64: "no version and no run has the weights",
    "none.csv": "no such file",
    "wrong.csv": "has no column 'model_sha256'",
    "wrong.jsonl": "has no column 'model_sha256'",
    "wrong.parquet": "has no column 'model_sha256'",
    "empty.csv": "does not name a model",
    "what?": "is not a model, a run or a prediction file",
}


def test_what_is_not_known_is_one_line(traced: str) -> None:
    Path("wrong.csv").write_text("a,b\n1,2\n")
    Path("wrong.jsonl").write_text("{}\n")
    Path("wrong.parquet").write_bytes(b"no parquet")
    Path("empty.csv").write_text("model_sha256\n")
    for reference, words in UNKNOWN.items():
        with pytest.raises(RegistryError, match=words) as raised:
            trace(reference)
        assert "\n" not in str(raised.value)


def test_a_file_of_two_models_leads_to_both(traced: str) -> None:
    other = trace("digits/2")[0]["model_sha256"]
    Path("both.csv").write_text("\n".join(["model_sha256", traced, traced, other, ""]))
    assert [found["version"] for found in trace("both.csv")] == ["digits/1", "digits/2"]
