"""Which of several processes of one training this is, as torchrun, Slurm or rank 0 says it; imports nothing heavy.

A rank is one process of a training, with one device. Rank 0 is the process that tracks and writes; it sits on the first
node. The others only compute.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flywheel.project.errors import ConfigError

PARENT = "FLYWHEEL_PARENT"
"""Set for ranks that rank 0 has started: its process id."""

_SLURM_PORTS = (20_000, 20_000)  # the first, and how many


@dataclass(frozen=True)
class Place:
    """A process's place among the ranks.

    Attributes:
        rank: Rank over all nodes, from 0.
        size: Number of all ranks.
        local_rank: Rank on this node, from 0.
        local_size: Number of ranks on this node.
        address: The address of rank 0's node.
        port: Port at which the ranks connect.
        hosted: Whether somebody else listens there (torchrun's agent); else rank 0 does.
        attempt: Number of times that torchrun has restarted these ranks.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    hosted: bool = False
    attempt: int = 0

    def environment(self) -> dict[str, str]:
        """The place as `place_from` reads it."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_size),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def place_from(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Read the place that torchrun (`RANK`, `WORLD_SIZE`, ...) or a Slurm step (`SLURM_PROCID`, ...) gives.

    Returns:
        None where this is a process of its own; then it may start ranks itself.

    Raises:
        ConfigError: A variable is missing or is not a number.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        size = _number(environment, "WORLD_SIZE")
        return _from_torchrun(environment, size) if size > 1 else None
    # Only a step that srun made has SLURM_STEP_NUM_TASKS; the batch script itself, and one task, are on their own.
    if "SLURM_PROCID" in environment and "SLURM_STEP_NUM_TASKS" in environment:
        size = _number(environment, "SLURM_STEP_NUM_TASKS")
        return _from_slurm(environment, size) if size > 1 else None
    return None


def without_place(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that say a place: for a program that starts from here and is not a rank."""
    ours = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", PARENT)
    return {
        name: value
        for name, value in environment.items()
        if name not in ours and not name.startswith(("TORCHELASTIC_", "SLURM_STEP_", "SLURM_PROCID"))
    }


def _from_torchrun(environment: Mapping[str, str], size: int) -> Place:
    return Place(
        rank=_number(environment, "RANK"),
        size=size,
        local_rank=_number(environment, "LOCAL_RANK", 0),
        local_size=_number(environment, "LOCAL_WORLD_SIZE", 1),
        address=_given(environment, "MASTER_ADDR"),
        port=_number(environment, "MASTER_PORT"),
        hosted=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT", 0),
    )


def _from_slurm(environment: Mapping[str, str], size: int) -> Place:
    first, count = _SLURM_PORTS
    port = first + (_number(environment, "SLURM_JOB_ID") * 31 + _number(environment, "SLURM_STEP_ID", 0)) % count
    return Place(
        rank=_number(environment, "SLURM_PROCID"),
        size=size,
        local_rank=_number(environment, "SLURM_LOCALID"),
        local_size=_tasks_here(_given(environment, "SLURM_STEP_TASKS_PER_NODE"), _number(environment, "SLURM_NODEID")),
        address=environment.get("MASTER_ADDR") or first_host(_given(environment, "SLURM_STEP_NODELIST")),
        port=_number(environment, "MASTER_PORT", port),
    )


def first_host(nodes: str) -> str:
    """The first name of a Slurm list of nodes, e.g. `gpu[07-09,12],login` -> `gpu07`."""
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    if found is None:
        raise ConfigError(f"'{nodes}' is not a list of nodes", where="SLURM_STEP_NODELIST", fix="set MASTER_ADDR")
    return "".join(part or "" for part in found.groups())


def _tasks_here(counts: str, node: int) -> int:
    """Tasks on one node, from e.g. `2(x3),1`."""
    each: list[int] = []
    for word in counts.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", word)
        if found is None:
            raise ConfigError(f"'{counts}' is not a list of counts", where="SLURM_STEP_TASKS_PER_NODE")
        each += [int(found[1])] * int(found[2] or 1)
    return each[min(node, len(each) - 1)]


def _given(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        what = "is not set, though this is one of several ranks"
        raise ConfigError(what, where=name, fix="start with torchrun or srun, see docs/multi-gpu.md")
    return value


def _number(environment: Mapping[str, str], name: str, otherwise: int | None = None) -> int:
    if otherwise is not None and not environment.get(name):
        return otherwise
    value = _given(environment, name)
    if not value.isdigit():
        raise ConfigError(f"'{value}' is not a whole number", where=name)
    return int(value)
