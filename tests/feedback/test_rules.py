"""Conflicts are settled by a stated rule, and no flood decides a class: an attacker tries."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from flywheel.feedback.rules import RowCandidate, choose
from flywheel.project.config_feedback import FeedbackConfig

OWN = {"cat": 1000, "dog": 1000, "rare": 10}


def said(number: int, label: str = "cat", *, client: str = "ann", about: int | None = None, time: int | None = None,
         many: bool = False) -> RowCandidate:  # fmt: skip
    digest = str(number if about is None else about).encode()
    return RowCandidate(
        f"w{number}", f"p{number}", number if time is None else time, client, label, digest, label, many
    )


def test_a_client_has_one_word_about_an_input_the_last() -> None:
    words = [said(1, "cat", about=0), said(2, "dog", about=0), said(3, "cat", about=1)]
    kept, refused = choose(words, FeedbackConfig(), OWN)
    assert [word.feedback_id for word in kept] == ["w2", "w3"]
    assert refused["superseded"] == 1


def test_one_input_is_one_row_that_of_who_said_it_first() -> None:
    words = [said(number, client=f"c{number}", about=0) for number in range(5)]
    kept, refused = choose(words, FeedbackConfig(), OWN)
    assert [word.client for word in kept] == ["c0"]
    assert refused["duplicate"] == 4


@pytest.mark.parametrize(
    ("rule", "labels", "taken", "refused"),
    [
        ("majority", "cat dog dog", "dog", {"outvoted": 1, "duplicate": 1}),
        ("majority", "cat dog", None, {"conflict": 2}),
        ("majority", "cat dog dog cat rare", None, {"conflict": 5}),
        ("newest", "cat cat dog", "dog", {"outvoted": 2}),
        ("drop", "cat cat dog", None, {"conflict": 3}),
        ("drop", "cat cat", "cat", {"duplicate": 1}),
    ],
)
def test_conflicts(rule: str, labels: str, taken: str | None, refused: dict[str, int]) -> None:
    words = [said(n, label, client=f"c{n}", about=0) for n, label in enumerate(labels.split())]
    kept, counted = choose(words, FeedbackConfig(conflict=rule), OWN)
    assert [word.label for word in kept] == ([taken] if taken else [])
    assert {name: number for name, number in counted.items() if number} == refused


def test_agreement_is_a_share_of_the_clients() -> None:
    words = [said(n, "cat" if n < 3 else "dog", client=f"c{n}", about=0) for n in range(5)]
    assert len(choose(words, FeedbackConfig(min_agreement=0.6), OWN)[0]) == 1
    assert not choose(words, FeedbackConfig(min_agreement=0.7), OWN)[0]


def test_a_flood_of_one_client_about_one_input_is_one_vote() -> None:
    words = [said(n, "dog", client="mallory", about=0) for n in range(100)]
    words += [said(200 + n, "cat", client=f"c{n}", about=0) for n in range(2)]
    kept, refused = choose(words, FeedbackConfig(), OWN)
    assert [word.label for word in kept] == ["cat"]
    assert refused["superseded"] == 99


def test_a_flood_of_one_client_does_not_decide_a_class() -> None:
    flood = [said(n, "dog", client="mallory") for n in range(5000)]
    honest = [said(10_000 + n, "dog", client=f"c{n % 7}") for n in range(100)]
    kept, refused = choose([*flood, *honest], FeedbackConfig(), OWN)
    by_client = Counter(word.client for word in kept)
    assert by_client["mallory"] == 50, "0.05 of the 1,000 that the data set has"
    assert sum(by_client.values()) - 50 == 100, "nobody else is crowded out"
    assert refused["client_cap"] == 4950


def test_a_flood_of_many_names_takes_a_share_and_leaves_room_for_others() -> None:
    flood = [said(n, "dog", client=f"bot{n % 300}") for n in range(10_000)]
    honest = [said(20_000 + n, "dog", client="ann", time=-n) for n in range(3)]
    kept, refused = choose([*flood, *honest], FeedbackConfig(max_share=0.5), OWN)
    by_client = Counter(word.client for word in kept)
    assert len(kept) == 500, "max_class_share of the class"
    assert by_client["ann"] >= 1, "in turn from all clients, however old"
    assert max(by_client.values()) <= 2
    assert refused["class_cap"] > 0


def test_a_rare_class_takes_a_few_rows_of_one_client() -> None:
    words = [said(n, "rare") for n in range(100)]
    assert len(choose(words, FeedbackConfig(), OWN)[0]) == 20
    assert len(choose(words, FeedbackConfig(min_client_rows=3), OWN)[0]) == 3


def test_trusted_clients_are_held_by_the_other_caps_only() -> None:
    words = [said(n, "cat", client="billing") for n in range(800)]
    kept, refused = choose(words, FeedbackConfig(trusted_clients=["billing"]), OWN)
    assert len(kept) == 500, "max_class_share of the class"
    assert refused["client_cap"] == 0


def test_feedback_has_a_share_of_train_at_most() -> None:
    words = [said(n, ("cat", "dog")[n % 2], client=f"c{n}") for n in range(900)]
    kept, refused = choose(words, FeedbackConfig(max_share=0.1), OWN)
    assert len(kept) == int(2010 / 9)
    assert len(kept) / (len(kept) + 2010) <= 0.1
    assert refused["share_cap"] == 900 - len(kept)
    assert not choose(words, FeedbackConfig(max_share=0), OWN)[0]


def test_several_items_may_be_right_for_one_input() -> None:
    words = [said(n, label, about=0, many=True) for n, label in enumerate(("cat", "dog", "cat"))]
    kept, refused = choose(words, FeedbackConfig(), OWN)
    assert sorted(str(word.label) for word in kept) == ["cat", "dog"]
    assert refused["superseded"] == 1


def test_the_order_in_which_words_are_looked_at_changes_nothing() -> None:
    draw = random.Random(1)
    words = [said(n, draw.choice(("cat", "dog", "rare")), client=f"c{draw.randrange(9)}", about=draw.randrange(150),
                  time=draw.randrange(50)) for n in range(600)]  # fmt: skip
    settings = FeedbackConfig(min_client_rows=5, max_client_share=0.004, max_class_share=0.02, max_share=0.01)
    first = choose(words, settings, OWN)
    for _ in range(5):
        draw.shuffle(words)
        assert choose(words, settings, OWN) == first
    assert len(words) == len(first[0]) + sum(first[1].values()), "every word is a row or counted by one rule"
