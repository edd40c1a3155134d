from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.project.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)


def frame(images: Any, **columns: Any) -> pd.DataFrame:
    column = np.empty(len(images), dtype=object)
    for row, image in enumerate(images):
        column[row] = image
    return pd.DataFrame({"image": column, **columns})


def fitted(images: Any, chunk: int = 100, **options: Any) -> ImagePreprocessor:
    preprocessor = ImagePreprocessor(**options)
    preprocessor.fit(frame(images[i : i + chunk]) for i in range(0, len(images), chunk))
    return preprocessor


@pytest.mark.parametrize(("images", "channels"), [(GREY, 1), (COLOUR, 3)])
def test_fit_learns_size_channels_and_moments(images: np.ndarray[Any, Any], channels: int) -> None:
    meta = fitted(images).meta()
    image = meta["inputs"]["image"]
    assert image["shape"] == [channels, 5, 4]
    assert image["dtype"] == "uint8"
    np.testing.assert_allclose(image["mean"], images.reshape(-1, channels).mean(0), rtol=1e-12)
    np.testing.assert_allclose(image["std"], images.reshape(-1, channels).std(0), rtol=1e-12)
    assert (meta["num_features"], meta["num_channels"], meta["image_size"]) == (20 * channels, channels, [5, 4])


def test_chunks_do_not_change_what_is_learnt() -> None:
    states = [fitted(COLOUR, chunk).to_json() for chunk in (1, 3, 20)]
    assert states[0] == states[1] == states[2]


def test_unit_scaling_and_constant_pictures() -> None:
    assert fitted(GREY, normalise="unit").meta()["inputs"]["image"] == {
        "dtype": "uint8", "shape": [1, 5, 4], "mean": [0.0], "std": [255.0]
    }  # fmt: skip
    assert fitted(np.full((3, 2, 2), 9, np.uint8)).meta()["inputs"]["image"]["std"] == [1.0]


def test_transform_gives_compact_arrays_channels_first() -> None:
    out = fitted(COLOUR).transform(frame(COLOUR))["image"]
    assert out.dtype == np.uint8
    assert out.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(out, COLOUR.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(fitted(GREY).transform(frame(GREY))["image"], GREY[:, None])
    assert fitted(GREY).transform(frame([]))["image"].shape == (0, 1, 5, 4)


def test_mixed_forms_in_one_frame_equal_the_arrays(png: Callable[[Any], bytes]) -> None:
    mixed = [GREY[0], GREY[1].tolist(), png(GREY[2]), GREY[3].astype(float)]
    np.testing.assert_array_equal(fitted(GREY).transform(frame(mixed))["image"], GREY[:4, None])


def test_json_round_trip_transforms_alike() -> None:
    for options in ({}, {"image_size": [3, 3], "channels": 1, "normalise": "unit"}):
        made = fitted(COLOUR, **options)
        again = ImagePreprocessor.from_json(made.to_json())
        assert again.to_json() == made.to_json()
        assert again.meta() == made.meta()
        np.testing.assert_array_equal(again.transform(frame(GREY))["image"], made.transform(frame(GREY))["image"])


def test_other_size_is_resized_only_if_a_size_is_set() -> None:
    big = np.full((9, 9), 77, np.uint8)
    assert (fitted(GREY, image_size=[5, 4]).transform(frame([big]))["image"] == 77).all()
    with pytest.raises(DataError, match=r"input, row 1: is 9x9, not 5x4 \(preprocess.inputs.image_size resizes\)"):
        fitted(GREY).transform(frame([GREY[0], big]))


def test_bad_row_is_named_by_its_file() -> None:
    with pytest.raises(DataError, match=r"shoe\.png, row 0: .*0\.\.1"):
        fitted(GREY).transform(frame([GREY[0] / 255], file=["shoe.png"]))
    with pytest.raises(DataError, match="has no column 'image'"):
        fitted(GREY).transform(pd.DataFrame({"picture": [1]}))


def test_clean_parts_good_rows_from_bad_ones() -> None:
    images = [GREY[0], None, GREY[1], np.zeros((2, 2), np.uint8), GREY[2] / 255, GREY[3]]
    given = frame(images, label=list("abcdef"), error=[None, "is corrupt", None, None, None, "unparsable"])
    given.index = pd.RangeIndex(40, 46)
    kept, dropped = ImagePreprocessor().clean(given)
    assert kept.index.tolist() == [40, 42]
    assert kept["label"].tolist() == ["a", "c"]
    assert "error" not in kept
    assert [(d.row, d.why.split(" (")[0]) for d in dropped][:2] == [(41, "is corrupt"), (43, "is 2x2, not 5x4")]
    assert [d.row for d in dropped] == [41, 43, 44, 45]
    assert "0..1" in dropped[2].why


def test_clean_refuses_colour_among_grey_until_told_and_fitted_converts_it() -> None:
    mixed = [GREY[0], COLOUR[0], np.repeat(GREY[1][:, :, None], 3, 2)]
    kept, dropped = ImagePreprocessor().clean(frame(mixed))
    assert kept.index.tolist() == [0, 2], "grey stored as colour is grey"
    assert dropped[0].why == "is in colour, the first picture is grey (preprocess.inputs.channels decides)"
    assert ImagePreprocessor(channels=1).clean(frame(mixed))[1] == []
    assert fitted(GREY).transform(frame([COLOUR[0]]))["image"].shape == (1, 1, 5, 4)
    assert ImagePreprocessor(channels=3).clean(frame(mixed))[1] == []
    repeated = fitted(COLOUR).transform(frame([GREY[0]]))["image"][0]
    np.testing.assert_array_equal(repeated, np.stack([GREY[0]] * 3))


def test_digests_tell_different_pictures_apart_and_nothing_else() -> None:
    preprocessor = ImagePreprocessor()
    kept, _ = preprocessor.clean(frame([*GREY, GREY[3].tolist()], label=[*range(20), 99]))
    digests = preprocessor.digest(kept)
    assert digests.shape == (21, 2)
    assert digests.dtype == np.uint64
    assert (digests[20] == digests[3]).all()
    assert len(np.unique(digests, axis=0)) == 20


def test_schema_accepts_a_valid_request_and_names_the_size() -> None:
    schema = fitted(COLOUR).schema()
    rows = schema["properties"]["image"]["anyOf"][1]
    assert (rows["minItems"], rows["items"]["minItems"], rows["items"]["items"]["minItems"]) == (5, 4, 3)
    assert "minItems" not in fitted(GREY, image_size=[5, 4]).schema()["properties"]["image"]["anyOf"][1]


def test_preview_is_the_picture() -> None:
    for images in (GREY, COLOUR):
        made = fitted(images)
        shown = made.preview(made.transform(frame(images)), 7).image
        np.testing.assert_array_equal(shown, images[7])


@pytest.mark.parametrize(
    "options", [{"image_size": [1]}, {"image_size": [0, 3]}, {"channels": 2}, {"normalise": "minmax"}]
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"image_size|channels|normalise"):
        ImagePreprocessor(**options)


def test_unfitted_and_broken_states_are_refused() -> None:
    with pytest.raises(DataError, match="fit it first"):
        ImagePreprocessor().meta()
    with pytest.raises(DataError, match="no pictures to learn from"):
        ImagePreprocessor().fit([])
    state = fitted(GREY).to_json()
    for key in ("fitted", "normalise"):
        with pytest.raises(DataError, match=r"preprocessor\.json: its inputs are not an ImagePreprocessor's"):
            ImagePreprocessor.from_json({k: v for k, v in state.items() if k != key})


def test_requests_come_from_any_kind_of_file(png: Callable[[Any], bytes], tmp_path: Path) -> None:
    made = fitted(GREY)
    (tmp_path / "one.png").write_bytes(png(GREY[0]))
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/deep/b.PNG").write_bytes(png(GREY[2]))
    (tmp_path / "folder/a.bmp").write_bytes(png(GREY[1]))
    (tmp_path / "folder/.hidden.png").write_bytes(b"")
    np.save(tmp_path / "many.npy", GREY[3:6])
    np.save(tmp_path / "single.npy", GREY[6])
    np.savetxt(tmp_path / "plain.csv", GREY[7:9].reshape(2, -1), fmt="%d", delimiter=",")
    table = pd.DataFrame(GREY[9:11].reshape(2, -1)).add_prefix("p").assign(label=["x", "y"])
    table.to_csv(tmp_path / "named.csv", index=False)
    pd.DataFrame({"image": [png(GREY[11]), png(GREY[12])], "more": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"image": [GREY[13].tolist()]}).to_parquet(tmp_path / "nested.parquet")
    table.to_parquet(tmp_path / "pixels.parquet")
    names = ["one.png", "folder", "many.npy", "single.npy", "plain.csv", "named.csv", "a.parquet", "nested.parquet"]
    paths = [tmp_path / name for name in [*names, "pixels.parquet"]]
    requests = made.read_requests(paths)
    expected = [*GREY[:14], GREY[9], GREY[10]]
    np.testing.assert_array_equal(made.transform(requests)["image"][:, 0], expected)
    assert requests["file"].tolist()[:3] == [str(paths[0]), str(paths[1] / "a.bmp"), str(paths[1] / "deep/b.PNG")]
    assert requests["row"].tolist()[3:6] == [0, 1, 2]
    assert requests.index.tolist() == list(range(16))
    assert requests["label"].tolist()[9:11] == ["x", "y"]


def test_colour_requests(tmp_path: Path) -> None:
    made = fitted(COLOUR)
    np.save(tmp_path / "one.npy", COLOUR[0])
    np.save(tmp_path / "two.npy", COLOUR[1:3])
    np.savetxt(tmp_path / "a.csv", COLOUR[3:4].reshape(1, -1), fmt="%d", delimiter=",")
    requests = made.read_requests([tmp_path / "one.npy", tmp_path / "two.npy", tmp_path / "a.csv"])
    np.testing.assert_array_equal(made.transform(requests)["image"], COLOUR[:4].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", r"files of type '.txt' are not supported; give \.png"),
        ("a.npy", b"x", r"is not a \.npy file"),
        ("a.csv", b"1,2,3\n", "has 3 columns, not the 20 pixels of 5x4x1"),
        ("a.csv", b"", "is empty|has no rows"),
        (
            "a.csv",
            b"a" + b",".join(b"%d" % n for n in range(20)) + b"\n" + b",".join([b"y"] * 20),
            "pixels that are not numbers",
        ),
        ("a.parquet", b"x", "is not a Parquet file"),
    ],
)
def test_request_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        fitted(GREY).read_requests([tmp_path / name])
    assert caught.value.file == str(tmp_path / name)


def test_request_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        fitted(GREY).read_requests([tmp_path / "a.png"])
    with pytest.raises(DataError, match="holds no pictures"):
        fitted(GREY).read_requests([tmp_path])
    with pytest.raises(DataError, match="no files given"):
        fitted(GREY).read_requests([])


def test_corrupt_request_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"hello")
    made = fitted(GREY)
    with pytest.raises(DataError, match=r"a\.png, row 0: is not a readable picture"):
        made.transform(made.read_requests([tmp_path / "a.png"]))
