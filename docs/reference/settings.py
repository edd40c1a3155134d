"""`docs/settings.md`: every key of a task, of a sweep, and of the server's, the monitor's and the loop's files."""

from __future__ import annotations

from docs.reference.markdown import code, page, table
from docs.reference.schema import Section, sections

from flywheel.project.config import TaskConfig

ABOUT = """Where a default is *required*, a file of `conf/` gives the value; the options that the groups bring with them
are in [groups.md](groups.md). Where the column *bounds* is empty, any value of the type is accepted; what must fit
another setting, such as a metric's name, is checked as well. `python -m flywheel.train` takes every key
of a task and of a sweep as it stands here, as `KEY=VALUE`."""


def settings_page() -> str:
    """The page."""
    from flywheel.monitor.settings import MonitorSettings
    from flywheel.monitor.steering import LoopSettings
    from flywheel.serving.settings import ServingSettings
    from flywheel.sweep.search.settings import SweepConfig

    parts = [ABOUT]
    for title, where, prefix, schema in (
        (
            "A task",
            "A file of `conf/task/`: an option of each group, and what differs from it.",
            "",
            TaskConfig,
        ),
        ("A sweep", "`sweep:` in `conf/train.yaml`, and the options of `conf/sweep/`.", "sweep", SweepConfig),
        ("The server", "`conf/serving.yaml`.", "", ServingSettings),
        ("The monitor", "`conf/monitor.yaml`.", "", MonitorSettings),
        ("The loop", "`conf/loop.yaml`.", "", LoopSettings),
    ):
        parts += [f"## {title}", where]
        for number, section in enumerate(sections(schema, prefix)):
            parts += [*([f"### {code(section.path)}"] if number else []), section.about, _keys(section)]
    return page("Settings", "the settings' dataclasses", parts)


def _keys(section: Section) -> str:
    rows = [
        (code(key.name), key.type, "*required*" if key.default == "required" else key.default, key.bounds, key.meaning)
        for key in section.keys
    ]
    return table(("key", "type", "default", "bounds", "meaning"), rows)
