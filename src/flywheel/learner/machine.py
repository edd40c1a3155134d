"""What `auto` means on this machine, decided once, before training, and logged to the run."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

from flywheel.learner.ranks.world import Place
from flywheel.project.config import TrainerConfig
from flywheel.project.errors import ConfigError

_BLOCK_BYTES = 32_000_000
_MAX_STEPS_PER_CALL = 50


@dataclass(frozen=True)
class Machine:
    """The choices made: `device_name` is for people, `hold` is memory or stream.

    `devices` are those of rank 0's node, `world_size` those of all nodes; `strategy` is single, ddp or fsdp, and
    `backend` what the ranks talk by.
    """

    accelerator: str
    devices: int
    world_size: int
    strategy: str
    backend: str
    device_name: str
    precision: str
    num_threads: int
    hold: str
    steps_per_call: int

    def tags(self) -> dict[str, str]:
        """The choices as tags of a run."""
        return {f"machine.{key}": str(value) for key, value in asdict(self).items()}

    def described(self) -> str:
        """What decides how sums are rounded, for `model.json` and the report: processor, threads, device."""
        threads = f"{self.num_threads} thread{'s' if self.num_threads > 1 else ''}"
        there = [f"{self.world_size} x {self.device_name}"] if self.accelerator != "cpu" else []
        there += [f"{self.world_size} ranks"] if self.accelerator == "cpu" and self.world_size > 1 else []
        return ", ".join([*there, processor_name(), threads])

    @property
    def device(self) -> torch.device:
        """The device that the data are held on."""
        return torch.device(self.accelerator)


def resolve(
    config: TrainerConfig,
    example: Mapping[str, Tensor],
    num_bytes: int,
    place: Place | None = None,
) -> Machine:
    """Decide everything that is `auto`.

    Args:
        config: The user's settings; every value other than `auto` is kept.
        example: One batch of the inputs.
        num_bytes: The number of bytes of train and validation, as stored.
        place: Rank 0's, where torchrun or Slurm has started the ranks.

    Raises:
        ConfigError: A number is none, the device asked for is not there, or settings do not go together.
    """
    accelerator = _accelerator(config.accelerator)
    devices = num_devices(config, place)
    world_size = place.size if place else devices
    ways = "ddp" if config.strategy == "auto" else config.strategy
    copies = devices if accelerator == "cpu" else 1  # each rank of a node holds the data
    return Machine(
        accelerator=accelerator,
        devices=devices,
        world_size=world_size,
        strategy=ways if world_size > 1 else "single",
        backend="none" if world_size == 1 else "nccl" if accelerator == "cuda" else "gloo",
        device_name=torch.cuda.get_device_name() if accelerator == "cuda" else accelerator,
        precision=_precision(accelerator) if config.precision == "auto" else config.precision,
        num_threads=config.num_threads,
        hold=_hold(accelerator, num_bytes * copies) if config.hold == "auto" else config.hold,
        steps_per_call=_steps(example) if config.steps_per_call == "auto" else config.steps_per_call,
    )


def processor_name() -> str:
    """The processor's own name where the system tells it, and the vector instructions that PyTorch chose for it."""
    name = ""
    if Path("/proc/cpuinfo").is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        name = found[1] if found else ""
    name = name or platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def num_devices(config: TrainerConfig, place: Place | None = None) -> int:
    """Devices, and so ranks, of this node.

    `auto` is one, or as many ranks as torchrun or Slurm has started here; `all` is every GPU that is visible, and one
    where there is none.

    Raises:
        ConfigError: There are not so many, or what is asked for does not work on several.
    """
    accelerator = _accelerator(config.accelerator)
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(accelerator)
    if config.devices == "auto":
        devices = place.local_size if place else 1
    else:
        devices = (there or 1) if config.devices == "all" else config.devices
    if place and devices != place.local_size:
        what = f"{devices}, but {place.local_size} ranks have been started on this node"
        raise ConfigError(what, where="trainer.devices", fix="leave it 'auto' under torchrun and srun")
    if there is not None and devices > there and not (place and there == 1):
        what = f"{devices} asked for, and there {'is' if there == 1 else 'are'} {there} ({accelerator})"
        raise ConfigError(what, where="trainer.devices", fix="use fewer, or trainer.accelerator: cpu")
    world_size = place.size if place else devices
    if world_size > 1 and accelerator == "mps":
        raise ConfigError("mps has one device", where="trainer.devices", fix="use 1, or trainer.accelerator: cpu")
    if world_size > 1 and config.compile:
        raise ConfigError("does not go with several devices", where="trainer.compile", fix="set it to false")
    if config.batch_size < world_size:
        what = f"{config.batch_size} rows cannot be shared by {world_size} ranks"
        raise ConfigError(
            what, where="trainer.batch_size", fix=f"use {world_size} or more, it is of all ranks together"
        )
    return devices


def _accelerator(wanted: str) -> str:
    """The kind of device; `gpu`, Lightning's word, is `cuda`."""
    wanted = "cuda" if wanted == "gpu" else wanted
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[wanted]:
        raise ConfigError(f"no {wanted} device here", where="trainer.accelerator", fix="use auto")
    return wanted


def _precision(accelerator: str) -> str:
    # Emulated bf16 (older GPUs say yes to it too) is slower than float32.
    native = accelerator == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"


def _hold(accelerator: str, num_bytes: int) -> str:
    """Hold in memory what leaves at least half of the free memory for the training itself."""
    free: int = psutil.virtual_memory().available
    if accelerator == "cuda":
        free = min(free, torch.cuda.mem_get_info()[0])
    return "memory" if num_bytes <= free // 2 else "stream"


def _steps(example: Mapping[str, Tensor]) -> int:
    batch_bytes = sum(x.nbytes for x in example.values())
    return max(1, min(_MAX_STEPS_PER_CALL, _BLOCK_BYTES // max(1, batch_bytes)))
