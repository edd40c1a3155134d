"""Where classes have gone that older results and settings name by the module that they were in then."""

from __future__ import annotations

from typing import Any

_MODALITY = {
    "image": {
        "preprocessor.image": "data.preprocessor",
        "reader.idx": "data.idx",
        "reader.csv_images": "data.csv_images",
        "reader.image_folder": "data.folder",
        "learner.augmentation.image": "augment",
    },
    "audio": {
        "preprocessor.audio": "data.preprocessor",
        "reader.audio_folder": "data.folder",
        "learner.augmentation.audio": "augment",
    },
    "text": {
        "preprocessor.text": "data.preprocessor",
        "preprocessor.tokeniser.word": "data.tokeniser.word",
        "preprocessor.tokeniser.bpe": "data.tokeniser.bpe",
        "preprocessor.tokeniser.pretrained": "data.tokeniser.pretrained",
        "reader.text_folder": "data.folder",
        "report.text_baseline": "baseline",
    },
    "tabular": {"preprocessor.tabular": "data.preprocessor", "report.tree_baseline": "baseline"},
    "interactions": {
        "preprocessor.interactions": "data.preprocessor",
        "preprocessor.item_target": "data.target",
        "reader.interactions": "data.reader",
        "learner.augmentation.candidates": "augment",
        "report.ranking": "report",
        "report.item_knn": "baseline",
    },
    "joint": {"preprocessor.joint": "data.preprocessor"},
}
MOVED = {
    f"flywheel.{old}": f"flywheel.modality.{room}.{new}"
    for room, modules in _MODALITY.items()
    for old, new in modules.items()
}
"""Module by the name that it had up to 0.1; a registered version and a user's own conf/ may have it."""

_LIGHTNING = "lightning.pytorch."
"""Lightning's other package, which has the same classes, and which most examples name."""


def present_name(target: str) -> str:
    """The name that a class has now, by the one it had when a file was written, or has in the package lightning."""
    if target.startswith(_LIGHTNING):
        target = f"pytorch_lightning.{target.removeprefix(_LIGHTNING)}"
    module, _, name = target.rpartition(".")
    return f"{MOVED[module]}.{name}" if module in MOVED else target


def with_present_names(state: Any) -> Any:
    """A stored state, with the names that its classes have now."""
    if isinstance(state, dict):
        named = {key: with_present_names(value) for key, value in state.items()}
        target = named.get("_target_")
        return named | {"_target_": present_name(target)} if isinstance(target, str) else named
    return [with_present_names(value) for value in state] if isinstance(state, list) else state
