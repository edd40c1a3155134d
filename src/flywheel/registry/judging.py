"""Lets the gate judge a registered candidate: finds its rivals in the registry, and moves the alias or leaves it.

What is known of earlier models is read from their versions: the decision in a version's tags says what it measured on
which test set, and its evidence holds its scores. So a fresh clone that shares the MLflow store knows as much, and a
rollback or a change of the test set needs no record of its own.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.project.config import RegisterConfig
from flywheel.project.errors import FlywheelError
from flywheel.project.types import Json, Splits
from flywheel.registry import aliases, evidence, gate, versions
from flywheel.registry import log as registry_log
from flywheel.registry.decision import Candidate, Champion, Decision
from flywheel.registry.log import Event
from flywheel.registry.places import Places
from flywheel.registry.versions import Version, decision_of
from flywheel.report.base import Report

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("flywheel")


@dataclass(frozen=True)
class Judging:
    """A candidate before the gate.

    Attributes:
        client: The client of the registry.
        rules: Rules of the task.
        report: Report that measures scores.
        candidate: Facts of the candidate.
        version: Version that it is registered as.
        places: Places of its files.
        splits: The raw data, read: earlier models may have to be scored anew.
    """

    client: MlflowClient
    rules: RegisterConfig
    report: Report
    candidate: Candidate
    version: Version
    places: Places
    splits: Splits

    def decide(self) -> Decision:
        """Judge the candidate, record the decision, and move the alias or not; the caller holds `aliases.locked`.

        A decision that was made by the same rules and the same test set stands: registering again changes nothing.
        """
        known = versions.versions_of(self.client, self.version.task)
        events = registry_log.read(self.version.task, [line for one in known for line in one.events])
        champion = versions.by_alias(self.client, self.version.task, versions.CHAMPION)
        stored = decision_of(self.version)
        if champion is not None and champion.number == self.version.number:
            return gate.standing(self.rules, self.report, self.candidate, stored)
        if champion is not None and (earlier := self._earlier(stored, known, events)) is not None:
            log.info("register: %s has been judged before; the champion stays %s", self.version, champion)
            return earlier
        decision = self._judge(champion, known, events)
        text = json.dumps(decision.to_json())
        self.client.set_model_version_tag(self.version.task, str(self.version.number), versions.DECISION_TAG, text)
        if decision.promoted:
            aliases.promote(self.client, self.version, decision.why)
        else:
            aliases.refuse(self.client, self.version, champion, decision.why)
        return decision

    def _earlier(self, stored: Json | None, known: list[Version], events: list[Event]) -> Decision | None:
        """The decision of before, where nothing that it rests on has changed; None: judge.

        A model that was taken out of service is no measure any longer, so what was refused beside it is judged again.
        """
        found = gate.holds(self.rules, self.report, self.candidate, stored)
        if found is None or registry_log.was_rolled_back(events, self.version.number):
            return None
        if found.promoted:
            return found
        gone = {one.model_sha256 for one in known if registry_log.was_rolled_back(events, one.number)}
        return found if found.difference is not None and not gone & {found.champion, found.best} else None

    def _judge(self, champion: Version | None, known: list[Version], events: list[Event]) -> Decision:
        if self.candidate.is_trial:
            why = "Refused: trainer.fast_dev_run made it, which only tries every step on a few batches."
            return gate.refused(self.rules, self.report, self.candidate, why)
        if registry_log.was_rolled_back(events, self.version.number):
            # Else the next `dvc repro` would undo what a person did.
            why = (
                "Refused: these weights were champion and a person rolled them back;"
                f" `flywheel registry promote {self.version.task} candidate` brings them back."
            )
            return gate.refused(self.rules, self.report, self.candidate, why)
        if champion is None:
            return gate.decide(self.rules, self.report, self.candidate, None)
        try:
            rival = self._scored(champion)
        except FlywheelError as error:
            why = (
                f"Refused: the champion cannot be scored on the present test rows ({error.what}), so there is no"
                f" comparing; `flywheel registry promote {self.version.task} candidate` promotes regardless."
            )
            return gate.refused(self.rules, self.report, self.candidate, why)
        return gate.decide(self.rules, self.report, self.candidate, rival, self._best(champion, known, events))

    def _best(self, champion: Version, known: list[Version], events: list[Event]) -> Champion | None:
        """The best champion so far, scored on the present test rows; None where it is the champion, or is gone."""
        sign = 1 if self.rules.mode == "max" else -1
        measures = registry_log.measures(events)
        reigned = {one.number: one for one in known if one.number in measures and one.number != champion.number}
        told = decision_of(champion) or {}
        own = self._value(told)
        values = {number: self._value(decision_of(one)) for number, one in reigned.items()}
        scores = {number: sign * value for number, value in values.items() if value is not None}
        for number, one in reigned.items():
            if one.model_sha256 == told.get("best") and number not in scores:
                # It was the measure when the champion was promoted, on this test set, or else on one before.
                scores[number] = math.inf if own is None else sign * told["best_value"]
        for number in sorted(scores, key=lambda number: scores[number], reverse=True):
            if own is not None and scores[number] <= sign * own:
                return None
            try:
                return self._scored(reigned[number])
            except FlywheelError as error:
                log.warning("register: %s was a better champion, but cannot be scored: %s", reigned[number], error)
        return None

    def _value(self, decision: Json | None) -> float | None:
        """What a decision measured of its candidate, by today's metric on the present test set; None: nothing."""
        today = {"test_sha256": self.candidate.test_sha256, "metric": self.rules.metric}
        if not decision or any(decision[key] != value for key, value in today.items()):
            return None
        value: float | None = decision["candidate_value"]
        return value

    def _scored(self, version: Version) -> Champion:
        """A version's scores on the candidate's test rows: the stored ones, or new ones where the rows have changed."""
        ours = evidence.read_scores(self.places.scores, self.places.processed / evidence.META)
        folder = versions.files_of(self.client, version)
        theirs = evidence.stored_scores(folder)
        rescored = not theirs.fits(ours)
        if rescored:
            log.info("register: the test set has changed since %s was registered; scoring it anew", version)
            theirs = evidence.rescored(folder, version.sums, self.splits, ours)
        trained_on = version.tags.get(versions.TRAIN_TAG, "")
        return Champion(version.model_sha256, theirs.scores, rescored, version.variant, trained_on)
