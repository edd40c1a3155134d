"""The Hydra application behind `python -m flywheel.train`: one training, or a multirun of many.

Every job is a training of its own, with an MLflow run of its own; in a multirun the runs are children of one parent.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from flywheel.command.completion import FLAGS
from flywheel.project.errors import ConfigError, FlywheelError
from flywheel.project.params import project_root, task_from
from flywheel.project.stage import keep_caches_writable
from flywheel.project.types import Json
from flywheel.project.whole import whole_file

if TYPE_CHECKING:
    from flywheel.sweep.run.job import TrialJob

log = logging.getLogger("flywheel")

RESULT = "result.json"
_failures: list[FlywheelError] = []


def main(words: list[str]) -> int:
    """Check the command line, then hand over to Hydra.

    Args:
        words: The arguments after `python -m flywheel.train`.

    Returns:
        0; 1 where a job of a multirun failed.

    Raises:
        FlywheelError: An override, or the training, is wrong.
    """
    import hydra

    from flywheel.command.group_list import group_list
    from flywheel.project.compose import HYDRA_VERSION_BASE
    from flywheel.sweep.run.ahead import targets_checked
    from flywheel.sweep.run.submitit_pool import check_launcher
    from flywheel.sweep.search.command_line import compose_command_line
    from flywheel.sweep.search.storage import password_taken_out
    from flywheel.sweep.show.summary import num_failed

    root = project_root()
    os.chdir(root)
    keep_caches_writable()
    words = password_taken_out([word for word in words if word != "--debug"])
    if set(words) & set(FLAGS):
        return _complete(words, root)
    typed = _parsed(words)
    if not typed.is_multirun:
        _refuse_sweep(typed.overrides)
    line = compose_command_line(typed.overrides)
    if typed.is_multirun and not typed.is_question:
        check_launcher(line.launcher)
    sys.argv = [sys.argv[0], *words]
    OmegaConf.register_new_resolver("flywheel_groups", lambda: group_list(root / "conf"), replace=True)  # for --help
    # A FlywheelError in a job must reach `explained` as it is, not as Hydra's shortened traceback.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with targets_checked(line, is_sweep=typed.is_multirun and not typed.is_question):
        hydra.main(version_base=HYDRA_VERSION_BASE, config_path=str(root / "conf"), config_name="train")(job)()
    if _failures:
        raise _failures.pop()
    return 1 if num_failed() else 0


def job(config: DictConfig) -> float:
    """Train with one job's settings.

    Returns:
        The monitored validation metric of the kept epoch. In a multirun a failed job gives NaN, and the others go on.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from flywheel.project.stage import set_up_process
    from flywheel.sweep.search.controller import task_words

    set_up_process()
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    overrides = task_words(settings.overrides.task)
    if settings.mode != RunMode.MULTIRUN:
        try:
            result = _train(config, folder, overrides)
        except FlywheelError as error:  # Hydra would say that it was executing a job
            _failures.append(error)
            return math.nan
        _write(folder, result)
        log.info("%s %.4f after epoch %d; model in %s",
                 result["monitor"], result["score"], result["epoch"], folder / "model")  # fmt: skip
        return float(result["score"])
    from flywheel.sweep.run import job as sweep_job
    from flywheel.sweep.run.slots import num_gpus

    gpus = num_gpus(config.trainer.devices)
    return sweep_job.run(folder, lambda trial: _train(config, folder, overrides, trial), gpus=gpus)


def _train(config: DictConfig, folder: Path, overrides: list[str], trial: TrialJob | None = None) -> Json:
    from flywheel.learner.tracked import train
    from flywheel.prepare import processed_for
    from flywheel.project.whole import read_json
    from flywheel.sweep.search.objectives import measure
    from flywheel.sweep.show.summary import parent_of
    from hydra_plugins.flywheel_code import fill_in

    fill_in(config)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    task = task_from({key: value for key, value in plain.items() if key != "sweep"}, "")
    data = processed_for(task)
    fitted = train(
        task,
        data,
        folder / "model",
        name=_run_name(overrides, trial),
        parent=parent_of(folder.parent) if trial else None,
        overrides=overrides,
        watch=trial.tell if trial else None,
        records=folder,
    )
    result: Json = {
        "task": task.name,
        "overrides": overrides,
        "num_rows": read_json(data / "meta.json")["num_rows"],
        "monitor": task.metric.monitor.name,
        "mode": task.metric.monitor.mode,
        "score": fitted.score,
        "epoch": fitted.epoch,
        "model_sha256": fitted.model_sha256,
    }
    if trial and len(trial.objectives) > 1:
        result["values"] = measure(trial.objectives, fitted.score, folder / "model", data)
    return result


def _run_name(overrides: list[str], trial: TrialJob | None) -> str | None:
    """The overrides as typed; for a sweep's trial the swept ones first, which distinguish it from others."""
    if trial is None:
        return " ".join(overrides) or None
    swept = [f"{key}={value}" for key, value in trial.noted["params"].items()]
    others = [word for word in overrides if word not in swept and not word.startswith("task=")]
    return " ".join([*swept, *others]) or None


def _write(folder: Path, result: Json) -> None:
    with whole_file(folder / RESULT) as part:
        part.write_text(json.dumps(result) + "\n")


def _complete(words: list[str], root: Path) -> int:
    """Print a script for the shell, or let Hydra print the candidates for a line that is being typed."""
    import hydra

    from flywheel.command.completion import script
    from flywheel.project.compose import HYDRA_VERSION_BASE

    text = script(words)
    if text is not None:
        sys.stdout.write(f"{text}\n")
        return 0
    sys.argv = [sys.argv[0], *words]
    hydra.main(version_base=HYDRA_VERSION_BASE, config_path=str(root / "conf"), config_name="train")(job)()
    return 0


@dataclass(frozen=True)
class _Typed:
    """What was typed: the overrides, and what Hydra's flags among them ask for.

    Attributes:
        overrides: The overrides, without Hydra's flags.
        is_multirun: Whether several trainings are asked for.
        is_question: Whether something is to be printed, and nothing trained.
    """

    overrides: list[str]
    is_multirun: bool
    is_question: bool


def _refuse_sweep(overrides: list[str]) -> None:
    """Refuse, without `-m`, what only a multirun does; Hydra ends in a traceback or ignores it.

    Raises:
        ConfigError: A key has several values, or a setting says how a sweep searches.
    """
    from flywheel.sweep.search.space import parse

    for one in parse(overrides):
        word, key = str(one.input_line), one.key_or_group
        if one.is_sweep_override():
            hint = f"add -m to train with each of them, or make them one list: '{key}=[{word.partition('=')[2]}]'"
            raise ConfigError(f"{word} names several values", where="command line", fix=hint)
        if key == "sweep" or key.startswith(("sweep.", "hydra/launcher", "hydra/sweeper")):
            raise ConfigError(f"{word} says how several trainings are run", where="command line", fix="add -m")


def _parsed(words: list[str]) -> _Typed:
    """The overrides among Hydra's flags.

    Raises:
        ConfigError: Two flags do not go together.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true")
    told = [parser.add_argument("-h", "--help", action="store_true")]
    told += [parser.add_argument(flag, action="store_true") for flag in ("--hydra-help", "--version", "--resolve")]
    instead = [parser.add_argument("--run", "-r", action="store_true")]
    instead += [parser.add_argument("--cfg", "-c"), parser.add_argument("--info", "-i", nargs="?", const="all")]
    for name, short in (("package", "-p"), ("config-name", "-cn"), ("config-dir", "-cd"), ("config-path", "-cp")):
        parser.add_argument(f"--{name}", short)
    flags, rest = parser.parse_known_args(words)
    for one in instead if flags.multirun else ():
        if getattr(flags, one.dest):
            what = f"--multirun does not go with {one.option_strings[0]}"
            raise ConfigError(what, where="command line", fix="leave one of them out")
    is_question = any(getattr(flags, one.dest) for one in told)
    return _Typed([word for word in rest if not word.startswith("-")], flags.multirun, is_question)
