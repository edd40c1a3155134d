"""Writes a new task into the project: all of it, or nothing."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from flywheel.learner.task_check import check_task
from flywheel.project.compose import PLOTS, write_params
from flywheel.project.errors import ConfigError, FlywheelError
from flywheel.project.whole import all_or_nothing, whole_file

MAX_NAME = 60
IGNORED_BY_DVC = (".flywheel", ".venv", ".git", ".dvc", "mlartifacts")
OUTPUTS = ("data/raw", "data/processed", "data/feedback", "artifacts")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_TASK_LINE = re.compile(r"^(?P<indent>\s*)- +task@tasks\.(?P<name>[\w-]+) *: +(?P<option>[^\s#]+)")


def check_name(name: str) -> None:
    """Refuse what cannot name a task: it becomes a folder, a key, a DVC stage and an MLflow model.

    Raises:
        ConfigError: It cannot.
    """
    fix = "begin with a letter, use letters, digits, _ and -"
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ConfigError(f"'{name}' cannot name a task", where="NAME", fix=f"{fix}, at most {MAX_NAME}")
    if not isinstance(yaml.safe_load(name), str):
        raise ConfigError(f"'{name}' is a YAML keyword", where="NAME", fix="take another name")


def check_free(root: Path, name: str, *, force: bool) -> None:
    """Refuse a name that is taken; with `force`, one whose data set other tasks use too.

    Raises:
        ConfigError: It is taken.
    """
    own, data = task_file(root, name), data_file(root, name)
    taken = [file for file in (own, data) if file.exists()]
    if taken and not force:
        where = taken[0].relative_to(root)
        raise ConfigError(f"the name '{name}' is taken", where=where, fix="take another, or replace it with --force")
    use = re.compile(rf"^\s*- +/?data: *{re.escape(name)}\s*$", re.MULTILINE)
    tasks = sorted((root / "conf/task").glob("*.yaml"))
    others = [file for file in tasks if file != own and use.search(file.read_text())]
    if others:
        what = f"the data set '{name}' is used by task '{others[0].stem}' too"
        raise ConfigError(what, where=data.relative_to(root), fix="take another name")


def place_of(root: Path, path: Path, name: str) -> str:
    """Where the data lie, as `conf/` says it: relative to the project if they are in it, else absolute.

    Raises:
        FlywheelError: The place is one that stages write to, or has a name that configuration cannot hold.
    """
    absolute = path if path.is_absolute() else Path.cwd() / path
    absolute = Path(*absolute.parts) if ".." not in absolute.parts else absolute.resolve()
    inside = absolute if absolute.is_relative_to(root) else absolute.resolve()
    if not inside.is_relative_to(root):
        place = absolute.as_posix()
    elif inside == root:
        raise FlywheelError("is the project itself", where=path, fix="name the file or folder that holds the data")
    else:
        place = inside.relative_to(root).as_posix()
        taken = (*IGNORED_BY_DVC, *OUTPUTS, *(f"{folder}/{name}" for folder in OUTPUTS))
        if place in taken or place.startswith(tuple(f"{folder}/" for folder in taken if folder not in OUTPUTS)):
            raise FlywheelError("lies where the stages or tools write", where=place, fix="move the data elsewhere")
        place = f"./{place}" if place.startswith("~") else place
    if "${" in place or "{file}" in place or "\n" in place:
        raise FlywheelError("this path means something else in conf/", where=place, fix="rename it")
    return place


def task_file(root: Path, name: str) -> Path:
    """`conf/task/<name>.yaml`."""
    return root / "conf/task" / f"{name}.yaml"


def data_file(root: Path, name: str) -> Path:
    """`conf/data/<name>.yaml`."""
    return root / "conf/data" / f"{name}.yaml"


def with_line(text: str, name: str) -> str:
    """`conf/config.yaml` with the task's line, after the last task, or in place of an adopted one's.

    Raises:
        ConfigError: There is no list of tasks to add it to.
    """
    lines = text.splitlines(keepends=True)
    found = [(place, match) for place, line in enumerate(lines) if (match := _TASK_LINE.match(line.rstrip("\n")))]
    if any(match["name"] == name for _, match in found):
        return with_option(text, name, name)
    if found:
        last, match = found[-1]
        place, indent = last + 1, match["indent"]
        lines[last] = lines[last].rstrip("\n") + "\n"
    else:
        first = next((number for number, line in enumerate(lines) if line.rstrip() == "defaults:"), None)
        if first is None:
            raise ConfigError("has no `defaults:`", where="conf/config.yaml", fix=f"add - task@tasks.{name}: {name}")
        beside = re.match(r"(\s*)- ", lines[first + 1]) if first + 1 < len(lines) else None
        place, indent = first + 1, beside[1] if beside else "  "
    return "".join([*lines[:place], f"{indent}- task@tasks.{name}: {name}\n", *lines[place:]])


def with_option(text: str, name: str, option: str) -> str:
    """`conf/config.yaml` with another file of `conf/task/` for a task; unchanged where the task has no line."""
    lines = text.splitlines(keepends=True)
    for place, line in enumerate(lines):
        match = _TASK_LINE.match(line)
        if match and match["name"] == name:
            lines[place] = line[: match.start("option")] + option + line[match.end("option") :]
    return "".join(lines)


def write_task(root: Path, name: str, task: str, data: str) -> None:
    """Write a task's two files, its line, its folder for feedback, and `params.yaml`; an error takes it all back.

    Raises:
        ConfigError: It does not compose.
    """
    config, feedback = root / "conf/config.yaml", root / "data/feedback" / name
    files = {data_file(root, name): data, task_file(root, name): task, config: with_line(config.read_text(), name)}
    with all_or_nothing([*files, root / "params.yaml", root / PLOTS, feedback / ".gitkeep"]):
        for file, text in files.items():
            with whole_file(file) as part:
                part.write_text(text, encoding="utf-8")
        write_params(root, check_task)
