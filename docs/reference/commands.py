"""`docs/cli.md`: every command of `flywheel` as its `--help` has it, and the flags of `python -m flywheel.train`."""

from __future__ import annotations

import re
from argparse import SUPPRESS
from collections.abc import Iterator
from typing import Any

import typer
from docs.reference.markdown import block, code, page, summary, table

ABOUT = """Every command says the same in a terminal, with `-h`. A command that succeeds exits with 0. An error that the
user can fix is one line on the standard error, and exit code 2; other codes are said at their commands."""
TRAIN = """One training, outside the pipeline, or with `-m` a sweep of many. What is no flag is an override in
Hydra's syntax: a key of [settings.md](settings.md) with a value (`optimizer.lr=3e-3`), or a group of
[groups.md](groups.md) with an option (`model=cnn`). DVC calls the same program as `python -m flywheel.train --task
NAME`, which is the stage and takes no other word."""


def commands_page() -> str:
    """The page."""
    from flywheel.command.cli import app

    top = typer.main.get_command(app)
    parts = [ABOUT, "## flywheel", *_command(top, typer.Context(top, info_name="flywheel"))]
    return page("Commands", "the commands themselves", [*parts, *_train(top)])


def _command(command: Any, context: Any) -> Iterator[str]:
    """One command, then those below it."""
    yield summary(command.help)
    shown = [one for one in command.params if not one.hidden]
    rows_of = {kind: [_parameter(one, context) for one in shown if one.param_type_name == kind]
               for kind in ("argument", "option")}  # fmt: skip
    if below := getattr(command, "commands", {}):
        rows = [(f"[{code(f'{context.command_path} {name}')}](#{_anchor(context, name)})", summary(one.help))
                for name, one in below.items()]  # fmt: skip
        yield table(("command", "what it does"), rows)
    else:
        words = ["[OPTIONS]"] * bool(rows_of["option"]) + [name.strip("`") for name, _, _ in rows_of["argument"]]
        yield block("text", " ".join([context.command_path, *words]))
    for kind, found in rows_of.items():
        if found:
            yield table((kind, "meaning", "default"), found)
    for name, one in below.items():
        inner = typer.Context(one, info_name=name, parent=context)
        yield f"## {code(inner.command_path)}" if context.parent is None else f"### {code(inner.command_path)}"
        yield from _command(one, inner)


def _anchor(context: Any, name: str) -> str:
    return f"{context.command_path} {name}".replace(" ", "-")


def _parameter(parameter: Any, context: Any) -> tuple[str, str, str]:
    """Name, meaning and default, taken out of the parameter's own line of help."""
    name, said = parameter.get_help_record(context)
    notes = re.search(r"\s*\[([^\]]*)\]$", said)
    meaning = said[: notes.start()] if notes else said
    default = ""
    for note in re.split(r"; ", notes[1]) if notes else ():
        if note == "required":
            default = "*required*"
        elif note.startswith("default: "):
            default = code(note.removeprefix("default: "))
        else:
            meaning += f" ({note})"
    if parameter.param_type_name == "argument":
        name = re.sub(r" <[^>]*>$", "", name)
    name = name.replace(" range>", ">")
    return code(name), meaning, default


def _train(top: Any) -> Iterator[str]:
    from hydra._internal.utils import get_args_parser

    from flywheel.command import completion

    yield "## `python -m flywheel.train`"
    yield TRAIN
    debug = next(one.help for one in top.params if "--debug" in one.opts)
    rows = [(code("--debug"), debug)]
    for action in get_args_parser()._actions:
        if action.option_strings and action.help != SUPPRESS:
            flags = sorted(action.option_strings, key=len, reverse=True)
            takes = "" if action.nargs == 0 else " [VALUE]" if action.nargs == "?" else " VALUE"
            own = set(flags) & set(completion.FLAGS)
            rows.append((code(", ".join(flags) + takes), summary(completion.__doc__ if own else action.help)))
    yield table(("flag", "meaning"), rows)
