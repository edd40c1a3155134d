"""The text of the two files that a guess becomes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from flywheel.init_task.guess import IGNORED, Guess, Node, counted
from flywheel.init_task.recipe import groups, settings, undecided

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./()+-]*[A-Za-z0-9_./()+-]|[A-Za-z_]")
_INTERPOLATION = re.compile(r"(\\*)\$\{")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"}
WIDTH = 110


def data_text(name: str, guess: Guess, place: str) -> str:
    """The text of `conf/data/<name>.yaml`.

    Args:
        name: The name of the task and its data set.
        guess: The guessed task.
        place: The place of the data, relative to the project or absolute.
    """
    title = Path(place).name
    node: Node = {
        "name": name,
        "title": title,
        "licence": "own",
        "download": {"sources": [{"uri": f"file:{place}"}]},
        "reader": {"read": guess.reader},
    }
    head = f"# {_line(title)}, as `flywheel init-task` found it. DVC watches the path: an edit re-runs the task.\n"
    return head + dumped(node)


def task_text(name: str, guess: Guess, place: str) -> str:
    """The text of `conf/task/<name>.yaml`; its comments say what was guessed."""
    lines = ["# @package _global_", f"# {_line(_summary(guess, place))}"]
    ignored = [note for note in guess.notes if note.what == IGNORED]
    lines += [f"# Left out: {_line(note.guess)} ({_line(note.why)})" for note in ignored]
    lines += [f"# {few[0].upper()}{few[1:]}." for few in [undecided(guess)] if few]
    lines += ["defaults:", f"  - /data: {name}"]
    lines += [f"  - /{group}: {option}" for group, option in groups(guess).items()]
    lines += ["  - _self_", "", f"name: {name}", "seed: 0", "fold: null"]
    return "\n".join(lines) + "\n" + dumped(settings(guess))


def dumped(node: Node) -> str:
    """YAML, in the order given; lists of plain values on one line; texts quoted that some YAML reads otherwise."""
    return yaml.dump(_literal(node), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)


def _literal(node: Any) -> Any:
    """The node with `${` in its values written so that Hydra takes it as it stands; keys it never looks into."""
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_literal(value) for value in node]
    return _INTERPOLATION.sub(r"\1\1\\${", node) if isinstance(node, str) else node


def _summary(guess: Guess, place: str) -> str:
    told = {note.what: note.guess for note in guess.notes}
    what = f"'{told['target']}', {told['kind']}," if "target" in told else told.get("kind", "items for users")
    return f"{Path(place).name}: {what} from {counted(guess.num_rows, 'row')}; made by `flywheel init-task`."


def _line(text: str) -> str:
    """One line, as a comment needs."""
    return " ".join(text.split())


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    flat = not any(isinstance(value, dict | list) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
