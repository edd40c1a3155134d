from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml

from flywheel.project.errors import RegistryError
from flywheel.registry.code import code_of
from flywheel.registry.package import differing, open_package, requirements

FRESH_PROCESS = """
import io, sys
sys.path = [path for path in sys.path if not path.endswith("/src")]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
try:
    import flywheel
except ModuleNotFoundError:
    print("not installed here")
import pickle
def refuse(*arguments, **names):
    raise AssertionError("a pickle was read")
pickle.load = pickle.loads = pickle.Unpickler = refuse
import mlflow, numpy, pandas
from PIL import Image
images = numpy.load("images.npy")
model = mlflow.pyfunc.load_model("models:/digits@champion")
wanted = model.predict(images)
print(",".join(wanted.columns[:3]), len(wanted), ",".join(wanted["label"]))
def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
for data in (
    pandas.DataFrame({"image": [png(image) for image in images]}, index=[3, 4, 5]),
    pandas.DataFrame({"image": list(images)}),
    {"image": images},
    [{"image": image.tolist()} for image in images],
):
    assert numpy.array_equal(model.predict(data).to_numpy(), wanted.to_numpy())
assert len(model.predict(model.input_example)) == 1
import flywheel
print(flywheel.__file__)
assert "torch" not in sys.modules
"""


def test_a_version_holds_model_preprocessor_signature_example_code_and_evidence(version: Path) -> None:
    names = {file.relative_to(version).as_posix() for file in version.rglob("*") if file.is_file()}
    assert {"MLmodel", "requirements.txt", "served_model.py", "input_example.json", "checksums.json",
            "artifacts/model.onnx", "artifacts/preprocessor.json", "code/flywheel/registry/predictor.py",
            "evidence/scores.safetensors", "evidence/meta.json", "evidence/metrics.json"} <= names  # fmt: skip
    described = yaml.safe_load((version / "MLmodel").read_text())
    assert json.loads(described["signature"]["inputs"])[0]["name"] == "image"
    outputs = [column["name"] for column in json.loads(described["signature"]["outputs"])]
    assert outputs == ["label", "probability", *(f"probability_{n}" for n in range(10))]
    assert len(json.loads((version / "input_example.json").read_text())["data"][0][0]) == 8  # an 8x8 picture


def test_a_version_carries_the_code_of_prediction_and_no_more(version: Path) -> None:
    code = {file.relative_to(version / "code").as_posix() for file in (version / "code").rglob("*") if file.is_file()}
    assert "flywheel/modality/image/data/preprocessor.py" in code
    rooms = {name.split("/")[1] for name in code}
    assert rooms == {"__init__.py", "modality", "preprocessor", "project", "reader", "registry", "source"}
    assert len([file for file in version.rglob("*") if file.is_file()]) <= 90


def test_there_is_no_pickle_in_a_version(version: Path) -> None:
    forbidden = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin", ".cloudpickle", ".pyc"}
    files = [file for file in version.rglob("*") if file.is_file()]
    assert not [file.name for file in files if file.suffix in forbidden]
    assert not [file.name for file in files if file.read_bytes()[:1] == b"\x80"]  # how a pickle begins
    function = yaml.safe_load((version / "MLmodel").read_text())["flavors"]["python_function"]
    assert "python_model" not in function  # what MLflow would unpickle
    assert function["loader_module"] == "mlflow.pyfunc.loaders.code_model"


def test_requirements_have_exact_versions(version: Path) -> None:
    lines = (version / "requirements.txt").read_text().split()
    assert {line.split("==")[0] for line in lines} == OF_EVERY_VERSION | {"pillow"}
    assert f"onnxruntime=={metadata.version('onnxruntime')}" in lines
    assert not [line for line in lines if "==" not in line]


def test_a_version_says_which_of_its_files_rotted(version: Path, sums: dict[str, str], tmp_path: Path) -> None:
    version = shutil.copytree(version, tmp_path / "version")
    assert differing(version, sums) == {}
    model = version / "artifacts/model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    (version / "code/flywheel/project/errors.py").unlink()
    assert set(differing(version, sums)) == {"artifacts/model.onnx", "code/flywheel/project/errors.py"}
    with pytest.raises(RegistryError, match=r"artifacts/model\.onnx is missing or damaged"):
        open_package(version, sums)
    (version / "checksums.json").write_text("{")
    with pytest.raises(RegistryError, match=r"checksums\.json"):
        differing(version, sums)


def test_a_version_opens_without_mlflow(version: Path, sums: dict[str, str]) -> None:
    predictor = open_package(version, sums)
    images = np.zeros((2, 8, 8), np.uint8)
    import pandas as pd

    answers = predictor.predict(pd.DataFrame({"image": list(images)}, index=[8, 9]))
    assert answers.index.tolist() == [8, 9]
    assert len(predictor.predict(pd.DataFrame({"image": []}))) == 0


@pytest.mark.slow
def test_a_fresh_process_without_flywheel_loads_a_version_and_answers_raw_images(
    version: Path, sums: dict[str, str], at_store: Path, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{at_store}/mlflow.db", "PYTHONPATH": ""}
    command = [sys.executable, "-c", FRESH_PROCESS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, answers, code = done.stdout.splitlines()
    assert first == "not installed here"
    assert answers.startswith("label,probability,probability_0 3 ")
    assert code == str(version / "code/flywheel/__init__.py")
    import pandas as pd

    ours = open_package(version, sums).predict(pd.DataFrame({"image": list(images)}))
    assert answers.split(" ")[2] == ",".join(ours["label"])


OF_EVERY_VERSION = {"mlflow", "numpy", "onnxruntime", "pandas", "pyarrow"}


@pytest.mark.parametrize(
    ("targets", "needed"),
    [
        (["image.data.preprocessor.ImagePreprocessor"], {"pillow"}),
        (["audio.data.preprocessor.AudioPreprocessor"], {"scipy", "soundfile"}),
        (["text.data.preprocessor.TextPreprocessor", "text.data.tokeniser.bpe.BpeTokeniser"], {"ftfy", "tokenizers"}),
        (["tabular.data.preprocessor.TabularPreprocessor"], {"pandera"}),
        (["interactions.data.preprocessor.InteractionsPreprocessor"], set()),
    ],
)
def test_a_version_requires_what_its_prediction_imports_and_nothing_of_training(
    targets: list[str], needed: set[str], tmp_path: Path
) -> None:
    state = [{"_target_": f"flywheel.modality.{target}"} for target in targets]
    (tmp_path / "preprocessor.json").write_text(json.dumps(state))
    files, libraries = code_of(tmp_path / "preprocessor.json")
    assert Path(f"flywheel/modality/{targets[0].split('.')[0]}/data/preprocessor.py") in files
    lines = requirements(libraries)
    assert {line.split("==")[0].lower() for line in lines} == OF_EVERY_VERSION | needed
    assert all(metadata.version(name) == number for name, number in (line.split("==") for line in lines))
