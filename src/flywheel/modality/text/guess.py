"""What `init-task` sees in a folder of texts: how many tokens of each are to be kept."""

from __future__ import annotations

from pathlib import Path

from flywheel.init_task.guess import CLASS, Guess, Recipe
from flywheel.init_task.medium import Medium, choose_length, of_folders, say_bad

IN_TABLES = True
RECIPES = {CLASS: Recipe("text", "ngram_linear", "text", optimizer={"lr": 5e-3})}


def look_at_texts(guess: Guess, files: list[Path]) -> set[Path]:
    """Read texts, choose how many tokens of each are kept, and give those that are not UTF-8 text, or empty.

    Raises:
        DataError: None of the files is UTF-8 text.
    """
    from flywheel.modality.text.data.cleaning import TextCleaning

    texts: list[str] = []
    bad: dict[Path, str] = {}
    for file in files:
        try:
            text = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            bad[file] = f"is not utf-8 text (byte {error.start})"
            continue
        if TextCleaning().clean(text).strip():
            texts.append(text)
        else:
            bad[file] = "text is empty"
    say_bad(guess, files, bad, "UTF-8 text")
    choose_length(guess, texts)
    return set(bad)


def medium() -> Medium:
    """Files of texts in a folder for each class."""
    reader = of_folders("flywheel.modality.text.data.folder.TextFolderReader")
    return Medium("text", (".txt",), reader, False, look_at_texts, lies_beside=True)
