"""Every name that is reachable in an allowed module, tried at every place: what is taken is of the declared type."""

import functools
import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from types import ModuleType

import pytest

from flywheel.project import kind as kinds
from flywheel.project.errors import ConfigError
from flywheel.project.instantiate import locate
from flywheel.project.kind import KINDS, Kind, is_in

# Parts of the library that any of the allowed packages could be mistaken for; nothing of them is taken anywhere.
NEVER = (
    "pytorch_lightning.callbacks.lambda_function", "pytorch_lightning.cli", "pytorch_lightning.loggers.wandb",
    "torch.hub", "torch.nn.parallel", "torch.nn.utils", "torchmetrics.text.bert",
)  # fmt: skip


@functools.cache
def modules() -> tuple[ModuleType, ...]:
    """All modules that a target may be looked up in, those of `NEVER` besides."""
    homes = {home for kind in KINDS for home in kind.homes}
    homes |= {name.rpartition(".")[0] for kind in KINDS for name in kind.functions}
    parents = {home.rsplit(".", number)[0] for home in homes for number in range(1, home.count(".") + 1)}
    found: dict[str, ModuleType] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in [*parents, *NEVER, *homes]:
            module = found[name] = importlib.import_module(name)
            if name in homes:
                for inner in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
                    found[inner.name] = importlib.import_module(inner.name)
    return tuple(found.values())


def names() -> Iterator[tuple[str, object]]:
    for module in modules():
        for name, value in list(vars(module).items()):
            yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.base)
def test_only_the_declared_type_and_the_closed_list_of_functions_are_taken(kind: Kind) -> None:
    module, _, name = kind.base.rpartition(".")
    base = getattr(importlib.import_module(module), name)
    taken, functions = 0, set()
    for target, value in names():
        try:
            found = locate({"_target_": target}, kind, where="here")
        except ConfigError:
            continue
        taken += 1
        assert found is value, target
        if inspect.isclass(found):
            assert issubclass(found, base), target
            assert any(is_in(found.__module__, home) for home in kind.homes), target
        else:
            name = f"{found.__module__}.{found.__qualname__}"
            assert name in kind.functions or kind is kinds.BASELINE, target
            functions.add(name)
        assert not target.startswith(NEVER), target
    assert taken, "nothing can stand there"
    if kind is kinds.BASELINE:
        assert functions == {
            "flywheel.modality.audio.baseline.mfcc_logistic_regression",
            "flywheel.modality.image.baseline.hog_logistic_regression",
            "flywheel.modality.interactions.baseline.item_knn",
            "flywheel.modality.tabular.baseline.gradient_boosting",
            "flywheel.modality.tabular.baseline.logistic_regression",
            "flywheel.modality.tabular.baseline.ridge_regression",
            "flywheel.modality.text.baseline.tfidf_logistic_regression",
            "flywheel.report.baseline.logistic_regression",
        }


def test_every_place_of_the_configuration_states_its_kind() -> None:
    stated = {value for value in vars(kinds).values() if isinstance(value, Kind)}
    assert stated == set(KINDS)


def test_no_class_that_is_taken_needs_something_that_runs() -> None:
    """An argument that must be callable cannot be given as data, and none of them takes one by name."""
    odd = set()
    for _, value in names():
        for kind in KINDS:
            if inspect.isclass(value) and kind.takes(value):
                for one in inspect.signature(value).parameters.values():
                    if "Callable" in str(one.annotation) and one.default is inspect.Parameter.empty:
                        odd.add(value.__name__)
    assert odd == {"LambdaLR", "MultiplicativeLR"}  # they call what they are given; data are refused
