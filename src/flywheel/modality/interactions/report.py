"""The report on a recommender: did the item that a user took next stand near the top of the whole catalogue?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from flywheel.modality.interactions.data.target import best_items
from flywheel.modality.interactions.metrics import K, lists_of, measure_ranking, ranks_of
from flywheel.modality.interactions.pictures import (
    activity_picture,
    hit_rate_picture,
    popularity_picture,
    rank_picture,
)
from flywheel.modality.interactions.tables import activity_frame, hit_rate_frame, item_frame, popularity_frame
from flywheel.report.base import (
    Card,
    Evidence,
    Measured,
    MetricKind,
    Report,
    Section,
    Table,
    Verdict,
    verdict_against,
)
from flywheel.report.bootstrap import Array, Bootstrap
from flywheel.report.comparison import comparison_section

if TYPE_CHECKING:
    import pandas as pd

    from flywheel.report.baseline import BaselineData

KINDS = {
    "ndcg_10": MetricKind(
        "NDCG@10", "Gain of the wanted item by its place among the first 10; 1 is always first.", percent=False
    ),
    "hit_rate_10": MetricKind("Hit rate@10", "Share of users whose next item is among the first 10."),
    "mrr": MetricKind("MRR", "Mean of one over the wanted item's place in the whole ranking.", percent=False),
    "coverage_10": MetricKind("Coverage@10", "Share of the catalogue that is in some user's first 10."),
    "popularity_bias": MetricKind(
        "Popularity bias",
        "How popular the shown items are, as a multiple of those that users took; 1 is no bias.",
        higher_is_better=False,
        percent=False,
    ),
}
COMPARED = ("ndcg_10", "hit_rate_10", "mrr", "coverage_10", "popularity_bias")
SHOWN = 5  # recommended items named on a card


class RankingReport(Report):
    """What evaluate does for a recommender.

    The scores of all test rows are held whole: rows x items x 4 bytes (8 for a baseline's), and export stores them
    beside the ONNX file. 943 users and 1,678 items are 6 MB; for 100,000 items, `max_test_users: 1000` of the reader
    keeps that at 400 MB.

    Args:
        items: Identifiers, by column of the scores.
        item_counts: Number of occurrences of each item in train.
        item_titles: Titles of the items; the identifier where the title is not known.
    """

    kinds: ClassVar[dict[str, MetricKind]] = KINDS
    headline: ClassVar[str] = "ndcg_10"
    tiles: ClassVar[tuple[str, ...]] = ("ndcg_10", "hit_rate_10", "mrr", "coverage_10", "popularity_bias")

    def __init__(
        self, items: Sequence[str], item_counts: Sequence[int], item_titles: Sequence[str] | None = None
    ) -> None:
        self._items = [str(item) for item in items]
        self._counts = np.asarray(item_counts, dtype=np.int64)
        self._titles = [str(title) for title in (item_titles or self._items)]
        if not len(self._items) == len(self._counts) == len(self._titles):
            raise ValueError("items, item_counts and item_titles must be of one length")

    def measure(self, target: Array, scores: Array, bootstrap: Bootstrap) -> Measured:
        """NDCG@10, hit rate@10, MRR, coverage@10 and popularity bias; the hit rate at 1 to 50 as parts."""
        return measure_ranking(target, scores, bootstrap, self._counts.tolist())

    def trivial(self, data: BaselineData) -> tuple[str, str, Array, str]:
        """The most popular items of train that the user has not had."""
        counts = np.bincount(data.train.target, minlength=len(self._items)).astype(np.float64)
        scores = np.tile(counts + 1, (data.test.num_rows, 1))
        start = 0
        for batch in data.test.batches(1024):
            row, place = np.nonzero(batch["history"].numpy())
            scores[start + row, batch["history"].numpy()[row, place].astype(np.int64) - 1] = 0.0
            start += len(batch["history"])
        note = "Popularity shows everybody the items that are most frequent in train, without those of the history."
        return "popularity", "popularity", scores, note

    def verdict(self, evidence: Evidence) -> Verdict:
        """Hit rate in words, and by how much NDCG@10 differs from the best baseline's."""
        metrics = evidence.model.measured.metrics
        hit, gain = self.kinds["hit_rate_10"], self.kinds["ndcg_10"]
        between = hit.show_interval(metrics["hit_rate_10"])
        users = f"{evidence.num_rows:,} test {'user' if evidence.num_rows == 1 else 'users'}"
        start = (
            f"The next item is among the first 10 of {len(self._items):,} for {hit.show(metrics['hit_rate_10'].value)}"
        )
        start += f" of {users}" + (f" (95% interval {between})" if between else "")
        start += f"; NDCG@10 is {gain.show(metrics['ndcg_10'].value)}"
        return verdict_against(start, evidence, "ndcg_10", gain, lambda gap: f"{gap:.3f}", "users")

    def predictions(self, evidence: Evidence) -> dict[str, Array]:
        """Row, wanted item (column and identifier), its rank from 1, whether it is a hit, the list of ten."""
        from flywheel.reader.format.value import object_column

        names = np.array(self._items, dtype=object)
        ranks = ranks_of(evidence.target, evidence.scores)
        return {
            "row": evidence.rows,
            "target": evidence.target,
            "target_item": names[evidence.target],
            "rank": ranks + 1,
            "hit_10": ranks < K,
            "items": object_column(names[items].tolist() for items in lists_of(evidence.scores)),
        }

    def tables(self, evidence: Evidence) -> dict[str, pd.DataFrame]:
        """Hit rate by length of the list, quality by activity, popularity by tenth of the catalogue, and each item."""
        ranks = ranks_of(evidence.target, evidence.scores)
        lists = lists_of(evidence.scores)
        return {
            "hit_rate": hit_rate_frame(evidence),
            "activity": activity_frame(evidence.scores, ranks),
            "popularity": popularity_frame(evidence.target, lists, self._counts),
            "items": item_frame(evidence.target, ranks, lists, self._items, self._titles, self._counts),
        }

    def sections(self, evidence: Evidence) -> list[Section]:
        """Baselines, length of the list, ranks, activity, popularity, examples."""
        tables = self.tables(evidence)
        ranks = ranks_of(evidence.target, evidence.scores)
        return [
            comparison_section(evidence, self.kinds, COMPARED),
            Section(
                "How far down is the wanted item?",
                f"Half of the wanted items are among the first {int(np.median(ranks)) + 1:,} of {len(self._items):,}.",
                pictures=(hit_rate_picture(tables["hit_rate"], evidence), rank_picture(ranks, len(self._items))),
            ),
            Section(
                "Whom does it serve well?",
                "Users by how much they had before: as many items as the model ruled out.",
                pictures=(activity_picture(tables["activity"]),),
                table=_table(tables["activity"]),
            ),
            self._popularity(evidence, tables["popularity"]),
            self._mistakes(evidence, ranks),
        ]

    def method(self, evidence: Evidence) -> tuple[str, ...]:
        """The definitions and their limits."""
        return (
            "Each test row is a user's last interaction; all that came before is the history. The wanted item is ranked"
            f" among all {len(self._items):,} items of train, without those of the history: no sample of negatives,"
            " which would flatter (Krichene & Rendle 2020, KDD).",
            "A rank is the number of items with a higher score and half of those with the same; NDCG@10 is"
            " 1 / log2(place + 1) for a place up to 10, else 0. One item is wanted a user, so recall@10 is the hit"
            " rate, and whatever else the user might have liked counts as wrong.",
            "Coverage has no interval: resampled users are fewer different ones, who see fewer items. Popularity bias"
            " is the mean train count of the shown items over that of the wanted ones.",
            "Test items that occur in no train row cannot be recommended; they were left out, and profile.json counts"
            " them.",
        )

    def _popularity(self, evidence: Evidence, frame: pd.DataFrame) -> Section:
        share = evidence.model.measured.metrics["coverage_10"].value or 0.0
        top = frame.iloc[0]
        lead = (
            f"{top['shown']:.0%} of what it shows is from the most popular tenth of the catalogue, as is"
            f" {top['wanted']:.0%} of what users took. Some user is shown {share:.0%} of all items."
        )
        return Section("Does it only show blockbusters?", lead, pictures=(popularity_picture(frame),))

    def _mistakes(self, evidence: Evidence, ranks: Array) -> Section:
        """Misses, from near ones to far ones, evenly spread."""
        misses = np.flatnonzero(ranks >= K)
        order = misses[np.argsort(ranks[misses], kind="stable")]
        number = min(evidence.num_mistakes, len(order))
        chosen = order[np.linspace(0, len(order) - 1, number).round().astype(np.int64)].tolist() if number else []
        cards = tuple(
            Card(
                preview,
                title=self._titles[evidence.target[i]],
                detail=f"place {ranks[i] + 1:,.0f}",
                note="shown instead: "
                + "; ".join(self._titles[item] for item in best_items(evidence.scores[i], SHOWN).tolist())
                + f" · row {evidence.rows[i]}",
            )
            for i, preview in zip(chosen, evidence.previews(chosen), strict=True)
        )
        lead = (
            f"{len(cards)} of {len(misses):,} users whose next item was not among the first 10, from near misses to far"
            " ones: what they had, what they took, and what was shown."
            if cards
            else "None: every user's next item was among the first 10."
        )
        return Section("What does it miss?", lead, cards=cards)


def _table(frame: pd.DataFrame) -> Table:
    rows = [
        [str(row["history"]), f"{row['num_rows']:,}", f"{row['hit_rate_10']:.1%}", f"{row['ndcg_10']:.3f}"]
        for row in frame.to_dict("records")
    ]
    return Table(["Items in the history", "test users", f"hit rate@{K}", f"NDCG@{K}"], rows)
