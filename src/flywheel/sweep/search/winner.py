"""Which run a name means, and with which overrides it was trained: the best trial of a sweep, or a run of its own."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flywheel.project.errors import ConfigError, nearest
from flywheel.project.params import home_root, state_dir
from flywheel.sweep.search.folder import RESULT, read_if_there
from flywheel.sweep.show.folds import VARIED, key_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OVERRIDES, BEST, SWEEP, PARENT = "flywheel.overrides", "flywheel.best", "flywheel.sweep", "mlflow.parentRunId"
BEST_MODEL = "flywheel.best_model_sha256"
SHORTEST = 6
FORMS = "give a run's id (6 characters of it will do) or name, a sweep's name or folder, or a trial's folder"


@dataclass(frozen=True)
class Winner:
    """The settings to adopt.

    Attributes:
        name: The reference that it was found by.
        task: The option of `conf/task/`.
        overrides: Overrides that it stands for.
        run_id: A run that was trained with them.
        trained_with: Overrides of that run: in a sweep over folds or seeds there are more of them.
        model_sha256: The sha256 of its weights; empty where the winner is a mean over folds or seeds.
    """

    name: str
    task: str
    overrides: list[str]
    run_id: str
    trained_with: list[str]
    model_sha256: str


def find_winner(name: str, task: str | None = None) -> Winner:
    """Find what a name means.

    Args:
        name: A run's id, a part of it from the start, or name; a sweep's name or folder; a trial's folder.
        task: The only task whose runs and sweeps are looked at; None: all.

    Raises:
        ConfigError: Nothing, or more than one thing, has this name; or there is nothing to adopt from it.
    """
    from flywheel.project.tracking import prepare, store_must_work

    client = prepare()
    with store_must_work():
        experiments = _experiments(client, task)
        run = _run_of_folder(client, name, task, experiments) or _run_named(client, name, experiments)
        tags = run.data.tags
        if PARENT not in tags and (SWEEP in tags or BEST in tags):
            return _of_sweep(client, run, name)
        return _of_run(run, name)


def settings_of(run_id: str) -> Any:
    """The whole task as the run was trained with it; None where the store does not have it."""
    from flywheel.project.tracking import prepare, store_must_work

    client = prepare()
    with store_must_work(), tempfile.TemporaryDirectory() as folder:
        if not any(file.path == "config.yaml" for file in client.list_artifacts(run_id)):
            return None
        return yaml.safe_load(Path(client.download_artifacts(run_id, "config.yaml", folder)).read_text())


def num_epochs(run_id: str) -> int:
    """How many epochs a run has trained; 0 where it does not say."""
    from flywheel.project.tracking import prepare, store_must_work

    with store_must_work():
        history = prepare().get_metric_history(run_id, "validation/loss")
    return len({metric.step for metric in history})


def _experiments(client: MlflowClient, task: str | None) -> list[str]:
    if task is None:
        return [one.experiment_id for one in client.search_experiments()]
    found = client.get_experiment_by_name(task)
    if found is None:
        known = [one.name for one in client.search_experiments()]
        raise ConfigError(f"no runs of a task '{task}'", where="--task", fix=nearest(task, known))
    return [found.experiment_id]


def _run_of_folder(client: MlflowClient, name: str, task: str | None, experiments: list[str]) -> Run | None:
    """The run of a sweep's, a trial's or a training's folder; None where the name is no such folder's."""
    places = _folders(name, task)
    if len(places) > 1:
        tasks = ", ".join(place.parent.name for place in places)
        raise ConfigError(f"is the name of {len(places)} sweeps ({tasks})", where=name, fix="say which with --task")
    if not places:
        return None
    parent = read_if_there(places[0] / "parent.json")
    if parent is not None:
        found = list(client.search_runs(experiments, f"attributes.run_id = '{parent['run_id']}'"))
    else:
        result = read_if_there(places[0] / RESULT) or {}
        if not result.get("model_sha256"):
            why = result.get("error") or "it has not ended"
            raise ConfigError(f"has no model: {why}", where=name, fix="adopt one that ended well")
        found = client.search_runs(experiments, f"tags.model_sha256 = '{result['model_sha256']}'")
        sweep = read_if_there(places[0].parent / "parent.json") or {}
        # The pipeline's own run, after an adoption, has the same weights.
        found = [
            run for run in found if OVERRIDES in run.data.tags and run.data.tags.get(PARENT) == sweep.get("run_id")
        ]
    if not found:
        fix = "look in the store that it came from (MLFLOW_TRACKING_URI)"
        raise ConfigError("its run is not in the MLflow store", where=name, fix=fix)
    return found[0]


def _folders(name: str, task: str | None) -> list[Path]:
    """The folders of sweeps and trainings that a name can mean."""
    sweeps, signs = state_dir() / "sweeps", ("parent.json", RESULT)
    tasks = [sweeps / task] if task else sorted(sweeps.glob("*"))
    for places in ([Path(name).expanduser(), home_root() / name, sweeps / name], [folder / name for folder in tasks]):
        found = {place.resolve() for place in places if any((place / sign).is_file() for sign in signs)}
        if found:
            return sorted(found)
    unfinished = Path(name).expanduser()
    return [unfinished] if (unfinished / "trial.json").is_file() else []


def _run_named(client: MlflowClient, name: str, experiments: list[str]) -> Run:
    queries = [f"tags.`{SWEEP}` = {_quoted(name)}", f"attributes.run_name LIKE {_quoted(name)}"]
    if re.fullmatch(rf"[0-9a-f]{{{SHORTEST},32}}", name):
        queries.append(f"attributes.run_id LIKE '{name}%'")
    runs = {run.info.run_id: run for query in queries for run in client.search_runs(experiments, query)}
    found = [run for run in runs.values() if _is_named(run, name)]
    if not found:
        sweeps = [place.name for place in (state_dir() / "sweeps").glob("*/*")]
        near = nearest(name, sweeps) if sweeps else ""
        raise ConfigError("no run and no sweep has this name", where=name, fix=near if "did you" in near else FORMS)
    newest = max(found, key=lambda run: int(run.info.start_time))
    # The same training done twice is one thing to adopt.
    if len({(run.data.tags.get(OVERRIDES), run.data.tags.get("model_sha256", run.info.run_id)) for run in found}) > 1:
        listed = ", ".join(f"{run.info.run_id[:10]} ({run.info.run_name})" for run in found[:4])
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        raise ConfigError(f"can mean {listed}{more}", where=name, fix="give more of the id, or --task")
    return newest


def _quoted(name: str) -> str:
    """A pattern for a query; a quote, which cannot stand there, becomes the sign for any character."""
    return "'" + name.replace("'", "_") + "'"


def _is_named(run: Run, name: str) -> bool:
    """Whether a run that a query found, whose patterns are wide, is really meant."""
    is_sweep = run.data.tags.get(SWEEP) == name and PARENT not in run.data.tags
    is_id = len(name) >= SHORTEST and str(run.info.run_id).startswith(name)
    return is_sweep or is_id or run.info.run_name == name


def _of_run(run: Run, name: str) -> Winner:
    tags = run.data.tags
    if OVERRIDES not in tags:
        fix = "its settings are those of conf/ at its commit; name a run of python -m flywheel.train"
        raise ConfigError("is a run of the pipeline, without overrides to adopt", where=name, fix=fix)
    if "model_sha256" not in tags:
        raise ConfigError(f"has no model: its run is {run.info.status}", where=name, fix="adopt one that ended well")
    words = shlex.split(tags[OVERRIDES])
    return Winner(name, _task_of(words, run), words, run.info.run_id, words, tags["model_sha256"])


def _of_sweep(client: MlflowClient, run: Run, name: str) -> Winner:
    tags = run.data.tags
    query = f"tags.`{PARENT}` = '{run.info.run_id}'"
    children = client.search_runs([run.info.experiment_id], query, max_results=5000)
    trained = {child.info.run_id: shlex.split(child.data.tags.get(OVERRIDES, "")) for child in children}
    _some_setting_must_vary(list(trained.values()), name)
    if BEST not in tags:
        fix = "wait for it, see why its trials failed, or adopt one of them by its id"
        raise ConfigError(f"the sweep has no winner, its run is {run.info.status}", where=name, fix=fix)
    best, model = shlex.split(tags[BEST]), tags.get(BEST_MODEL, "")
    for child in children:
        words, has = trained[child.info.run_id], child.data.tags.get("model_sha256", "")
        if (has == model) if model else (has and _same_but_varied(words, best)):
            return Winner(name, _task_of(best, run), best, child.info.run_id, words, model)
    fix = "it was deleted; adopt another run by its id"
    raise ConfigError("the best trial's run is not in the MLflow store", where=name, fix=fix)


def _some_setting_must_vary(trained: Sequence[Sequence[str]], name: str) -> None:
    """Refuse a sweep that says how sure a score is, not which setting is best."""
    whole = {tuple(words) for words in trained}
    settings = {tuple(word for word in words if key_of(word) not in VARIED) for words in trained}
    if len(whole) > 1 and len(settings) == 1:
        fix = "sweep over settings too, or adopt one of its runs by its id"
        raise ConfigError("varies only folds and seeds, so that no setting has won", where=name, fix=fix)


def _same_but_varied(words: Sequence[str], best: Sequence[str]) -> bool:
    return [word for word in words if word in best or key_of(word) not in VARIED] == list(best)


def _task_of(words: Sequence[str], run: Run) -> str:
    named = [word.partition("=")[2] for word in words if key_of(word) == "task"]
    return named[-1] if named else str(run.data.tags["flywheel.task"])
