"""A rank other than rank 0: hears from rank 0 what to train, trains its share, and tracks and writes nothing.

Rank 0 starts it as `python -m flywheel.learner.ranks.rank`, or `python -m flywheel.train` becomes it under torchrun and
srun.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

import torch

from flywheel.learner.assemble import assemble, fit_all, make_trainer, new_network, open_parts, stopping
from flywheel.learner.callbacks import History
from flywheel.learner.machine import Machine
from flywheel.learner.observers import Observers
from flywheel.learner.ranks.processes import LOST, Meeting, is_broken
from flywheel.learner.ranks.ranks import Ranks
from flywheel.learner.ranks.world import PARENT, Place, place_from
from flywheel.learner.settings import quiet
from flywheel.project.errors import ConfigError, FlywheelError, RankError
from flywheel.project.params import project_root, task_from
from flywheel.project.stage import explained, keep_caches_writable, set_up_process
from flywheel.project.types import Json

log = logging.getLogger("flywheel")

_LOOK_SECONDS = 0.5


def main() -> int:
    """Do what rank 0 says, until there is nothing more; the exit code."""
    set_up_process()
    with explained() as outcome:
        place = place_from()
        if place is None or place.rank == 0:
            raise ConfigError("is a rank's own program", where="flywheel.learner.ranks.rank", fix="run flywheel.train")
        _end_with_parent()
        os.chdir(project_root())
        keep_caches_writable()
        quiet()
        try:
            meeting = Meeting(place)
            while (job := meeting.hear()) is not None:
                work(job, place, meeting)
            meeting.sign()
        except RuntimeError as error:
            if not is_broken(error):
                raise
            log.error("flywheel: error: rank %d has lost the other ranks", place.rank)
            outcome.code = LOST
    return outcome.code


def work(job: Json, place: Place, meeting: Meeting) -> None:
    """Take part in one training.

    Args:
        job: The job from `flywheel.learner.fit`: settings, data, machine, checkpoint.
        place: The rank of this process, and how many ranks there are.
        meeting: The connection that it came through.

    Raises:
        RankError: This node does not see the files of rank 0's.
    """
    task, meta, machine = task_from(job["task"], ""), job["meta"], Machine(**job["machine"])
    processed, checkpoint = Path(job["processed"]), Path(job["checkpoint"])
    if not processed.is_dir() or (job["resume"] and not checkpoint.is_file()):
        missing = processed if not processed.is_dir() else checkpoint
        fix = "put the project on a file system that all nodes share"
        raise RankError(f"rank {place.rank} does not see it", where=missing, fix=fix)
    network, _ = new_network(task, meta)
    parts = open_parts(processed, network, meta, machine)
    torch.set_num_threads(machine.num_threads)
    meeting.sign()
    ranks = Ranks(place, machine, meeting.group_store())
    try:
        learner, batches, evaluation = assemble(task, meta, network, machine, parts, ranks)
        history = History(task.metric.monitor, checkpoint, lambda row: None, ranks)
        trainer = make_trainer(task, machine, [history, *stopping(task, ranks)], checkpoint.parent, ranks, Observers())
        fit_all(trainer, learner, batches, evaluation, checkpoint if job["resume"] else None)
    except FlywheelError as error:  # rank 0 has the same one; its sweep may go on
        log.info("rank %d: %s", place.rank, error)
    finally:
        ranks.leave()


def _end_with_parent() -> None:
    """End this process soon after rank 0's has gone, however it went: it may be waiting for it inside a library."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def look() -> None:
        while os.getppid() == int(parent):
            time.sleep(_LOOK_SECONDS)
        os._exit(LOST)

    threading.Thread(target=look, daemon=True, name="flywheel parent").start()


if __name__ == "__main__":
    sys.exit(main())
