"""The groups of `conf/` as `python -m flywheel.train --help` lists them, with published systems apart from other tasks.

Hydra's own list ($APP_CONFIG_GROUPS) has all options of a group in one line.
"""

from __future__ import annotations

from pathlib import Path

PUBLISHED = "ref_"
"""What the names of tasks begin with that rebuild a published system."""


def group_list(conf: Path) -> str:
    """A line for each group; a second one for the tasks that rebuild a published system.

    Args:
        conf: The project's `conf/`.
    """
    folders = {file.parent for file in conf.rglob("*.yaml")} - {conf}
    groups = {folder.relative_to(conf).as_posix(): sorted(file.stem for file in folder.glob("*.yaml"))
              for folder in folders}  # fmt: skip
    published = [name for name in groups["task"] if name.startswith(PUBLISHED)]
    groups["task"] = [name for name in groups["task"] if name not in published]
    lines = [f"{group}: {', '.join(groups[group])}" for group in sorted(groups) if not group.startswith("hydra/")]
    if published:
        lines.insert(1 + [line.startswith("task: ") for line in lines].index(True),
                     f"task, published systems: {', '.join(published)}")  # fmt: skip
    return "\n".join(lines)
