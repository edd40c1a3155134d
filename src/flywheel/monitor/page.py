"""`report.html` of one check: one file that holds everything, in the form of the evaluation's page."""

from __future__ import annotations

from flywheel.monitor import pictures
from flywheel.monitor.check import Check
from flywheel.monitor.drift import Drift
from flywheel.monitor.quality import Figure, Quality
from flywheel.monitor.settings import MonitorSettings
from flywheel.report.base import Picture, Section, Table, Verdict
from flywheel.report.page import Against, Heading, Tile, render

MAX_PICTURES = 6


def render_check(check: Check, settings: MonitorSettings, title: str) -> str:
    """Make the page.

    Args:
        check: Result of the check.
        settings: Settings of the check.
        title: The title of the data set.
    """
    facts = {
        "version": f"{check.task}/{check.version}", "model_sha256": check.model_sha256, "first": check.since or "none",
        "last": check.until or "none",
    }  # fmt: skip
    heading = Heading(check.task, title, facts, "monitor", f"{check.num_rows} predictions in service")
    sections = [_drift(check.inputs, settings, "inputs"), _drift(check.answers, settings, "answers"),
                _quality(check.quality, settings)]  # fmt: skip
    return render(heading, verdict(check), _tiles(check), sections, method(check, settings))


def verdict(check: Check) -> Verdict:
    """Say in one sentence what was found."""
    if check.alarm:
        sentence = f"{'; '.join(check.reasons)}."
        return Verdict(sentence[0].upper() + sentence[1:], "Needs attention", "bad")
    if not (check.inputs.enough or check.answers.enough or check.quality.enough):
        return Verdict("Too few predictions to say anything.", "Not enough rows", "even")
    if not check.quality.enough:
        sentence = (
            "Nothing has drifted, as far as these rows tell; too few were judged to say whether quality has fallen."
        )
        return Verdict(sentence, "No drift", "good")
    return Verdict("Nothing has drifted, and quality has not fallen, as far as these rows tell.", "All is well", "good")


def method(check: Check, settings: MonitorSettings) -> list[str]:
    """How it was measured, limits included."""
    return [
        f"The latest {check.num_rows} predictions are compared with rows of the version's train and validation.",
        "Numbers are tested by the two-sample Kolmogorov-Smirnov test, categories by the chi-square test.",
        f"A trait has drifted if its p-value, after Holm's correction for all traits, is below {settings.alpha:g},"
        f" and if at least {settings.min_effect:.0%} of rows would have to change.",
        "The tests take rows to be independent: many requests of one client may look like drift.",
        f"Answers are those of version {check.version} alone. Answers in the reference are to validation rows.",
        f"Of {check.num_hidden} rows the input was not kept; only their answers are looked at.",
        "Quality is that of rows of which somebody said what is right. People may say so more often where a model is"
        " wrong; then the figure is too low, and outcomes of all rows, or of a random share, are to be preferred.",
    ]


def _tiles(check: Check) -> list[Tile]:
    found = [Tile("Predictions", f"{check.num_rows:,}", f"{check.num_hidden:,} without their input")]
    for words, drift in (("Inputs", check.inputs), ("Answers", check.answers)):
        value = f"{len(drift.drifted)} of {len(drift.shifts)}" if drift.enough else "too few"
        found.append(Tile(words, value, "traits have drifted" if drift.enough else f"{drift.num_rows} rows"))
    quality = check.quality
    if quality.live is not None:
        against = None
        if quality.difference is not None:
            apart = quality.difference
            against = Against(
                tone="bad" if quality.fallen else "even",
                text=f"{apart.value:+.3f} vs test set".replace("-", "−"),
                interval=f"({apart.low:+.3f} to {apart.high:+.3f})".replace("-", "−"),
            )
        live = quality.live
        lines = f"{live.low:.3f} to {live.high:.3f}, {live.num_rows} rows"
        found.append(Tile(quality.metric, f"{live.value:.3f}", lines, "in service", against))
    return found


def _drift(drift: Drift, settings: MonitorSettings, what: str) -> Section:
    title = f"Do the {what} look as they did?"
    if not drift.enough:
        lead = f"{drift.num_rows} rows are too few to say; {settings.min_rows} are needed."
        return Section(title, lead, is_open=False)
    shown: list[Picture] = [pictures.effects(drift, settings.min_effect, what)]
    for place, shift in enumerate(drift.shifts[:MAX_PICTURES]):
        shown.append(pictures.distribution(shift, f"{what}-{place}"))
    lead = f"{len(drift.drifted)} of {len(drift.shifts)} traits have drifted, as {drift.num_rows} rows tell."
    header = ["trait", "drifted", "share of rows", "p-value (Holm)", "PSI", "Jensen-Shannon", "Wasserstein (IQR)"]
    rows = [
        [
            shift.name, "yes" if shift.drifted else "no", f"{shift.distance.effect:.3f}", f"{shift.adjusted:.2g}",
            f"{shift.distance.psi:.3f}", f"{shift.distance.jensen_shannon:.3f}",
            "" if shift.distance.wasserstein is None else f"{shift.distance.wasserstein:.3f}",
        ]
        for shift in drift.shifts
    ]  # fmt: skip
    return Section(title, lead, pictures=tuple(shown), table=Table(header, rows))


def _quality(quality: Quality, settings: MonitorSettings) -> Section:
    title = "Are the answers still right?"
    if quality.live is None and not quality.by_version:
        return Section(title, "No right answers are known yet.", is_open=False)
    points = []
    if quality.live is not None:
        points.append(f"In service: {_shown(quality.live)}.")
    if quality.tested is not None:
        points.append(f"On the test set: {_shown(quality.tested)}.")
    if quality.difference is not None:
        points.append(f"Difference: {quality.difference.value:+.3f} ({quality.difference.low:+.3f} to"
                      f" {quality.difference.high:+.3f}).")  # fmt: skip
    if not quality.enough:
        points.append(f"Fewer than {settings.min_labelled} rows: too few to say that quality has fallen.")
    shown = (pictures.quality_over_time(quality),) if len(quality.over_time) > 1 else ()
    table = Table(["version", quality.metric, "low", "high", "rows"], [
        [one.name, f"{one.value:.4f}", f"{one.low:.4f}", f"{one.high:.4f}", str(one.num_rows)]
        for one in quality.by_version
    ])  # fmt: skip
    return Section(title, f"{quality.metric} of rows whose right answer is known.", tuple(points), shown, table=table)


def _shown(one: Figure) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f}) on {one.num_rows} rows"
