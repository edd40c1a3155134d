"""Edits of a task's YAML that leave every other byte of it as it was: comments, order, quoting, blank lines.

The text is spliced at the places that YAML's parser names. A round trip through ruamel.yaml would write `fold: null` as
`fold:`, and a new last key of a section below the comment that heads the next one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from flywheel.project.errors import ConfigError

Entry = tuple[ScalarNode, Node]


def with_value(text: str, path: Sequence[str], value: Any, literal: str | None = None) -> str:
    """Set one key, adding it and the sections round it where they are missing.

    Args:
        text: Of the file.
        path: The key's parts.
        value: Plain data.
        literal: The value as it was typed (`3e-3`), written so if YAML reads it as the same.

    Raises:
        ConfigError: The key cannot be set there.
    """
    found, mapping = _walk(text, path)
    if len(found) == len(path):
        return _replaced(text, found[-1], rendered(value, literal))
    rest = path[len(found) :]
    if mapping is None:  # a value, such as null, where the section is to be
        return _replaced(text, found[-1], _flow(_nested(rest, value)))
    return _added(text, mapping, rest, value, literal)


def without(text: str, path: Sequence[str]) -> str:
    """Take one key out, and with it the sections that it leaves empty.

    Raises:
        ConfigError: The file does not set it, or in a mapping on one line.
    """
    found, _ = _walk(text, path)
    if len(found) < len(path):
        raise ConfigError(f"'{'.'.join(path)}' is not set there", fix="take it out of conf/ by hand")
    parents: list[Any] = [_root(text), *(value for _, value in found[:-1])]
    while len(found) > 1 and len(parents[-1].value) == 1:
        found, parents = found[:-1], parents[:-1]
    if parents[-1].flow_style:
        raise ConfigError(f"'{'.'.join(path)}' stands in a mapping on one line", fix="take it out by hand")
    key, value = found[-1]
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    return text[:start] + text[_end(text, key, value) :]


def with_choice(text: str, group: str, option: Any, *, is_new: bool = False) -> str:
    """Choose a group's option in the defaults list, in its own item or else in a new one.

    Args:
        text: Of the file.
        group: As on the command line: `model`, `model/x`, or with its place, `model/x@model.y`.
        option: Its name, or names.
        is_new: Whether no other file chooses an option of this group.

    Raises:
        ConfigError: There is no defaults list of one item a line.
    """
    (found, _), wanted = _walk(text, ["defaults"]), _canonical_group("/" + group)
    items = found[0][1] if found else None
    if not isinstance(items, SequenceNode) or items.flow_style or not items.value:
        raise ConfigError(
            "has no defaults list of one item a line", fix="write one: `defaults:` and `  - /group: name`"
        )
    for item in items.value:
        if isinstance(item, MappingNode) and _canonical_group(item.value[0][0].value) == wanted:
            return _replaced(text, item.value[0], rendered(option))
    before = next((item for item in items.value if item.value == "_self_"), None)
    beside = before or items.value[-1]
    line = text.rfind("\n", 0, beside.start_mark.index) + 1
    place = line if before else _line_end(text, _after(text, beside))
    # With its place: without it, Hydra does not find the group where the task is mounted in conf/config.yaml.
    named = group if "@" in group else f"{group}@{group.replace('/', '.')}"
    new = f"{text[line : beside.start_mark.index]}{'' if is_new else 'override '}/{named}: {rendered(option)}"
    return _inserted(text, place, [new])


def rendered(value: Any, literal: str | None = None) -> str:
    """A value on one line, as Hydra reads it back with the same type, be it inside braces or not.

    Raises:
        ConfigError: YAML cannot hold it.
    """
    if literal is None or isinstance(value, dict | list):
        literal = _flow(value)
    for text in (literal, _flow(value), json.dumps(value, ensure_ascii=False)):
        if "\n" not in text and _reads_as(text, value):
            return text
    raise ConfigError(f"{value!r} cannot be written as YAML", fix="write it into the file by hand")


def _flow(value: Any) -> str:
    from omegaconf import OmegaConf

    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {rendered(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(rendered(one) for one in value) + "]"
    # OmegaConf's own, because it reads 1e-3 as a number, and quotes the text '1e-3', which PyYAML does not.
    return OmegaConf.to_yaml(OmegaConf.create([value])).removeprefix("- ").strip()


def _reads_as(text: str, value: Any) -> bool:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        read: Any = OmegaConf.to_container(OmegaConf.create(f"x: {text}\ny: {{x: {text}}}\n"))
        both = [read["x"], read["y"]["x"]]
    except (yaml.YAMLError, OmegaConfBaseException, KeyError, TypeError):
        return False
    return json.dumps(both) == json.dumps([value, value])


def _nested(path: Sequence[str], value: Any) -> Any:
    for part in reversed(path):
        value = {part: value}
    return value


def _root(text: str) -> MappingNode:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, MappingNode):
        raise ConfigError("holds no keys", fix="see README.md, To add: a task")
    return node


def _walk(text: str, path: Sequence[str]) -> tuple[list[Entry], MappingNode | None]:
    """The entries that a path leads through, as far as it goes, and the mapping that it ends in."""
    node: Node = _root(text)
    found: list[Entry] = []
    for part in path:
        if not isinstance(node, MappingNode):
            break
        entry = next(((key, value) for key, value in node.value if key.value == part), None)
        if entry is None:
            break
        if entry[1].start_mark.index < entry[0].end_mark.index:  # the node is the anchor's, which others share
            fix = "write it out there instead of its alias (*)"
            raise ConfigError(f"'{part}' has the value of another place", fix=fix)
        found.append(entry)
        node = entry[1]
    return found, node if isinstance(node, MappingNode) else None


def _replaced(text: str, entry: Entry, new: str) -> str:
    """Put another value in an entry's place, on one line; what its line says behind it stays."""
    key, value = entry
    start, end = value.start_mark.index, value.end_mark.index
    colon = text.index(":", key.end_mark.index) + 1
    if isinstance(value, CollectionNode) and not value.flow_style:  # its lines go, a comment behind the key stays
        first = _line_end(text, colon)
        return f"{text[:colon]} {new}{text[colon:first]}{text[_content_end(text, value) :]}"
    if start == end:
        return f"{text[:colon]} {new}{text[colon:]}"
    kept = len(text[start:end].rstrip())
    return text[:start] + new + text[start + kept :]


def _added(text: str, mapping: MappingNode, path: Sequence[str], value: Any, literal: str | None) -> str:
    """Add a key, in as many sections as its path has, behind the last one of a mapping."""
    if mapping.flow_style or not mapping.value:
        brace = mapping.end_mark.index - 1
        head = text[:brace].rstrip()
        comma = {"{": "", ",": " "}.get(head[-1], ", ")
        last = rendered(value, literal) if len(path) == 1 else _flow(_nested(path[1:], value))
        return f"{head}{comma}{_flow(path[0])}: {last}{text[len(head) :]}"
    column, step = mapping.value[0][0].start_mark.column, _step(text)
    lines = [f"{' ' * (column + depth * step)}{_flow(part)}:" for depth, part in enumerate(path)]
    lines[-1] += f" {rendered(value, literal)}"
    return _inserted(text, _content_end(text, mapping), lines)


def _inserted(text: str, place: int, lines: list[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    head = text[:place] if text[:place].endswith("\n") else text[:place] + newline
    return head + "".join(line + newline for line in lines) + text[place:]


def _step(text: str) -> int:
    """How far the file's sections are indented."""
    inner = [value.value[0][0] for _, value in _root(text).value if isinstance(value, MappingNode) and value.value]
    return next((key.start_mark.column for key in inner if key.start_mark.column), 2)


def _line_end(text: str, place: int) -> int:
    """Behind the line that a place is in."""
    newline = text.find("\n", place)
    return len(text) if newline < 0 else newline + 1


def _content_end(text: str, node: Node) -> int:
    """Behind the last line of a block that is neither blank nor a comment: those belong to what follows."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text[: node.end_mark.index])
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    # The parser may end a block in the middle of its last line, before a comment there.
    return _line_end(text, len("".join(lines)) - 1)


def _after(text: str, node: Node) -> int:
    if isinstance(node, CollectionNode) and not node.flow_style:
        return _content_end(text, node) - 1
    start, end = node.start_mark.index, node.end_mark.index
    return start + len(text[start:end].rstrip())


def _end(text: str, key: ScalarNode, value: Node) -> int:
    """Behind the last line of an entry."""
    return _line_end(text, max(_after(text, value), key.end_mark.index))


def _canonical_group(key: str) -> str:
    """`override /model/x@model.x` -> `model/x`; a place that is not the group's own stays."""
    name = key.split()[-1]
    name = name[1:] if name.startswith("/") else f"task/{name}"
    group, _, place = name.partition("@")
    return group if place in ("", group.replace("/", ".")) else name
