"""`docs/settings.md`: every key of a task, of a sweep, and of the server's, the monitor's and the loop's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import SimpleNamespace
from typing import Any, get_type_hints

from docs.reference.bounds import Asked, bounds
from docs.reference.markdown import code, page, table
from docs.reference.schema import Key, Section, sections

from flywheel.project.config import ExportConfig, SourceConfig, TaskConfig, VariantConfig

SOURCES, VARIANTS = "data.download.sources[]", "export.variants.<name>"
NAMES_OF_A_TASK = ("metric.monitor.name", "register.metric")
"""Settings whose words are another section's: which words a task accepts is the task's own matter."""
ABOUT = """Where a default is *required*, a file of `conf/` gives the value; the options that the groups bring with them
are in [groups.md](groups.md). *Bounds* are what the checks accept while all other settings have their defaults; where
the column is empty, any value of the type is accepted before the stage runs. `python -m flywheel.train` takes every key
of a task and of a sweep as it stands here, as `KEY=VALUE`."""


def settings_page() -> str:
    """The page."""
    from flywheel.monitor.settings import MonitorSettings
    from flywheel.monitor.steering import LoopSettings
    from flywheel.serving.settings import ServingSettings
    from flywheel.sweep.search.settings import SweepConfig

    parts = [ABOUT, "## A task", "A file of `conf/task/`, which picks an option of each group and says what differs."]
    parts += _task()
    for title, where, prefix, schema in (
        ("A sweep", "`sweep:` in `conf/train.yaml`, and the options of `conf/sweep/`.", "sweep", SweepConfig),
        ("The server", "`conf/serving.yaml`.", "", ServingSettings),
        ("The monitor", "`conf/monitor.yaml`.", "", MonitorSettings),
        ("The loop", "`conf/loop.yaml`.", "", LoopSettings),
    ):
        parts += [f"## {title}", where]
        asked = Asked(schema(), _sweep_checked if schema is SweepConfig else schema.checked)
        for number, section in enumerate(sections(schema, prefix)):
            shown = _keys(section, lambda key, asked=asked, prefix=prefix: _bounds(asked, key, prefix))
            parts += [section.about, shown] if number == 0 else _section(section, shown)
    return page("Settings", "the settings' dataclasses and their checks", parts)


def _task() -> Iterator[str]:
    task = Asked(_filled(TaskConfig), _check_task)
    task.settings.metric.monitor.name, task.settings.metric.monitor.mode = "loss", "min"
    task.settings.trainer.keep, task.settings.trainer.prune.method = "last", "magnitude"  # else its shares are not read
    source = Asked(SourceConfig("file:data"), _check_source)
    variant = Asked(VariantConfig({}), lambda one: _check_export(ExportConfig(variants={"own": one})))

    def bounds_of(key: Key) -> str:
        for prefix, asked in ((SOURCES, source), (VARIANTS, variant)):
            if key.name.startswith(prefix):
                return _bounds(asked, key, prefix)
        free = "<name>" in key.name or key.name.startswith("evaluate.published.") or key.name in NAMES_OF_A_TASK
        return "" if free else _bounds(task, key)

    for section in sections(TaskConfig):
        shown = _keys(section, bounds_of)
        yield from _section(section, shown) if section.path else (section.about, shown)


def _section(section: Section, shown: str) -> tuple[str, ...]:
    return (f"### {code(section.path)}", section.about, shown)


def _keys(section: Section, bounds_of: Callable[[Key], str]) -> str:
    def row(key: Key) -> tuple[str, ...]:
        allowed = "" if "section" in key.type or "`_target_`" in key.type else bounds_of(key)
        default = "*required*" if key.default == "required" else key.default
        return code(key.name), key.type, default, allowed, key.meaning

    return table(("key", "type", "default", "bounds", "meaning"), map(row, section.keys))


def _bounds(asked: Asked, key: Key, prefix: str = "") -> str:
    return bounds(asked, key.name.removeprefix(prefix).lstrip("."), takes_numbers="number" in key.type)


def _filled(schema: Any) -> Any:
    """A dataclass whose required keys have some value, to put one setting after the other into it."""
    hints = get_type_hints(schema)
    made: dict[str, Any] = {}
    for item in fields(schema):
        if item.default is MISSING and item.default_factory is MISSING:
            hint = hints[item.name]
            some = {str: "own", int: 1, float: 1.0}
            made[item.name] = _filled(hint) if is_dataclass(hint) else some[hint] if hint in some else _empty(hint)
    return schema(**made)


def _empty(hint: Any) -> Any:
    return hint.__origin__()


def _check_task(task: TaskConfig) -> None:
    """All checks that need nothing but the settings."""
    from flywheel.feedback.settings import check_settings as check_feedback
    from flywheel.learner.settings import check_values
    from flywheel.preprocessor.pipeline.run import check_settings, engine_for
    from flywheel.registry.gate import check_rules

    check_values(task)
    check_settings(task.preprocess, "preprocess")
    if task.preprocess.engine != "ray":
        engine_for(task.preprocess, SimpleNamespace(), {})  # type: ignore[arg-type]
    check_feedback(task.feedback, "feedback")
    _check_export(task.export)
    report: Any = SimpleNamespace(kinds={task.register.metric: SimpleNamespace(higher_is_better=True)})
    check_rules(task.register, report)


def _check_export(export: ExportConfig) -> None:
    from flywheel.registry.variant.choice import check

    check(export)


def _check_source(source: SourceConfig) -> None:
    from flywheel.project.config import DataConfig, DownloadConfig, ReaderConfig
    from flywheel.source.check import check_download

    check_download(DataConfig("own", "", "", DownloadConfig([source]), ReaderConfig("own", {})))


def _sweep_checked(settings: Any) -> None:
    from dataclasses import asdict

    from flywheel.sweep.search.settings import sweep_from

    sweep_from(asdict(settings))
