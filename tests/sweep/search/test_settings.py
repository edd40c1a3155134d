from typing import Any, get_args

import pytest
import yaml

from flywheel.project.errors import ConfigError
from flywheel.sweep.search.settings import Method, sweep_from


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"methd": "tpe"}, "did you mean 'method'"),
        ({"method": "tpee"}, "did you mean 'tpe'"),
        ({"resume": "yes"}, "'yes' is not known; valid: auto, never"),
        ({"pruner": {"name": "medan"}}, "sweep.pruner.name: .*did you mean 'median'"),
        ({"num_trials": 0}, "sweep.num_trials: 0 is out of range; use at least 1"),
        ({"slots": "many"}, "sweep.slots"),
        ({"slots": True}, "sweep.slots"),
        ({"objectives": ["num_bytes"]}, "must begin with score"),
        ({"objectives": ["score", "size"]}, r"sweep.objectives\[1\]"),
        ({"objectives": ["score", "num_bytes"], "pruner": {"name": "asha"}}, "several objectives"),
    ],
)
def test_what_cannot_be_is_one_clear_line(raw: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sweep_from(raw)


def test_every_file_of_conf_sweep_and_the_defaults_of_train_are_settings(project: Any) -> None:
    defaults = yaml.safe_load((project / "conf/train.yaml").read_text())["sweep"]
    assert sweep_from(defaults) == sweep_from({})  # what conf/train.yaml spells out is what the code takes by itself
    found = {file.stem: yaml.safe_load(file.read_text()) for file in (project / "conf/sweep").glob("*.yaml")}
    methods = {name: sweep_from({**defaults, **raw}).method for name, raw in found.items()}
    assert {name: method for name, method in methods.items() if not found[name].get("params")} == {
        method: method for method in get_args(Method)
    }
