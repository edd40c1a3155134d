"""Hydra's composition of `conf/`: the text of `params.yaml`, and one clear line for a mistyped key or group.

Only this module and the training application import Hydra; the stages read what it composed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from flywheel.project.digest import sha256_of_code, sha256_of_json
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.hydra_guard import refuse_environment, without_hydra
from flywheel.project.lightning_words import refuse
from flywheel.project.params import state_dir, task_from
from flywheel.project.whole import whole_file

Check = Callable[[Any, str, Path], None]
"""Checks a composed task (its settings, its dotted key, the project), and raises ConfigError."""
HYDRA_VERSION_BASE = "1.3"
PLOTS = "artifacts/dvc.yaml"
_STARTS_FROM = "name its place where it starts from another: `- digits@_here_` in its defaults, not `- digits`"


def compose_params(root: Path, overrides: Sequence[str] = (), *, check: Check | None = None) -> str:
    """Compose `conf/config.yaml` into the text of `params.yaml`, byte for byte as `dvc exp run` would.

    Args:
        root: The project folder.
        overrides: Hydra overrides, such as `model@tasks.fashion.model=cnn`.
        check: Checks each task's keys, types and targets; None: they are not checked.

    Raises:
        ConfigError: A group, key or value is wrong.
    """
    from omegaconf import OmegaConf

    config = compose(root, "config", overrides)
    plain = as_plain(config)
    if "data" in plain:
        raise ConfigError("a task that starts from another lands at the root", where="conf/task/", fix=_STARTS_FROM)
    if check:
        for name, task in (plain.get("tasks") or {}).items():
            check(task, f"tasks.{name}", root)
            if task["name"] != name:
                fix = f"set name: {name} in conf/task/"
                raise ConfigError(f"named '{task['name']}'", where=f"tasks.{name}", fix=fix)
    return str(OmegaConf.to_yaml(config, resolve=True))


def compose_task(
    root: Path,
    overrides: Sequence[str] = (),
    *,
    check: Check | None = None,
    launcher: Sequence[str] = (),
    alone: Any = None,
) -> dict[str, Any]:
    """Compose `conf/train.yaml`: one task at the root, as plain data, without the settings of a sweep.

    Args:
        root: The project folder.
        overrides: The overrides that the task was composed with.
        check: Checks the task's keys, types and targets; None: the schema alone is held against it.
        launcher: Overrides of Hydra's launcher.
        alone: `conf/train.yaml` composed without a task; None: it is composed here.

    Raises:
        ConfigError: A group, key or value is wrong.
    """
    composed = compose(root, "train", [*launcher, *overrides], with_hydra=True)
    without = alone or compose(root, "train", [*launcher, "~task"], with_hydra=True)
    plain = as_plain(without_hydra(composed, without))
    if set(plain) - {"sweep", "callbacks", "logger"} == {"task"}:
        fix = "make `# @package _global_` its very first line"
        raise ConfigError("does not stand at the root", where=f"conf/task/{plain['task'].get('name')}.yaml", fix=fix)
    plain.pop("sweep", None)
    for group in ("callbacks", "logger"):  # of conf/train.yaml: a task in conf/config.yaml has neither
        plain = {key: value for key, value in plain.items() if key != group or value}
    task_from(plain, "")
    if check:
        check(plain, "", root)
    return plain


def write_params(root: Path, check: Check) -> bool:
    """Write `params.yaml`, and the plots of its tasks, from `conf/`, if they differ.

    Args:
        root: The project folder.
        check: Function that checks each task.

    Returns:
        Whether `params.yaml` was rewritten.

    Raises:
        ConfigError: `conf/` does not compose.
    """
    record = {"conf": conf_state(root), "code": code_state(root)}
    if _record() == record and (root / PLOTS).is_file():
        return False
    text = compose_params(root, check=check)
    make_feedback_folders(root, text)
    changed = _write_if_other(root / "params.yaml", text)
    _write_if_other(root / PLOTS, plots_of(text))
    _remember({"conf": conf_state(root), "code": code_state(root)})
    return changed


def _write_if_other(file: Path, text: str) -> bool:
    if file.is_file() and file.read_text() == text:
        return False
    with whole_file(file) as part:
        part.write_text(text)
    return True


def plots_of(params: str) -> str:
    """Write the `plots:` of all tasks, as a dvc.yaml has them: DVC knows no `foreach` there.

    Args:
        params: The text of `params.yaml`.

    Returns:
        The text of `artifacts/dvc.yaml`, whose paths are relative to its folder. A plot is of one task.
    """
    plots = []
    for task, settings in yaml.safe_load(params)["tasks"].items():
        for name, plot in settings["metric"].get("plots", {}).items():
            files = {f"{task}/{file}": columns for file, columns in plot["y"].items()}
            plots.append({f"{task}, {name}": plot | {"title": f"{task}, {plot.get('title', name)}", "y": files}})
    head = "# `dvc plots show` draws these by the templates in .dvc/plots; "
    head += "`flywheel params` writes them from metric.plots.\n"
    return head + yaml.safe_dump({"plots": plots}, sort_keys=False, width=120)


def make_feedback_folders(root: Path, text: str) -> None:
    """Give each task a folder for feedback: DVC refuses a dependency that does not exist, even an empty one."""
    for name in yaml.safe_load(text)["tasks"]:
        keep = root / "data" / "feedback" / name / ".gitkeep"
        keep.parent.mkdir(parents=True, exist_ok=True)
        keep.touch()


def is_stale(root: Path) -> bool:
    """Whether `params.yaml` differs from what `conf/` composes to; composes only where either has changed."""
    state = conf_state(root)
    if _record().get("conf") == state:
        return False
    file = root / "params.yaml"
    if not file.is_file() or file.read_text() != compose_params(root):
        return True
    _remember({"conf": state, "code": ""})
    return False


def conf_state(root: Path) -> str:
    """Hash `conf/` and `params.yaml`."""
    files = [*sorted((root / "conf").rglob("*.yaml")), root / "params.yaml"]
    return sha256_of_json([[file.relative_to(root).as_posix(), file.read_text()] for file in files if file.is_file()])


def code_state(root: Path) -> str:
    """Hash the code that targets are checked against."""
    return sha256_of_code(root, ["src/flywheel"])


def _remember(record: dict[str, str]) -> None:
    """Note that `params.yaml` is what `conf/` composes to, so that the next check is cheap."""
    state_dir().mkdir(parents=True, exist_ok=True)
    (state_dir() / "params.json").write_text(json.dumps(record) + "\n")


def _record() -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((state_dir() / "params.json").read_text())
    except (OSError, ValueError):
        return {}
    return record


def compose(root: Path, name: str, overrides: Sequence[str], *, with_hydra: bool = False) -> Any:
    """Compose one of the files at the top of `conf/`, as OmegaConf gives it.

    Args:
        root: The project folder.
        name: The file, without its ending.
        overrides: Overrides in Hydra's syntax.
        with_hydra: Whether the settings of Hydra itself are kept.

    Raises:
        ConfigError: A group, key or value is wrong.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from hydra_plugins.flywheel_code import fill_in

    refuse_environment()
    with initialize_config_dir(str(root / "conf"), version_base=HYDRA_VERSION_BASE):
        try:
            composed = hydra_compose(name, overrides=list(overrides), return_hydra_config=with_hydra)
        except MissingConfigException as error:
            raise _missing_group(error, overrides) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise _wrong_override(error, lambda: hydra_compose(name), root / "conf") from None
        except YAMLError as error:
            raise ConfigError(f"no YAML: {_joined(error)}", where="conf/") from None
    fill_in(composed, root)
    return composed


def _missing_group(error: Any, overrides: Sequence[str]) -> ConfigError:
    """The error of a group's unknown option; it names what was typed, not the file that would have been loaded."""
    wanted = str(error.missing_cfg_file or "")
    group, _, option = wanted.rpartition("/")
    options = list(error.options or [])
    where = re.search(r"In '([^']+)'", str(error))
    is_typed = any(re.search(rf"={re.escape(option)}\b", word) for word in overrides)
    file = f"conf/{where[1]}.yaml" if where and where[1] != "train" else "command line or conf/"
    place = "command line" if is_typed else file
    return ConfigError(f"no '{option}' in conf/{group}/", where=place, fix=nearest(option, options))


def _wrong_override(error: Exception, plain: Any, conf: Path) -> ConfigError:
    """The error of an unknown key, or another one of Hydra's."""
    if inside := re.search(r"In 'task/([^']+)': Could not override '[^']+@tasks\.", str(error)):
        where = f"conf/task/{inside[1]}.yaml"
        return ConfigError("a group that it overrides is not in its place", where=where, fix=_STARTS_FROM)
    if twice := re.search(r"(?:Multiple values for|^) ?(callbacks|logger)(?:\.| appears more than once)", str(error)):
        fix = "write its keys there, not an option, as docs/from-other-tools.md has it"
        return ConfigError(f"a task chooses an option of '{twice[1]}'", where="conf/task/", fix=fix)
    found = re.search(r"Could not override '([^']+)'", str(error))
    if not found:
        return ConfigError(_first_line(error), where="conf/ or command line")
    key = found[1]
    if argument := re.match(r"(.*\btrainer)\.(\w+)", key):
        refuse(argument[2], None, argument[1])
    if key == "experiment":
        fix = f"write +{key}=NAME, with a plus: {', '.join(sorted(one.stem for one in (conf / key).glob('*.yaml')))}"
        return ConfigError(f"'{key}' is not part of a task", where="command line", fix=fix)
    try:
        known = _dotted(plain())
    except Exception as other:  # noqa: BLE001 - the first error is the one to tell
        return ConfigError(f"no key '{key}' ({_first_line(other)})", where="command line")
    if key in known:
        fix = f"pick a file ({key}=NAME) or set one of its keys ({key}.KEY=VALUE)"
        return ConfigError(f"'{key}' is a group, not a value", where="command line", fix=fix)
    return ConfigError(f"no key or group '{key}'", where="command line", fix=nearest(key, known))


def _dotted(config: Any) -> set[str]:
    from flywheel.project.flatten import flatten

    keys: set[str] = set()
    for key in flatten(as_plain(config)):
        parts = key.split(".")
        keys.update(".".join(parts[: i + 1]) for i in range(len(parts)))
    return keys


def as_plain(config: Any) -> dict[str, Any]:
    """A composed configuration as plain data, interpolations resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        where = f"conf/ ({error.full_key})" if error.full_key else "conf/"
        raise ConfigError(_first_line(error), where=where, fix="fix the ${...} there") from None


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.removeprefix("ConfigError raised while resolving interpolation: ")  # the message is ours already


def _joined(error: Exception) -> str:
    return " ".join(str(error).split())
