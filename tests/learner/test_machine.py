import psutil
import pytest
import torch

from flywheel.learner.machine import num_devices, resolve
from flywheel.learner.ranks.ranks import local_device
from flywheel.learner.ranks.world import Place
from flywheel.project.config import TrainerConfig
from flywheel.project.errors import ConfigError


def example(batch_size: int) -> dict[str, torch.Tensor]:
    return {"image": torch.zeros(batch_size, 1, 28, 28, dtype=torch.uint8)}


def test_the_number_of_threads_is_the_setting_s_and_not_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of threads adds up in another order, and trains other weights."""
    for there in (1, 16):
        monkeypatch.setattr(torch, "get_num_threads", lambda there=there: there)
        assert resolve(TrainerConfig(accelerator="cpu"), example(128), 1).num_threads == 1
        assert resolve(TrainerConfig(accelerator="cpu", num_threads=3), example(128), 1).num_threads == 3


def test_what_is_set_is_taken() -> None:
    config = TrainerConfig(
        accelerator="cpu", num_threads=3, hold="stream", steps_per_call=7, precision="64-true", devices=2
    )
    machine = resolve(config, example(32), 1)
    assert (machine.num_threads, machine.hold, machine.steps_per_call) == (3, "stream", 7)
    assert (machine.precision, machine.devices) == ("64-true", 2)


def test_data_larger_than_half_the_free_memory_stream() -> None:
    machine = resolve(TrainerConfig(accelerator="cpu"), example(32), 10**15)
    assert machine.hold == "stream"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no cuda device here; use auto"):
        resolve(TrainerConfig(accelerator="cuda"), example(4), 1)


def place(rank: int = 0, *, size: int = 4, here: int = 2) -> Place:
    return Place(rank, size, rank % here, here, "node1", 29500)


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_one_device_unless_more_are_asked_for_or_started(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 4)
    assert num_devices(TrainerConfig(accelerator="cuda")) == 1
    assert num_devices(TrainerConfig(accelerator="cuda", devices="all")) == 4
    assert num_devices(TrainerConfig(accelerator="cuda", devices=3)) == 3
    assert num_devices(TrainerConfig(accelerator="cuda"), place()) == 2
    assert num_devices(TrainerConfig(accelerator="cpu", devices="all")) == 1
    assert num_devices(TrainerConfig(accelerator="cpu", devices=8)) == 8


def test_world_strategy_and_backend_are_resolved() -> None:
    def resolved(place: Place | None = None, **settings: object) -> tuple[int, int, str, str]:
        config = TrainerConfig(**{"accelerator": "cpu", **settings})  # type: ignore[arg-type]
        machine = resolve(config, example(32), 1, place)
        return machine.devices, machine.world_size, machine.strategy, machine.backend

    assert resolved() == (1, 1, "single", "none")
    assert resolved(strategy="fsdp") == (1, 1, "single", "none")
    assert resolved(devices=3) == (3, 3, "ddp", "gloo")
    assert resolved(place(), strategy="fsdp") == (2, 4, "fsdp", "gloo")


def test_ranks_of_a_node_share_its_memory() -> None:
    rows = example(128)
    free = psutil.virtual_memory().available
    assert resolve(TrainerConfig(accelerator="cpu"), rows, free // 8).hold == "memory"
    assert resolve(TrainerConfig(accelerator="cpu", devices=32), rows, free // 8).hold == "stream"


@pytest.mark.parametrize(
    ("settings", "started", "said"),
    [
        ({"accelerator": "cuda", "devices": 5}, None, "trainer.devices: 5 asked for, and there are 4 (cuda)"),
        ({"accelerator": "cuda", "devices": 4}, place(), "trainer.devices: 4, but 2 ranks have been started"),
        ({"accelerator": "cuda"}, place(size=16, here=8), "8 asked for, and there are 4 (cuda)"),
        ({"accelerator": "mps", "devices": 2}, None, "2 asked for, and there is 1 (mps)"),
        ({"accelerator": "mps", "strategy": "fsdp"}, place(here=1), "trainer.devices: mps has one device"),
        ({"accelerator": "cpu", "compile": True}, place(), "trainer.compile: does not go with several devices"),
        ({"accelerator": "cpu", "batch_size": 3}, place(), "trainer.batch_size: 3 rows cannot be shared by 4 ranks"),
    ],
)
def test_what_does_not_go_together_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], started: Place | None, said: str
) -> None:
    gpus(monkeypatch, 4)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ConfigError) as caught:
        num_devices(TrainerConfig(**settings), started)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_a_rank_has_its_own_gpu_of_those_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert local_device("cuda", place(3)) == torch.device("cuda", 1)
    gpus(monkeypatch, 1)  # as Slurm binds them
    assert local_device("cuda", place(3)) == torch.device("cuda", 0)
    gpus(monkeypatch, 2)
    with pytest.raises(ConfigError, match="which has 2 GPUs"):
        local_device("cuda", place(2, size=3, here=3))
