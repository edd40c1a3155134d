"""Hydra's composition of `conf/`: the text of `params.yaml`, and one clear line for a mistyped key or group.

Only this module and the training application import Hydra; the stages read what it composed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from flywheel.config import TaskConfig
from flywheel.digest import sha256_of_code, sha256_of_json
from flywheel.errors import ConfigError, nearest
from flywheel.hydra_guard import refuse_environment, without_hydra
from flywheel.instantiate import check_targets
from flywheel.params import project_root, state_dir, task_from
from flywheel.stage import whole_file
from flywheel.task_check import check_values, explained

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from flywheel.sweep.settings import SweepConfig
    from flywheel.sweep.space import Dimension

HYDRA_VERSION_BASE = "1.3"
_STARTS_FROM = "name its place where it starts from another: `- digits@_here_` in its defaults, not `- digits`"


def compose_params(root: Path, overrides: Sequence[str] = (), *, check: bool = True) -> str:
    """Compose `conf/config.yaml` into the text of `params.yaml`, byte for byte as `dvc exp run` would.

    Args:
        root: The project.
        overrides: Hydra overrides, such as `model@tasks.fashion.model=cnn`.
        check: Whether keys, types and targets are checked too (which imports torch).

    Raises:
        ConfigError: A group, key or value is wrong.
    """
    from omegaconf import OmegaConf

    config = _compose(root, "config", overrides)
    plain = _plain(config)
    if "data" in plain:
        raise ConfigError("a task that starts from another lands at the root", where="conf/task/", mend=_STARTS_FROM)
    for name, task in (plain.get("tasks") or {}).items() if check else ():
        check_task(task, f"tasks.{name}", root)
        if task["name"] != name:
            raise ConfigError(f"named '{task['name']}'", where=f"tasks.{name}", mend=f"set name: {name} in conf/task/")
    return str(OmegaConf.to_yaml(config, resolve=True))


def compose_task(root: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose `conf/train.yaml`: one task at the root, as plain data, without the settings of a sweep.

    Raises:
        ConfigError: A group, key or value is wrong.
    """
    plain = _task_of(root, overrides)
    check_task(plain, "", root)
    return plain


def _task_of(root: Path, overrides: Sequence[str], launcher: Sequence[str] = (), alone: Any = None) -> dict[str, Any]:
    """The same, with the targets not looked at: that imports torch. `alone` is what composes without a task."""
    composed = _compose(root, "train", [*launcher, *overrides], with_hydra=True)
    plain = _plain(without_hydra(composed, alone or _compose(root, "train", [*launcher, "~task"], with_hydra=True)))
    if set(plain) - {"sweep"} == {"task"}:
        mend = "make `# @package _global_` its very first line"
        raise ConfigError("does not stand at the root", where=f"conf/task/{plain['task'].get('name')}.yaml", mend=mend)
    plain.pop("sweep", None)
    task_from(plain, "")
    return plain


def check_task(task: Any, where: str, root: Path) -> None:
    """Check all that can be known of a composed task before there are data; raises ConfigError."""
    task_from(task, where)
    try:
        check_targets(TaskConfig, task, where)
    except ConfigError as error:
        raise explained(error, task, root) from None
    check_values(task, where)


def write_params(root: Path) -> bool:
    """Write `params.yaml` from `conf/`, if it differs.

    Returns:
        Whether it was rewritten.

    Raises:
        ConfigError: `conf/` does not compose.
    """
    record = {"conf": conf_state(root), "code": code_state(root)}
    if _record() == record:
        return False
    text = compose_params(root)
    make_feedback_folders(root, text)
    file = root / "params.yaml"
    changed = not file.is_file() or file.read_text() != text
    if changed:
        with whole_file(file) as part:
            part.write_text(text)
    _remember({"conf": conf_state(root), "code": code_state(root)})
    return changed


def make_feedback_folders(root: Path, text: str) -> None:
    """Give each task a folder for feedback: DVC refuses a dependency that is not there, be it empty."""
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
    if not file.is_file() or file.read_text() != compose_params(root, check=False):
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
    """Note that `params.yaml` is what `conf/` composes to, so that the next look is cheap."""
    state_dir().mkdir(parents=True, exist_ok=True)
    (state_dir() / "params.json").write_text(json.dumps(record) + "\n")


@dataclass(frozen=True)
class CommandLine:
    """What a command line's overrides compose to, its targets not yet looked at.

    Attributes:
        sweep: The settings of a sweep.
        space: What is searched; empty: nothing.
        launcher: Hydra's, which runs the trials.
        tasks: The task's settings, once for each value that is tried.
    """

    sweep: SweepConfig
    space: list[Dimension]
    launcher: DictConfig
    tasks: list[dict[str, Any]]

    def check_targets(self) -> None:
        """Check what only the targets know; imports torch.

        Raises:
            ConfigError: A target is not there, or does not take an argument or its value.
        """
        for task in self.tasks:
            check_task(task, "", project_root())


def compose_command_line(overrides: Sequence[str]) -> CommandLine:
    """Compose a command line's overrides before anything starts, each value of a sweep on its own.

    Raises:
        ConfigError: An override names a group or key that does not exist, or cannot be parsed.
    """
    from flywheel.sweep.settings import sweep_from
    from flywheel.sweep.space import dimensions, overrides_of, parse, split

    root = project_root()
    parsed = parse(overrides)
    launcher = [str(one.input_line) for one in parsed if one.key_or_group.startswith(("hydra/", "hydra.launcher"))]
    base, swept = split([one for one in parsed if not one.is_hydra_override()])
    composed = _compose(root, "train", [*launcher, *base], with_hydra=True)
    alone = _compose(root, "train", [*launcher, "~task"], with_hydra=True)
    sweep = sweep_from(_plain(composed.sweep) if composed.get("sweep") else None)
    space = dimensions(sweep.params, swept, sweep.method)
    firsts: dict[str, str] = {}
    for dimension in space:
        if dimension.exists(firsts):
            firsts[dimension.key] = dimension.samples[0]
    tasks = [_task_of(root, [*base, *overrides_of(firsts)], launcher, alone)]
    for dimension in space:
        parent, _, needed = dimension.when.partition("=")
        others = firsts | ({parent: needed} if parent else {})
        for value in dimension.samples[1 if dimension.key in firsts else 0 : 20]:
            params = {**others, dimension.key: value}
            kept = {one.key: params[one.key] for one in space if one.key in params and one.exists(params)}
            tasks.append(_task_of(root, [*base, *overrides_of(kept)], launcher, alone))
    return CommandLine(sweep, space, composed.hydra.launcher, tasks)


def _record() -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((state_dir() / "params.json").read_text())
    except (OSError, ValueError):
        return {}
    return record


def _compose(root: Path, name: str, overrides: Sequence[str], *, with_hydra: bool = False) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    refuse_environment()
    with initialize_config_dir(str(root / "conf"), version_base=HYDRA_VERSION_BASE):
        try:
            return compose(name, overrides=list(overrides), return_hydra_config=with_hydra)
        except MissingConfigException as error:
            raise _missing_group(error, overrides) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise _wrong_override(error, lambda: compose(name)) from None
        except YAMLError as error:
            raise ConfigError(f"no YAML: {_joined(error)}", where="conf/") from None


def _missing_group(error: Any, overrides: Sequence[str]) -> ConfigError:
    """A group's option that is not there; the file that it was to be taken for is not to blame for what was typed."""
    wanted = str(error.missing_cfg_file or "")
    group, _, option = wanted.rpartition("/")
    options = list(error.options or [])
    where = re.search(r"In '([^']+)'", str(error))
    is_typed = any(re.search(rf"={re.escape(option)}\b", word) for word in overrides)
    file = f"conf/{where[1]}.yaml" if where and where[1] != "train" else "command line or conf/"
    place = "command line" if is_typed else file
    return ConfigError(f"no '{option}' in conf/{group}/", where=place, mend=nearest(option, options))


def _wrong_override(error: Exception, plain: Any) -> ConfigError:
    """A key that is not there, or something else that Hydra says."""
    if inside := re.search(r"In 'task/([^']+)': Could not override '[^']+@tasks\.", str(error)):
        where = f"conf/task/{inside[1]}.yaml"
        return ConfigError("a group that it overrides is not in its place", where=where, mend=_STARTS_FROM)
    found = re.search(r"Could not override '([^']+)'", str(error))
    if not found:
        return ConfigError(_first_line(error), where="conf/ or command line")
    key = found[1]
    try:
        known = _dotted(plain())
    except Exception as other:  # noqa: BLE001 - the first error is the one to tell
        return ConfigError(f"no key '{key}' ({_first_line(other)})", where="command line")
    if key in known:
        mend = f"pick a file ({key}=NAME) or set one of its keys ({key}.KEY=VALUE)"
        return ConfigError(f"'{key}' is a group, not a value", where="command line", mend=mend)
    return ConfigError(f"no key or group '{key}'", where="command line", mend=nearest(key, known))


def _dotted(config: Any) -> set[str]:
    from flywheel.flatten import flatten

    keys: set[str] = set()
    for key in flatten(_plain(config)):
        parts = key.split(".")
        keys.update(".".join(parts[: i + 1]) for i in range(len(parts)))
    return keys


def _plain(config: Any) -> dict[str, Any]:
    """A composed configuration as plain data, interpolations resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        where = f"conf/ ({error.full_key})" if error.full_key else "conf/"
        raise ConfigError(_first_line(error), where=where, mend="mend the ${...} there") from None


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.removeprefix("ConfigError raised while resolving interpolation: ")  # the message is ours already


def _joined(error: Exception) -> str:
    return " ".join(str(error).split())
