"""Tables of a recommender's report: by length of the list, activity of the users, popularity, and item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flywheel.modality.interactions.metrics import K, discounted_gain
from flywheel.report.base import Evidence
from flywheel.report.bootstrap import Array

if TYPE_CHECKING:
    import pandas as pd

NUM_GROUPS = 5
NUM_TENTHS = 10


def hit_rate_frame(evidence: Evidence) -> pd.DataFrame:
    """`hit_rate.csv`: a row for each length of the list; the model with its interval, and each baseline."""
    import pandas as pd

    hits = evidence.model.measured.parts["hit_rate"]
    columns: dict[str, object] = {
        "k": range(1, len(hits) + 1),
        "model": [hit.value for hit in hits],
        "low": [hit.low for hit in hits],
        "high": [hit.high for hit in hits],
    }
    for item in evidence.baselines:
        columns[item.name] = [hit.value for hit in item.measured.parts["hit_rate"]]
    return pd.DataFrame(columns)


def activity_frame(scores: Array, ranks: Array) -> pd.DataFrame:
    """`activity.csv`: users in five groups of about one size, by the number of items that were ruled out."""
    import pandas as pd

    had = (scores == 0).sum(axis=1)
    edges = np.unique(np.quantile(had, np.linspace(0, 1, NUM_GROUPS + 1), method="inverted_cdf"))
    group = np.searchsorted(edges[1:-1], had, side="right") if len(edges) > 2 else np.zeros(len(had), np.int64)
    rows = []
    for number in np.unique(group):
        held = group == number
        low, high = int(had[held].min()), int(had[held].max())
        gains, hits = discounted_gain(ranks[held]), ranks[held] < K
        rows.append(
            {
                "history": f"{low}-{high}" if low < high else str(low),
                "num_rows": int(held.sum()),
                "hit_rate_10": hits.mean(),
                "ndcg_10": gains.mean(),
                "standard_error": gains.std() / np.sqrt(len(gains)),
            }
        )
    return pd.DataFrame(rows)


def popularity_frame(target: Array, lists: Sequence[Array], counts: Array) -> pd.DataFrame:
    """`popularity.csv`: for each tenth of the catalogue, the most popular first, shares of train, wanted and shown."""
    import pandas as pd

    order = np.argsort(-counts, kind="stable")
    tenth = np.empty(len(counts), np.int64)
    tenth[order] = np.arange(len(counts)) * NUM_TENTHS // len(counts)
    shown = np.concatenate([*lists, np.empty(0, np.int64)]).astype(np.int64)

    def shares(weights: Array) -> Array:
        sums = np.bincount(tenth, weights=weights, minlength=NUM_TENTHS)
        found: Array = sums / max(1.0, sums.sum())
        return found

    return pd.DataFrame(
        {
            "tenth": range(1, NUM_TENTHS + 1),
            "num_items": np.bincount(tenth, minlength=NUM_TENTHS),
            "train": shares(counts.astype(np.float64)),
            "wanted": shares(np.bincount(target, minlength=len(counts)).astype(np.float64)),
            "shown": shares(np.bincount(shown, minlength=len(counts)).astype(np.float64)),
        }
    )


def item_frame(
    target: Array, ranks: Array, lists: Sequence[Array], items: Sequence[str], titles: Sequence[str], counts: Array
) -> pd.DataFrame:
    """`items.csv`: for each item how often it is in train, wanted, shown, and shown to who wanted it."""
    import pandas as pd

    shown = np.concatenate([*lists, np.empty(0, np.int64)]).astype(np.int64)
    return pd.DataFrame(
        {
            "item": items,
            "title": titles,
            "num_train": counts,
            "num_wanted": np.bincount(target, minlength=len(counts)),
            "num_shown": np.bincount(shown, minlength=len(counts)),
            "num_hits": np.bincount(target[ranks < K], minlength=len(counts)),
        }
    )
