"""Puts what a sweep or a run has found into a task that starts from the trained one, so that the pipeline builds it.

`conf/task/<task>.yaml` stays as it is; `conf/task/<task>_adopted.yaml` says what differs, and `conf/config.yaml` names
that one. Everything is tried on a copy of `conf/` first. All files are written or none.
"""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass
from pathlib import Path

import yaml

from flywheel.command.derive import Draft, derive, differing, parsed, told
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.flatten import targets_in
from flywheel.project.params import project_root, task_from
from flywheel.project.types import Json
from flywheel.project.whole import all_or_nothing, whole_file
from flywheel.sweep.search.winner import Winner, find_winner, num_epochs, settings_of


@dataclass(frozen=True)
class Adoption:
    """What was, or would be, written.

    Attributes:
        winner: The run, and its overrides.
        file: The task's file that says it, relative to the project.
        diff: The diff of that file and of `conf/config.yaml`; empty where they say all of it already.
        name: Name of the adopted task.
        in_pipeline: Whether `conf/config.yaml` has the task.
        left_out: Overrides that are never written, `fold=2`.
        changed: Settings that `conf/` has changed since the run, taken as they are now (`force`).
        stopped_after: Epochs, where a sweep's pruner or a timer ended the run early; 0: it did not.
    """

    winner: Winner
    file: str
    diff: str
    name: str
    in_pipeline: bool
    left_out: tuple[str, ...]
    changed: tuple[str, ...]
    stopped_after: int

    @property
    def weights(self) -> str:
        """The sha256 of the weights that the pipeline will train again; empty where it will train others."""
        return "" if self.left_out or self.changed or self.stopped_after else self.winner.model_sha256


def adopt(reference: str, *, task: str | None = None, force: bool = False, dry_run: bool = False) -> Adoption:
    """Write a winner's settings into its task's file, and compose `params.yaml`.

    Args:
        reference: A sweep or a run, as `find_winner` takes it.
        task: The only task whose sweeps and runs are looked at.
        force: Whether it is adopted though `conf/` has changed since the run.
        dry_run: Whether nothing is written.

    Raises:
        ConfigError: There is no such winner, or `conf/` cannot say what it was trained with; nothing is written then.
    """
    root = project_root()
    winner = find_winner(reference, task)
    file = root / "conf/task" / f"{winner.task}.yaml"
    if not file.is_file():
        near = nearest(winner.task, [path.stem for path in file.parent.glob("*.yaml")])
        raise ConfigError(f"its task '{winner.task}' has no file in conf/task/", where=reference, fix=near)
    overrides = parsed(winner.overrides, reference)
    wanted = [one for one in overrides if one.key_or_group != "fold"]
    with Draft.of(root, winner.task, reference) as draft:
        changed = _changed_since(draft, winner)
        option, target = derive(draft, wanted)
        _name_in_config(draft, str(target["name"]), option)
        in_pipeline = _is_in_pipeline(draft, target)
        stopped = _stopped_after(winner, target)
        names = (f"conf/task/{option}.yaml", "conf/config.yaml")
        after = {name: text for name in names if (text := (draft.root / name).read_bytes()) != _bytes(root / name)}
    if changed and not force:
        fix = "revert that in conf/, or adopt it anyway with --force"
        raise ConfigError(f"conf/ has changed since this run: {told(changed)}", where=reference, fix=fix)
    diff = "\n".join(_diff(root, name, text) for name, text in after.items())
    if not dry_run:
        _write(root, after)
    left_out = tuple(str(one.input_line) for one in overrides if one not in wanted)
    return Adoption(
        winner, names[0], diff, str(target["name"]), in_pipeline, left_out, tuple(changed), stopped
    )  # fmt: skip


def next_lines(adoption: Adoption, *, written: bool) -> list[str]:
    """What to say after the diff, and what to do next."""
    name, lines = adoption.name, []
    if not adoption.diff:
        lines.append(f"{adoption.file} is up to date already")
    elif written:
        lines.append(f"{adoption.file} is written, params.yaml is composed from conf/")
    if adoption.left_out:
        lines.append(f"left out: {' '.join(adoption.left_out)}; the pipeline validates as {adoption.file} says")
    if adoption.changed:
        lines.append(f"conf/ has changed since the run: {told(adoption.changed)}")
    if adoption.stopped_after:
        lines.append(f"this run was stopped after {adoption.stopped_after} epochs; the pipeline trains them all")
    if not written:
        return [*lines, "nothing was written"]
    command = "dvc repro"
    if not adoption.in_pipeline:
        lines.append("the pipeline does not have this task; add to conf/config.yaml, before `- _self_`:")
        lines.append(f"  - task@tasks.{name}: {Path(adoption.file).stem}")
        command = f"flywheel params && dvc repro register@{name}"
    again = f"    # trains the weights {adoption.weights[:12]}... again" if adoption.weights else ""
    return [*lines, f"next:  {command}{again}"]


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _diff(root: Path, name: str, after: bytes) -> str:
    before = _bytes(root / name)
    old = "/dev/null" if before is None else f"a/{name}"
    first, second = ((text or b"").decode().splitlines() for text in (before, after))
    return "\n".join(difflib.unified_diff(first, second, old, f"b/{name}", lineterm=""))


def _name_in_config(draft: Draft, name: str, option: str) -> None:
    """Let the pipeline's task be the one that says it, where `conf/config.yaml` has it."""
    from flywheel.init_task.files import with_option

    file = draft.root / "conf/config.yaml"
    file.write_bytes(with_option(file.read_bytes().decode(), name, option).encode())


def _is_in_pipeline(draft: Draft, target: Json) -> bool:
    """Whether `params.yaml` will have the task; it must have the same settings then."""
    from flywheel.learner.task_check import check_task
    from flywheel.project.compose import compose_params

    with draft.saying("params.yaml does not compose with it"):
        tasks = yaml.safe_load(compose_params(draft.root, check=check_task))["tasks"] or {}
        if target["name"] not in tasks:
            return False
        asked, made = (task_from(one, "").trained_with() for one in (target, tasks[target["name"]]))
        if found := differing(asked, made, ("the run", "params.yaml")):
            raise ConfigError(told(found), fix="see what conf/config.yaml sets for this task")
    return True


def _changed_since(draft: Draft, winner: Winner) -> list[str]:
    """The settings in which the run differs from what its overrides compose to now."""
    overrides = parsed(winner.trained_with, draft.reference)
    composed = draft.compose(draft.task, overrides, "does not compose with conf/ as it is")
    then = settings_of(winner.run_id)
    if not isinstance(then, dict):
        return ["perhaps, its config.yaml is not in the MLflow store"]
    with contextlib.suppress(ConfigError):  # one of an older schema is compared as it is
        then = task_from(then, "").trained_with()
    return differing(then, task_from(composed, "").trained_with(), ("then", "now"))


def _stopped_after(winner: Winner, target: Json) -> int:
    """After how many epochs a pruner or a timer ended the run; 0 where it has all, or stopped by its own rule."""
    trainer, epochs = task_from(target, "").trainer, num_epochs(winner.run_id)
    timed = any(name.endswith(".Timer") for name in targets_in((settings_of(winner.run_id) or {}).get("callbacks")))
    return epochs if epochs < trainer.max_epochs and (timed or not trainer.early_stopping.patience) else 0


def _write(root: Path, after: dict[str, bytes]) -> None:
    """Write files of `conf/` and compose `params.yaml`; an error takes all of it back."""
    from flywheel.learner.task_check import check_task
    from flywheel.project.compose import PLOTS, write_params

    with all_or_nothing([*(root / name for name in after), root / "params.yaml", root / PLOTS]):
        for name, text in after.items():
            with whole_file(root / name) as part:
                part.write_bytes(text)
        write_params(root, check_task)
