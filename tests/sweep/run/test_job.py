import json
import logging
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.errors import ConfigError, ModelError, StoreError
from flywheel.sweep.run.job import TrialJob, run
from flywheel.sweep.run.slots import claim_gpu, num_slots, visible_gpus
from flywheel.sweep.search import folder as places
from flywheel.sweep.search.settings import sweep_from
from flywheel.sweep.search.storage import storage_url
from flywheel.sweep.search.study import Study
from flywheel.sweep.search.trial import Objective

log = logging.getLogger("flywheel")


def noted(folder: Path, number: int, *, pruner: str = "none", max_failures: int = 10, study: str = "s") -> Path:
    settings = {
        "overrides": [], "study": study, "storage": storage_url(None), "max_epochs": 9, "objectives": ["score"],
        "jobs_per_gpu": 1, "max_failures": max_failures,
        "pruner": {"name": pruner, "startup_trials": 1, "warmup_epochs": 1, "reduction_factor": 2},
    }  # fmt: skip
    places.note_trial(folder, number, {"lr": str(number)}, settings)
    return folder / str(number)


def works(curve: list[float]) -> Any:
    def work(job: TrialJob) -> dict[str, Any]:
        log.info("epoch by epoch")
        done = []
        for epoch, metric in enumerate(curve):
            done.append(metric)
            if job.tell(epoch, metric):
                break
        return {"score": max(done), "epoch": len(done) - 1}

    return work


def test_a_trial_leaves_its_result_its_curve_and_its_log(
    project: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flywheel")
    place = noted(project / "sweep", 3)
    assert run(place, works([0.1, 0.3])) == 0.3
    (trial,) = places.trials_in(project / "sweep")
    assert (trial.number, trial.state, trial.score, trial.curve) == (3, "complete", 0.3, (0.1, 0.3))
    assert trial.seconds is not None
    assert "epoch by epoch" in (place / places.LOG).read_text()
    assert "epoch by epoch" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelError("no longer finite"), "no longer finite"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (MemoryError(), "ran out of memory: MemoryError"),
        (RuntimeError("CUDA out of memory. Tried"), "ran out of memory: CUDA out of memory. Tried"),
        (OSError(12, "Cannot allocate memory"), "ran out of memory: [Errno 12] Cannot allocate memory"),
    ],
)
def test_a_trial_that_fails_says_why_and_raises_nothing(project: Path, error: Exception, said: str) -> None:
    def work(job: TrialJob) -> dict[str, Any]:
        raise error

    place = noted(project / "sweep", 0)
    assert math.isnan(run(place, work))
    (trial,) = places.trials_in(project / "sweep")
    assert (trial.state, trial.error) == ("failed", said)
    text = (place / places.LOG).read_text()
    assert ("Traceback" in text) == (not isinstance(error, ModelError)), "a bug keeps its traceback"


def test_a_store_that_is_gone_is_no_trial_s_fault_and_nothing_more_begins(project: Path) -> None:
    def work(job: TrialJob) -> dict[str, Any]:
        raise StoreError("MLflow's store cannot be used")

    folder = project / "sweep"
    first, second = noted(folder, 0), noted(folder, 1)
    assert [trial.state for trial in places.trials_in(folder)] == ["waiting", "waiting"]
    for _ in range(3):
        assert math.isnan(run(first, work))
    assert places.result_of(folder, 0) is None
    assert places.fruitless_starts(folder, 0) == 0
    assert "MLflow's store cannot be used" in places.why_stopped(folder)
    assert "Traceback" not in (first / places.LOG).read_text()
    assert math.isnan(run(second, works([0.1])))
    places.clear_stop(folder)
    assert run(second, works([0.1])) == 0.1
    assert [trial.state for trial in places.trials_in(folder)] == ["waiting", "complete"]


def test_after_too_many_failures_nothing_more_begins(project: Path) -> None:
    for number in range(2):
        places.write_result(project / "sweep", number, {"score": math.nan, "error": "no"})
        noted(project / "sweep", number)
    place = noted(project / "sweep", 2, max_failures=2)
    assert math.isnan(run(place, works([0.5])))
    assert not (place / places.RESULT).exists()
    assert run(noted(project / "sweep", 2, max_failures=3), works([0.5])) == 0.5


def test_starts_count_only_while_they_bring_no_epoch(tmp_path: Path) -> None:
    place = noted(tmp_path, 0)
    for expected in (1, 2):
        places.count_start(place)
        assert places.fruitless_starts(tmp_path, 0) == expected
    places.write_curve(place, [0.5])
    assert places.fruitless_starts(tmp_path, 0) == 0
    places.count_start(place)
    noted(tmp_path, 0)  # noting it again, as a sweep that goes on does, forgets nothing
    assert places.fruitless_starts(tmp_path, 0) == 1


def test_the_worse_of_two_trials_is_stopped_by_what_another_process_may_have_told(project: Path) -> None:
    config = sweep_from({"method": "random", "pruner": {"name": "median", "startup_trials": 1}})
    study = Study("s", config, [], [Objective("accuracy", "max")], 1, 9)
    numbers = []
    for value in ("1", "2"):
        trial = study.optuna.ask()
        trial.set_user_attr("params", json.dumps({"lr": value}))
        numbers.append(trial.number)
    good, bad = (noted(project / "sweep", number, pruner="median") for number in numbers)
    assert run(good, works([0.5, 0.6, 0.7])) == 0.7
    study.tell(numbers[0], [0.7])
    assert run(bad, works([0.1, 0.1, 0.1])) == 0.1
    one, two = places.trials_in(project / "sweep")
    assert (one.state, two.state, two.curve) == ("complete", "pruned", (0.1, 0.1))


def test_a_resumed_trial_tells_an_epoch_again(project: Path) -> None:
    place = noted(project / "sweep", 0)
    places.write_curve(place, [0.1, 0.2])
    job = TrialJob(place)
    assert job.tell(1, 0.25) is False
    assert places.curve_of(place) == [0.1, 0.25]


def test_two_jobs_never_share_a_gpu_unless_they_may(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("FLYWHEEL_GPU", "")
    assert visible_gpus() == ["0", "1"]
    assert num_slots(sweep_from({"jobs_per_gpu": 2})) == 4
    assert num_slots(sweep_from({"slots": 3})) == 3
    with claim_gpu(1) as first:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # as another process sees it
        monkeypatch.setenv("FLYWHEEL_GPU", "")
        with claim_gpu(1) as second:
            assert {first, second} == {"0", "1"}
            monkeypatch.setenv("FLYWHEEL_GPU", "0")
            third = threading.Event()

            def wait() -> None:
                with claim_gpu(1):
                    third.set()

            waiter = threading.Thread(target=wait)
            waiter.start()
            assert not third.wait(1.2), "both are taken"
    waiter.join(10)
    assert third.is_set()


@pytest.mark.parametrize(("has_driver", "expected"), [(True, ["0", "1"]), (False, [])])
def test_torch_says_how_many_gpus_there_are_where_a_driver_is(
    monkeypatch: pytest.MonkeyPatch, has_driver: bool, expected: list[str]
) -> None:
    def load(name: str) -> object:
        if not has_driver:
            raise OSError(f"{name}: cannot open shared object file")
        return object()

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)  # imports torch, which loads libraries too
    monkeypatch.setattr("ctypes.CDLL", load)
    assert visible_gpus() == expected


def test_where_there_is_no_gpu_nothing_is_claimed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("FLYWHEEL_GPU", "")
    with claim_gpu(1) as gpu:
        assert gpu is None
    assert num_slots(sweep_from({})) >= 1


def test_a_job_on_several_gpus_gets_all_of_them_or_waits(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def see_all() -> None:  # as another process does
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
        monkeypatch.setenv("FLYWHEEL_GPU", "")

    see_all()
    assert [num_slots(sweep_from({"jobs_per_gpu": 2}), devices) for devices in ("auto", 2, "all", 3)] == [6, 2, 2, 2]
    with claim_gpu(1, 2) as pair:
        assert pair == os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        see_all()
        done = threading.Event()

        def work() -> None:
            with claim_gpu(1, 2):
                done.set()

        waiter = threading.Thread(target=work)
        waiter.start()
        assert not done.wait(1.2), "one is free, and two are wanted"
        with claim_gpu(1) as single:
            assert single == "2", "the one that waits for two holds none meanwhile"
        see_all()
    waiter.join(10)
    assert done.is_set()
    see_all()
    with pytest.raises(ConfigError, match="4 GPUs are wanted, and this job may use 3"), claim_gpu(1, 4):
        pass
