"""Joblib's workers, started before the first trial is drawn: they import and check while the sweep gets ready."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flywheel.project.errors import FlywheelError

if TYPE_CHECKING:
    from flywheel.sweep.search.command_line import CommandLine

_JOBLIB = "hydra_plugins.hydra_joblib_launcher."
_OF_A_TRAINING = ("flywheel.learner.fit", "mlflow", "flywheel.preprocessor.pipeline.run", "flywheel.train", "optuna")
_OF_A_SWEEP = ("flywheel.sweep.show.gallery", "flywheel.sweep.search.study", "matplotlib.figure", "optuna")


@contextlib.contextmanager
def targets_checked(line: CommandLine, *, is_sweep: bool = True) -> Iterator[None]:
    """Check targets before the block trains; those of a sweep in the workers that `hydra/launcher=joblib` will use.

    They must import torch anyway, and so this process never does. Joblib keeps a process's workers, and uses them again
    wherever they are asked for with the same settings; where the block ends with an error, they end with it. Without
    joblib this process checks by itself: the workers of other launchers start with the first trial.

    Args:
        line: The command line.
        is_sweep: Whether it is run as a sweep.

    Raises:
        ConfigError: A target is not there, or does not take an argument.
    """
    if not is_sweep or not str(line.launcher._target_).startswith(_JOBLIB):
        line.check_targets()
        yield
        return
    workers = _workers(line)
    answers = [workers(_check, line.tasks)]
    try:
        _get_ready()
        try:
            next(answers[0])
        except FlywheelError:
            raise
        except Exception:  # noqa: BLE001 - a worker that does not start, or is killed: its trials tell why
            line.check_targets()
        answers.append(workers(_open_store))
        yield
    except BaseException:  # Ctrl+C too: workers that hold a trial would not end by themselves
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
        raise
    finally:
        for left in answers:
            with contextlib.suppress(Exception):  # joblib warns of answers that nobody takes
                list(left)


def _workers(line: CommandLine) -> Callable[..., Iterator[Any]]:
    """What gives every worker the same work, and their answers as they come."""
    from joblib import Parallel, delayed
    from omegaconf import OmegaConf

    from flywheel.sweep.run.slots import num_slots
    from flywheel.sweep.search.controller import num_planned

    slots = num_slots(line.sweep, line.tasks[0]["trainer"]["devices"])
    settings: Any = OmegaConf.to_container(line.launcher, resolve=True)
    settings = {key: value for key, value in settings.items() if key != "_target_"}
    settings |= {"n_jobs": slots, "backend": "loky", "return_as": "generator_unordered"}
    count = min(slots, num_planned(line.sweep, line.space))

    def start(work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
        answers: Iterator[Any] = Parallel(**settings)(delayed(work)(*arguments) for _ in range(count))
        return answers

    return start


def _check(tasks: list[dict[str, Any]]) -> None:
    """Import, in a worker, what its first trial would import, and check the targets."""
    from flywheel.learner.task_check import check_task
    from flywheel.project.params import project_root

    for name in _OF_A_TRAINING:
        importlib.import_module(name)
    for task in tasks:
        check_task(task, "", project_root())


def _open_store() -> None:
    """Open MLflow's store: one process at a time may do so, and each keeps it open."""
    from flywheel.project.tracking import prepare

    prepare()


def _get_ready() -> None:
    """Do, in this process, what the sweep will want to have done."""
    for name in _OF_A_SWEEP:
        importlib.import_module(name)
    _open_store()
