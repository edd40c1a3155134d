from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix as expected

from flywheel.report.confusion import MAX_DRAWN, Confusion, confusion_matrix, confusion_picture, confusions, in_words


def test_matrix_agrees_with_scikit_learn(make_scores: Callable[..., Any]) -> None:
    target, scores = make_scores()
    predicted = scores.argmax(axis=1)
    assert (confusion_matrix(target, predicted, 5) == expected(target, predicted, labels=range(5))).all()


def test_confusions_name_the_most_frequent_mistake_of_each_class() -> None:
    matrix = np.array([[900, 3, 97], [0, 10, 0], [5, 4, 1]])
    found = confusions(matrix)
    assert found == [Confusion(0, 2, 97, 1000), Confusion(2, 0, 5, 10)]
    assert in_words(found, ["Shirt", "Bag", "T-shirt/top"]) == (
        "Shirt is most often taken for T-shirt/top: 97 of 1,000 (9.7%).",
        "T-shirt/top is most often taken for Shirt: 5 of 10 (50.0%).",
    )


def test_right_answers_only_are_no_confusion() -> None:
    matrix = np.diag([3, 4])
    assert confusions(matrix) == []
    assert confusion_picture(matrix, ["a", "b"]).alt.endswith("Every test row was answered right.")


def texts(matrix: np.ndarray, classes: list[str]) -> set[str]:
    axes = confusion_picture(matrix, classes).figure.axes[0]
    return {text.get_text() for text in axes.texts} | {label.get_text() for label in axes.get_xticklabels()}


def test_picture_holds_counts_shares_and_names() -> None:
    assert texts(np.array([[3, 1], [0, 1200]]), ["cat", "a name that is much too long"]) == {
        "3", "75%", "1", "1,200", "100%", "cat", "a name that is mu…",
    }  # fmt: skip


def test_class_without_test_rows_is_drawn_empty() -> None:
    assert "0%" not in texts(np.array([[3, 0], [0, 0]]), ["cat", "dog"])


def test_of_many_classes_those_with_mistakes_are_drawn() -> None:
    matrix = np.diag(np.full(MAX_DRAWN + 20, 10))
    matrix[55, 7] = 4
    picture = confusion_picture(matrix, [f"c{k}" for k in range(len(matrix))])
    axes = picture.figure.axes[0]
    names = {label.get_text() for label in axes.get_xticklabels()}
    assert len(names) == MAX_DRAWN
    assert {"c55", "c7"} <= names
    assert axes.get_title(loc="left") == f"The {MAX_DRAWN} classes with most mistakes, of {MAX_DRAWN + 20}"
