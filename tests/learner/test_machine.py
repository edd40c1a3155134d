import psutil
import pytest
import torch

from flywheel.config import TrainerConfig
from flywheel.errors import ConfigError
from flywheel.learner.machine import num_devices, resolve
from flywheel.learner.ranks import local_device
from flywheel.learner.world import Place
from flywheel.model.cnn import CNN
from flywheel.model.mlp import MLP
from flywheel.model.network import Network

SPEC = {"image": {"shape": [1, 28, 28], "mean": [0.0], "std": [255.0]}}


def example(batch_size: int) -> dict[str, torch.Tensor]:
    return {"image": torch.zeros(batch_size, 1, 28, 28, dtype=torch.uint8)}


def test_a_small_network_gets_one_thread_and_a_large_one_all() -> None:
    small = resolve(TrainerConfig(accelerator="cpu"), Network(MLP(784, 10), SPEC), example(32), 1)
    large = resolve(TrainerConfig(accelerator="cpu"), Network(CNN(1, 10), SPEC), example(128), 1)
    assert small.threads == 1
    assert large.threads == torch.get_num_threads()


def test_what_is_set_is_taken() -> None:
    config = TrainerConfig(
        accelerator="cpu", threads=3, hold="stream", steps_per_call=7, precision="64-true", devices=2
    )
    machine = resolve(config, Network(MLP(784, 10), SPEC), example(32), 1)
    assert (machine.threads, machine.hold, machine.steps_per_call) == (3, "stream", 7)
    assert (machine.precision, machine.devices) == ("64-true", 2)


def test_data_larger_than_half_the_free_memory_stream() -> None:
    machine = resolve(TrainerConfig(accelerator="cpu"), Network(MLP(784, 10), SPEC), example(32), 10**15)
    assert machine.hold == "stream"


def test_looking_does_not_change_the_network() -> None:
    network = Network(CNN(1, 10), SPEC)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    resolve(TrainerConfig(accelerator="cpu"), network, example(8), 1)
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no cuda device here; use auto"):
        resolve(TrainerConfig(accelerator="cuda"), Network(MLP(784, 10), SPEC), example(4), 1)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("threads", 0, "neither 'auto' nor a whole number"),
        ("devices", "two", "trainer.devices"),
    ],
)
def test_numbers_that_are_none_are_refused(key: str, value: object, said: str) -> None:
    config = TrainerConfig(**{"accelerator": "cpu", key: value})
    with pytest.raises(ConfigError, match=said):
        resolve(config, Network(MLP(784, 10), SPEC), example(4), 1)


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
        machine = resolve(config, Network(MLP(784, 10), SPEC), example(32), 1, place)
        return machine.devices, machine.world_size, machine.strategy, machine.backend

    assert resolved() == (1, 1, "single", "none")
    assert resolved(strategy="fsdp") == (1, 1, "single", "none")
    assert resolved(devices=3) == (3, 3, "ddp", "gloo")
    assert resolved(place(), strategy="fsdp") == (2, 4, "fsdp", "gloo")


def test_ranks_of_a_node_share_its_threads_and_its_memory() -> None:
    network, rows = Network(CNN(1, 10), SPEC), example(128)
    several = resolve(TrainerConfig(accelerator="cpu", devices=64, batch_size=64), network, rows, 1)
    assert several.threads == 1
    free = psutil.virtual_memory().available
    assert resolve(TrainerConfig(accelerator="cpu"), network, rows, free // 8).hold == "memory"
    assert resolve(TrainerConfig(accelerator="cpu", devices=32), network, rows, free // 8).hold == "stream"


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
