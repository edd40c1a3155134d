from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from flywheel.preprocessor.number_target import NumberTarget
from flywheel.project.errors import DataError

LABELS = pd.Series(["10", "20", "60"])


def fitted(**given: object) -> NumberTarget:
    made = NumberTarget(**given)  # type: ignore[arg-type]
    made.fit([LABELS])
    return made


def test_labels_are_stored_in_units_of_their_deviation() -> None:
    made = fitted()
    found = made.encode(LABELS)
    assert found.dtype == np.float32
    assert (found.mean(), found.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    meta = made.meta()
    assert meta["target"] == {"kind": "number", "dtype": "float32"}
    assert meta["num_outputs"] == 1
    assert found * meta["target_std"] + meta["target_mean"] == pytest.approx([10, 20, 60])
    assert made.decode(np.array([1.5, 2.0], np.float32)).to_dict("list") == {"label": [1.5, 2.0]}


def test_chunks_and_types_change_nothing() -> None:
    parts, numbers = NumberTarget(), NumberTarget()
    parts.fit([LABELS[:1], LABELS[1:]])
    numbers.fit([pd.Series([10.0, 20.0, 60.0])])
    assert parts.to_json() == numbers.to_json() == fitted().to_json()


def test_labels_as_they_are() -> None:
    made = NumberTarget(normalise="none")
    made.fit([pd.Series(["1"])])
    assert made.encode(pd.Series(["3.5"])).tolist() == [3.5]
    assert (made.meta()["target_mean"], made.meta()["target_std"]) == (0.0, 1.0)


def test_the_logarithm_can_be_learnt() -> None:
    made = fitted(log1p=True)
    meta = made.meta()
    back = np.expm1(made.encode(LABELS) * meta["target_std"] + meta["target_mean"])
    assert back == pytest.approx([10, 20, 60], rel=1e-5)
    assert meta["target_log1p"] is True
    assert made.clean(pd.Series(["-1"]))[1].tolist() == ["label -1 is below 0, and log1p is set"]


def test_bad_labels_have_their_reasons() -> None:
    labels = pd.Series([None, "", "abc", "inf", "1.5", "NaN"], index=[4, 5, 6, 7, 8, 9])
    values, reasons = NumberTarget().clean(labels)
    assert values.tolist() == pytest.approx([np.nan] * 4 + [1.5, np.nan], nan_ok=True)
    missing, odd = "label is missing", "label '{}' is not a finite number"
    assert reasons.tolist() == [missing, missing, odd.format("abc"), odd.format("inf"), None, missing]
    assert reasons.index.tolist() == labels.index.tolist()
    with pytest.raises(DataError, match="row 6: label 'abc'"):
        fitted().encode(labels[2:])


def test_json_gives_an_equal_target() -> None:
    made = fitted(thousands=".", decimal=",")
    again = NumberTarget.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    assert (again.encode(pd.Series(["1.010,5"])) == made.encode(pd.Series(["1.010,5"]))).all()
    with pytest.raises(DataError, match="its target is not a NumberTarget's"):
        NumberTarget.from_json({"normalise": "standard"})


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["5", "5"], "every label is 5, so there is nothing to learn"), ([], "holds no labels"), (["x"], "not numbers")],
)
def test_nothing_to_learn(labels: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        NumberTarget().fit([pd.Series(labels, dtype=object)])


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="normalise must be one of"):
        NumberTarget(normalise="minmax")
    with pytest.raises(DataError, match="not one number a row"):
        fitted().decode(np.zeros((2, 2)))


def test_labels_are_the_same_from_csv_and_json_whatever_their_sign() -> None:
    texts, numbers = pd.Series(["2,75", "1.000,5"]), pd.Series([2.75, 1000.5])
    made = NumberTarget(normalise="none", thousands=".", decimal=",")
    assert made.clean(texts)[0].tolist() == made.clean(numbers)[0].tolist() == [2.75, 1000.5]
    assert made.encode(made.clean(texts)[0]).tolist() == [2.75, 1000.5]
