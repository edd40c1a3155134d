import pytest

from flywheel.learner.ranks.world import PARENT, Place, first_host, place_from, without_place
from flywheel.project.errors import ConfigError

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2",
}  # fmt: skip
SLURM = {
    "SLURM_JOB_ID": "1234", "SLURM_STEP_ID": "1", "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_LOCALID": "0", "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "gpu[07-09,12]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}  # fmt: skip


def test_torchrun_says_the_place() -> None:
    place = place_from(TORCHRUN)
    assert place == Place(3, 4, 1, 2, "node1", 29500, hosted=True, attempt=2)


def test_what_rank_0_gives_its_ranks_reads_the_same() -> None:
    place = Place(1, 2, 1, 2, "127.0.0.1", 4711)
    assert place_from(place.environment()) == place


def test_slurm_says_the_place_and_all_tasks_of_a_step_agree_on_the_port() -> None:
    place = place_from(SLURM)
    assert place is not None
    assert (place.rank, place.size, place.local_rank, place.local_size) == (2, 3, 0, 1)
    assert (place.address, place.hosted) == ("gpu07", False)
    first = place_from({**SLURM, "SLURM_PROCID": "0", "SLURM_NODEID": "0"})
    assert first is not None
    assert (first.port, first.local_size) == (place.port, 2)
    other = place_from({**SLURM, "SLURM_STEP_ID": "2"})
    assert other is not None
    assert other.port != place.port
    told = place_from({**SLURM, "MASTER_ADDR": "elsewhere", "MASTER_PORT": "5000"})
    assert told is not None
    assert (told.address, told.port) == ("elsewhere", 5000)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"},
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},  # a submitit job, or `srun` of one task
        {name: value for name, value in SLURM.items() if not name.startswith("SLURM_STEP_")},  # the batch script itself
    ],
)
def test_a_process_of_its_own_has_no_place(environment: dict[str, str]) -> None:
    assert place_from(environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, "MASTER_ADDR: is not set, though this is one of several ranks"),
        ({**TORCHRUN, "MASTER_PORT": "http"}, "MASTER_PORT: 'http' is not a whole number"),
        ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "2("}, "is not a list of counts"),
        ({**SLURM, "SLURM_STEP_NODELIST": "[1]"}, "is not a list of nodes; set MASTER_ADDR"),
    ],
)
def test_half_a_place_is_one_line(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place_from(environment)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu07", "gpu07"),
        ("a,b", "a"),
        ("gpu[07-09,12]", "gpu07"),
        ("n[3,5]-ib,login", "n3-ib"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_program_that_is_no_rank_inherits_no_place() -> None:
    left = without_place({**TORCHRUN, **SLURM, PARENT: "1", "PATH": "/bin", "SLURM_JOB_PARTITION": "gpu"})
    assert place_from(left) is None
    assert left["PATH"] == "/bin"
    assert left["SLURM_JOB_PARTITION"] == "gpu"
