import pytest
import torch

from flywheel.config import TrainerConfig
from flywheel.errors import ConfigError
from flywheel.learner.machine import resolve
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
