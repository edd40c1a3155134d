"""What settings cannot do through Hydra itself: run code, or take secrets from the environment into `params.yaml`.

Hydra builds its callbacks, its logging and whatever stands in a launcher's settings from names in YAML, before any
setting is checked, and a task's file could set them. They are the project's own (`conf/train.yaml`, `conf/hydra/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flywheel.project.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

NO_LOGGING = {"version": 1, "root": None, "disable_existing_loggers": False}
_NOTES = ("overrides", "runtime")  # of what was composed: they name the task
_FIX = "Hydra's settings belong in conf/train.yaml and conf/hydra/, and name no code"


def without_hydra(composed: DictConfig, alone: DictConfig) -> DictConfig:
    """Take Hydra's own settings out of what was composed, after checking them.

    Args:
        composed: A task with the key `hydra`.
        alone: The same without any task.

    Raises:
        ConfigError: The task sets something of Hydra's, or Hydra's settings name code.
    """
    from omegaconf import OmegaConf, open_dict

    _check(OmegaConf.to_container(composed.hydra), OmegaConf.to_container(alone.hydra))
    with open_dict(composed):
        del composed["hydra"]
    return composed


def _check(given: Any, own: Any) -> None:
    given["job"]["override_dirname"] = own["job"]["override_dirname"]
    for key, value in own.items():
        if key not in _NOTES and given.get(key) != value:
            raise ConfigError("is set by a task", where=f"hydra.{key}", fix=_FIX)
    if own["callbacks"]:
        raise ConfigError("names code to run", where="hydra.callbacks", fix=_FIX)
    for key in ("job_logging", "hydra_logging"):
        if own[key] != NO_LOGGING:
            raise ConfigError("is not 'none'", where=f"hydra.{key}", fix=_FIX)
    for key in ("launcher", "sweeper"):
        if _names_code({name: value for name, value in own[key].items() if name != "_target_"}):
            raise ConfigError("names code to run", where=f"hydra.{key}", fix=_FIX)


def refuse_environment() -> None:
    """Make `${oc.env:NAME}` an error in this process: what it gives would be committed with `params.yaml`."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("oc.env", _refused, replace=True)


def _refused(name: str, default: object = None) -> None:
    what = f"reads ${name} of the environment, and what it says would be committed with params.yaml"
    raise ConfigError(what, fix="write the value itself, or let the program read the variable")


def _names_code(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_names_code, value.values()))
    return isinstance(value, list) and any(map(_names_code, value))
