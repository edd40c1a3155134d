"""Which corrections become rows of train: one word a client, a rule for conflicts, and caps against floods.

All rules are deterministic: the same words give the same rows, in whatever order they are looked at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flywheel.project.config_feedback import FeedbackConfig

Label = str | float


@dataclass(frozen=True)
class RowCandidate:
    """One usable word about one input.

    Attributes:
        feedback_id: The ID of the feedback.
        prediction_id: The ID of the prediction that holds the input.
        time_us: Time of the feedback, in microseconds.
        client: The client that sent it.
        label: The label, cleaned by the target.
        digest: The digest of the input, as the network sees it.
        group: The class or item; '' for numbers.
        many: Whether one input may have several right labels, as a user may choose several items.
    """

    feedback_id: str
    prediction_id: str
    time_us: int
    client: str
    label: Label
    digest: bytes
    group: str
    many: bool = False


Refused = Counter[str]
"""How many words each rule refused, by the rule's name."""


def choose(
    words: Iterable[RowCandidate], settings: FeedbackConfig, own: Mapping[str, int]
) -> tuple[list[RowCandidate], Refused]:
    """Apply all rules.

    Args:
        words: Feedback of any number of clients about any inputs.
        settings: The rules' settings.
        own: Rows of train that the data set itself has, by class or item.

    Returns:
        One word for each row, the earliest first, and what was refused and why.
    """
    refused = Refused()
    kept = _settle(_newest_of_each(words, refused), settings, refused)
    kept = _cap_clients(kept, settings, own, refused)
    kept = _cap_groups(kept, settings, own, refused)
    kept = _cap_all(kept, settings, sum(own.values()), refused)
    return sorted(kept, key=lambda word: (word.time_us, word.feedback_id)), refused


def _newest_of_each(words: Iterable[RowCandidate], refused: Refused) -> list[RowCandidate]:
    """A client has one word about an input, the last."""
    held: dict[Any, RowCandidate] = {}
    for word in words:
        key = (word.digest, word.client, word.label if word.many else None)
        refused["superseded"] += key in held
        held[key] = max(held.get(key, word), word, key=_age)
    return list(held.values())


def _settle(words: list[RowCandidate], settings: FeedbackConfig, refused: Refused) -> list[RowCandidate]:
    """Give each input one label, or none; the row is that of the client who gave the label first."""
    inputs: dict[Any, list[RowCandidate]] = defaultdict(list)
    for word in words:
        inputs[(word.digest, word.label if word.many else None)].append(word)
    kept = []
    for said in inputs.values():
        label = _agreed(said, settings)
        agreed = [word for word in said if word.label == label]
        refused["conflict" if not agreed else "outvoted"] += len(said) - len(agreed)
        if agreed:
            refused["duplicate"] += len(agreed) - 1
            kept.append(min(agreed, key=_age))
    return kept


def _agreed(said: list[RowCandidate], settings: FeedbackConfig) -> Label | None:
    """The label that the words about one input come to; None: they are in conflict."""
    votes = Counter(word.label for word in said)
    if len(votes) == 1:
        return said[0].label
    if settings.conflict == "newest":
        return max(said, key=_age).label
    if settings.conflict == "majority":
        label, number = votes.most_common(1)[0]
        return label if number >= settings.min_agreement * len(said) else None
    return None


def _cap_clients(
    words: list[RowCandidate], settings: FeedbackConfig, own: Mapping[str, int], refused: Refused
) -> list[RowCandidate]:
    """Keep of each client and class the newest rows, up to a share of what the class has in the data set."""
    ranked = _ranked(words, lambda word: (word.client, word.group))
    kept = [
        word for word, rank in ranked
        if word.client in settings.trusted_clients
        or rank < max(settings.min_client_rows, int(settings.max_client_share * own.get(word.group, 0)))
    ]  # fmt: skip
    refused["client_cap"] += len(words) - len(kept)
    return kept


def _cap_groups(
    words: list[RowCandidate], settings: FeedbackConfig, own: Mapping[str, int], refused: Refused
) -> list[RowCandidate]:
    """Keep of each class a share of what it has in the data set, in turn from all clients."""
    groups: dict[str, list[RowCandidate]] = defaultdict(list)
    for word in words:
        groups[word.group].append(word)
    kept = []
    for group, said in groups.items():
        limit = max(settings.min_client_rows, int(settings.max_class_share * own.get(group, 0)))
        kept += _in_turn(said)[:limit]
    refused["class_cap"] += len(words) - len(kept)
    return kept


def _cap_all(words: list[RowCandidate], settings: FeedbackConfig, num_own: int, refused: Refused) -> list[RowCandidate]:
    """Keep a share of all of train, in turn from all clients."""
    limit = int(settings.max_share / (1 - settings.max_share) * num_own)
    refused["share_cap"] += max(0, len(words) - limit)
    return _in_turn(words)[:limit]


def _in_turn(words: list[RowCandidate]) -> list[RowCandidate]:
    """Order words so that each client's newest comes before any client's second newest: a flood crowds nobody out."""
    ranked = _ranked(words, lambda word: word.client)
    return [word for word, _ in sorted(ranked, key=lambda pair: (pair[1], _newest_first(pair[0])))]


def _ranked(words: list[RowCandidate], key: Callable[[RowCandidate], Any]) -> list[tuple[RowCandidate, int]]:
    """Each word with its place among those of the same key, the newest at 0."""
    places: Counter[Any] = Counter()
    ranked = []
    for word in sorted(words, key=_newest_first):
        ranked.append((word, places[key(word)]))
        places[key(word)] += 1
    return ranked


def _age(word: RowCandidate) -> tuple[int, str]:
    return word.time_us, word.feedback_id


def _newest_first(word: RowCandidate) -> tuple[int, str]:
    return -word.time_us, word.feedback_id
