"""Guesses a task from a table: the target, its inputs, and which columns must not be used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from flywheel.init_task import columns as kinds
from flywheel.init_task import offers
from flywheel.init_task.classes import check_classes, check_rows
from flywheel.init_task.columns import ColumnGuess, given, given_labels, look_at
from flywheel.init_task.guess import CLASS, DRAWN_SHARES, IGNORED, Guess, Node, Wanted, counted, listed
from flywheel.init_task.leaks import find_leaks
from flywheel.init_task.medium import choose_length
from flywheel.init_task.notation import notation_of, read_numbers, settings_of
from flywheel.init_task.roles import check_roles, group_of, interactions, split_of
from flywheel.init_task.sample import TableSample
from flywheel.init_task.target import RULE, TargetGuess, choose, class_counts, named
from flywheel.preprocessor.values import MISSING, ValueRules
from flywheel.project.companion import modules_of
from flywheel.project.errors import DataError
from flywheel.reader.table import NO_LABEL, RESERVED

TEXT_TASK_WORDS = 8.0
"""Mean number of words from which a text is the input even where there are other columns."""


ROLES = ("user", "item", "time", "group", "weight")
_USELESS = (kinds.CONSTANT, kinds.EMPTY, kinds.IDENTIFIER)
MAX_TEXTS = 10_000
MAX_STRANGE = 10
"""Different values besides numbers up to which a column of numbers is one, and these are missing."""


@dataclass
class _Table:
    """A sample with what is known of it on the way to a guess."""

    sample: TableSample
    columns: list[ColumnGuess]
    rules: ValueRules
    target: TargetGuess
    group: str | None = None
    split: str | None = None
    time: str | None = None
    weight: str | None = None
    ignored: dict[str, str] = field(default_factory=dict)
    kept_leak: str = ""

    def features(self) -> list[ColumnGuess]:
        """Columns that are neither the target, nor ignored, nor of another role."""
        taken = {self.target.name, self.group, self.split, self.time, self.weight, *self.ignored}
        return [column for column in self.columns if column.name not in taken]


def guess_table(sample: TableSample, wanted: Wanted) -> Guess:
    """Guess a task.

    Args:
        sample: The table's rows, or some of them.
        wanted: The user's options.

    Raises:
        FlywheelError: The table cannot be learnt from as it is.
    """
    rules, doubt = notation_of(sample.frame)
    columns = [look_at(sample.frame[name], rules) for name in sample.frame.columns]
    wanted = _found(sample, columns, wanted)
    found, modality = interactions(columns, wanted), wanted.modality
    recommends = modality == "interactions" or wanted.user is not None or wanted.item is not None
    if recommends and found is None:
        fix = "name both: --user COLUMN --item COLUMN and, if you have it, --time COLUMN"
        raise DataError(sample.path, None, "has no columns of users and items", fix=fix)
    if found and (recommends or (modality is None and wanted.target is None)):
        if wanted.weight is not None:
            raise DataError(sample.path, None, "interactions have no weights", fix="leave out --weight")
        (room,) = (module for module in modules_of("guess").values() if hasattr(module, "guess_interactions"))
        guess: Guess = room.guess_interactions(sample, columns, found)
        return guess
    special = {name for name in (wanted.group, wanted.time, wanted.weight) if name}
    target = choose(sample, columns, rules, wanted, special)
    table = _Table(sample, columns, rules, target, time=wanted.time, weight=wanted.weight)
    table.split = None if table.time else split_of(sample.frame, columns, table.target.name)
    table.group = wanted.group or (None if table.time else group_of(columns, table.target.name))
    roles = {"group": table.group, "time": table.time, "weight": table.weight}
    check_roles(sample.path, table.target.name, {role: name for role, name in roles.items() if name is not None})
    if table.weight is not None:
        offers.check_weights(sample, table.weight)
    text = _text_column(table, modality)
    if text is None:
        _ignore_useless(table)
        _ignore_leaks(table)
    guess = _guess(table, text)
    _offer(guess, table, text)
    if doubt and text is None:
        guess.warn(doubt)
    return guess


def _found(sample: TableSample, columns: list[ColumnGuess], wanted: Wanted) -> Wanted:
    """What the user has said, with columns by the names that they have."""
    roles: Node = {role: name for role in ROLES if (name := getattr(wanted, role)) is not None}
    found: Node = {role: named(sample, columns, name, "")[0].name for role, name in roles.items()}
    return replace(wanted, **found)


def _text_column(table: _Table, modality: str | None) -> ColumnGuess | None:
    """The column of free text that is the input; None: the task is tabular."""
    texts = [column for column in table.features() if column.kind == kinds.TEXT]
    if modality == "text" and not texts:
        texts = [column for column in table.features() if column.words > 0]
        if not texts:
            raise DataError(table.sample.path, None, "has no column of text", fix="use --modality tabular")
    if modality == "tabular" or not texts:
        return None
    longest = max(texts, key=lambda column: column.words)
    others = [column for column in table.features() if column.kind not in (*_USELESS, kinds.TEXT)]
    return longest if modality == "text" or longest.words >= TEXT_TASK_WORDS or not others else None


def _ignore_useless(table: _Table) -> None:
    """Leave out columns that say nothing of a new row."""
    weight = offers.weight_of(table.features(), table.target.name)
    if weight is not None:
        table.ignored[weight] = f"a row's weight, by its name; --weight {weight} trains by it"
    for column in table.features():
        if column.kind in _USELESS:
            table.ignored[column.name] = column.why
        elif column.kind == kinds.TEXT:
            table.ignored[column.name] = f"{column.why}; --modality text learns from it"
        elif column.kind == kinds.MIXED and len(column.strange) > MAX_STRANGE:
            table.ignored[column.name] = f"mixed types: {column.why}, such as '{column.strange[0]}'"


def _offer(guess: Guess, table: _Table, text: ColumnGuess | None) -> None:
    """Say in what other way the table could be learnt from."""
    if table.time is None and table.split is None and text is None and (said := offers.by_time(table.features())):
        guess.warn(said)
    if table.target.kind == CLASS:
        column = next(column for column in table.columns if column.name == table.target.name)
        for said in offers.of_classes(column, table.sample.frame[column.name]):
            guess.warn(said)


def _ignore_leaks(table: _Table) -> None:
    """Leave out columns that give the target away, unless they are all there is."""
    target, frame = table.target, table.sample.frame
    leaks = find_leaks(
        frame, target.name, table.features(), table.rules, is_number=target.kind != CLASS, group=table.group
    )  # fmt: skip
    for leak in leaks:
        if len(leak.columns) > 1 and {column.name for column in table.features()} <= set(leak.columns):
            table.kept_leak = f"{listed(list(leak.columns))} {leak.why}"
        else:
            table.ignored |= dict.fromkeys(leak.columns, f"leak: {listed(list(leak.columns))} {leak.why}")


def _guess(table: _Table, text: ColumnGuess | None) -> Guess:
    sample, target = table.sample, table.target
    inputs = [text] if text else table.features()
    if not inputs:
        reasons = listed([f"{name} ({why})" for name, why in table.ignored.items()], 4) or "it is the only column"
        raise DataError(sample.path, None, f"no column is left to predict '{target.name}' from: {reasons}")
    guess = Guess("text" if text else "tabular", target.kind, {})
    _say_how_it_is_read(guess, table, text)
    _say_target(guess, table, [text.name] if text else None)
    _say_columns(guess, table, inputs, text)
    if text:
        choose_length(guess, given(sample.frame[text.name]).iloc[:MAX_TEXTS].tolist())
    _configure(guess, table, inputs)
    return guess


def _say_how_it_is_read(guess: Guess, table: _Table, text: ColumnGuess | None) -> None:
    sample = table.sample
    about = "" if sample.is_whole else "about "
    guess.note("rows", f"{about}{sample.num_rows:,}", sample.said)
    if "encoding" in sample.form:
        encoding = sample.form["encoding"]
        guess.warn(f"The text is not UTF-8 and is read as {encoding}; check that its letters are right.")
    if text:
        guess.note("modality", "text", f"'{text.name}' holds free text, {text.words:.0f} words on average")
    else:
        guess.note("modality", "tabular", "rows of plain values")
    if sample.nested:
        guess.warn(f"Left out, as they hold lists or objects: {listed(list(sample.nested))}.")


def _say_target(guess: Guess, table: _Table, distinct: list[str] | None) -> None:
    sample, target = table.sample, table.target
    scale = sample.num_rows / len(sample.frame)
    unlabelled, rare = round(target.num_unlabelled * scale), 0
    guess.note("target", target.name, target.why_column)
    if target.kind == CLASS:
        counts = class_counts(sample, target, distinct)
        numeric = any(column.is_numeric for column in table.columns if column.name == target.name)
        check_classes(guess, sample.path, f"'{target.name}'", counts, is_whole=sample.is_whole, numeric=numeric)
        rare = int(counts.sort_values().iloc[: len(counts) - guess.num_classes].sum())
        shown = listed([str(name) for name in counts.index], 5)
        guess.note("kind", counted(guess.num_classes, "class"), f"{target.why_kind}: {shown}")
    else:
        guess.spread = float(read_numbers(given_labels(sample.frame[target.name]), table.rules).std())
        guess.note("kind", "a number", target.why_kind)
    guess.note("rule", "class or number", f"{RULE}; --kind class|number says otherwise")
    check_rows(guess, sample.path, sample.num_rows, unlabelled, rare)
    if target.strange:
        shown = listed([repr(value) for value in target.strange])
        guess.warn(f"'{target.name}' holds numbers and {shown}; these count as missing.")


def _say_columns(guess: Guess, table: _Table, inputs: list[ColumnGuess], text: ColumnGuess | None) -> None:
    shown = [column.name if text else f"{column.name} ({column.kind})" for column in inputs]
    guess.note("inputs", counted(len(inputs), "column"), listed(shown, 12))
    for name, why in table.ignored.items():
        guess.note(IGNORED, name, why)
        if why.startswith("leak"):
            guess.warn(f"'{name}' gives the target away ({why.removeprefix('leak: ')}) and is left out.")
    if table.kept_leak:
        what = f"{table.kept_leak}: a rule, not a model, gives it"
        guess.warn(f"{what}. They are the only inputs and are kept.")
    _say_mixed(guess, [column for column in inputs if column.kind == kinds.MIXED])
    if text and len(table.features()) > 1:
        others = [column.name for column in table.features() if column is not text]
        guess.note("not used", counted(len(others), "column"), f"{listed(others)}; --modality tabular takes them")
    if table.group:
        guess.note("group", table.group, "several rows per value: they never straddle train, validation and test")
    if table.weight:
        guess.note("weight", table.weight, "how much each row counts in the loss; metrics count every row once")
    if table.time:
        guess.note("split", f"by {table.time}", "the latest 20% of the rows are test, the 16% before them validation")
    elif table.split:
        guess.note("split", table.split, "says which rows are train, validation and test")
    else:
        guess.note("split", DRAWN_SHARES, "no column says it: drawn, seeded, as nearly as can be alike in target")


def _say_mixed(guess: Guess, mixed: list[ColumnGuess]) -> None:
    for column in mixed if guess.modality == "tabular" else []:
        strange = listed([repr(value) for value in column.strange])
        guess.warn(f"'{column.name}' holds mixed types: {column.meant}s, and {strange}; these count as missing.")


def _configure(guess: Guess, table: _Table, inputs: list[ColumnGuess]) -> None:
    """Fill in the reader's, the preprocessor's and the target's arguments."""
    sample, target = table.sample, table.target
    special = {target.name, table.group, table.split, table.time, table.weight}
    names = [column.name for column in table.columns if column.name not in special] + list(sample.nested)
    taken = [*names, *RESERVED, *(name for name in special if name)]
    rename = {name: _free(name, taken) for name in names if name in RESERVED}
    read: Node = {
        "_target_": "flywheel.reader.table.TableReader",
        "path": sample.path.name,
        "label_column": target.name,
        "split_column": table.split,
        "group_column": table.group,
        "time_column": table.time,
        "weight_column": table.weight,
    }
    if guess.modality == "text":
        read["columns"] = guess.inputs["column"] = rename.get(inputs[0].name, inputs[0].name)
        read["columns"] = [read["columns"]]
        rename = {old: new for old, new in rename.items() if old == inputs[0].name}
    else:
        _configure_columns(guess, table, rename)
    if rename:
        read["rename"] = rename
        guess.warn(f"Renamed, as the names are reserved: {listed([f'{old} to {new}' for old, new in rename.items()])}.")
    if target.strange:
        read["no_label"] = [*NO_LABEL, *target.strange]
    guess.reader = {key: value for key, value in read.items() if value} | sample.form
    if target.kind != CLASS:
        usual = settings_of(table.rules)
        guess.target_settings |= {key: usual[key] for key in ("thousands", "decimal") if key in usual}


def _free(name: str, taken: Collection[str]) -> str:
    """The name with as many `_` behind it as it takes to be no other's."""
    while name in taken:
        name += "_"
    return name


def _configure_columns(guess: Guess, table: _Table, rename: dict[str, str]) -> None:
    """Say which columns are not inputs."""
    guess.inputs |= settings_of(table.rules)
    names = {
        column.name for column in table.columns if column.kind == kinds.IDENTIFIER and column.name in table.ignored
    }
    identifiers = {rename.get(name, name): kinds.IDENTIFIER for name in table.ignored if name in names}
    ignored = [rename.get(name, name) for name in (*table.ignored, *table.sample.nested) if name not in names]
    if identifiers:
        guess.inputs["types"] = identifiers
    if ignored:
        guess.inputs["ignore"] = ignored
    mixed = [column for column in table.features() if column.kind == kinds.MIXED]
    if mixed:
        words = dict.fromkeys(word.lower() for column in mixed for word in column.strange)
        guess.inputs["missing"] = [*MISSING, *words]
