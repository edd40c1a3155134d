"""What a task's configuration may hold: every key of `conf/`, its type, its meaning and its default.

`flywheel.project.params` reads `params.yaml` into these; a key that is not here is refused there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from flywheel.project import kind
from flywheel.project.config_data import DataConfig as DataConfig
from flywheel.project.config_data import DownloadConfig as DownloadConfig
from flywheel.project.config_data import FileConfig as FileConfig
from flywheel.project.config_data import Node as Node
from flywheel.project.config_data import ReaderConfig as ReaderConfig
from flywheel.project.config_data import SourceConfig as SourceConfig
from flywheel.project.config_export import ExportConfig as ExportConfig
from flywheel.project.config_export import VariantConfig as VariantConfig
from flywheel.project.config_feedback import FeedbackConfig
from flywheel.project.config_training import DistilConfig as DistilConfig
from flywheel.project.config_training import EarlyStoppingConfig as EarlyStoppingConfig
from flywheel.project.config_training import LossConfig as LossConfig
from flywheel.project.config_training import PruneConfig as PruneConfig
from flywheel.project.config_training import TrainerConfig as TrainerConfig
from flywheel.project.errors import ConfigError
from flywheel.project.settings import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

Initialisation = Literal["default", "xavier", "kaiming", "normal", "keras"]


@dataclass
class CodeConfig:
    """The code that DVC watches for a task's kind of data; composition fills it in, from the classes that are named.

    Attributes:
        data: What reads and encodes rows.
        room: All that is of this kind of data.
        augment: What is done to a batch in training; some other file where that is nothing of its own.
    """

    data: str = "src/flywheel/modality"
    room: str = "src/flywheel/modality"
    augment: str = "src/flywheel/modality/__init__.py"


@dataclass
class PreprocessConfig:
    """How raw rows become arrays.

    Attributes:
        name: Name of the kind of data, for people.
        inputs: The preprocessor: it turns the inputs of a row into arrays.
        target: The target: it turns labels into numbers, and a model's scores into answers.
        seed: Seed of the split, and of nothing else.
        validation: Share of train that becomes validation.
        test: Share of the whole that becomes test, where the data set has no official test split.
        max_dropped: Share of the rows that cleaning may drop; beyond it the stage fails.
        drop_duplicates: Whether train keeps only one of several rows with equal inputs and the same label. Rows of a
            table with few or coarse columns are often equal without being copies.
        overlap: What becomes of train rows whose inputs equal those of a validation or test row: `keep`, `drop`, or
            `weight` (they are kept, and all train rows with the same inputs and the same label share one weight). No
            test row is ever dropped for being equal to another row, and a validation row only for being equal to a
            test row.
        chunk_rows: Rows held in memory at a time.
        fold: Which part of train becomes validation, counted from 0, instead of a drawn share; null: no folds.
        num_folds: Number of parts that train is cut into; 0: one part for each `group` that the reader gives (leave
            one group out).
        engine: What does the work on the rows: `local` (this process) or `ray` (Ray Data, on all processors of a
            cluster or of this machine). Both give the same bytes.
        ray_address: Address of the Ray cluster, `host:6379` or `auto`; null: the one of `RAY_ADDRESS`, or else a
            cluster on this machine that is started for the stage.
        code: The code that DVC watches; composition fills it in.
    """

    name: str
    inputs: Annotated[Node, kind.PREPROCESSOR]
    target: Annotated[Node, kind.TARGET]
    seed: NonNegativeInt = 0
    validation: Fraction = 0.2
    test: Fraction = 0.2
    max_dropped: Annotated[float, Ge(0), Le(1)] = 0.05
    drop_duplicates: bool = False
    overlap: Literal["keep", "drop", "weight"] = "keep"
    chunk_rows: PositiveInt = 4096
    fold: NonNegativeInt | None = None
    num_folds: Literal[0] | Annotated[int, Ge(2)] = 5
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    code: CodeConfig = field(default_factory=CodeConfig)


SAME_DATA = ("chunk_rows", "engine", "ray_address", "code")
"""Keys of `preprocess` that change no byte of what it makes, and so make nothing run again."""


@dataclass
class ModelConfig:
    """The network, and how its weights begin.

    Attributes:
        name: The module under `flywheel/model/`, which DVC watches.
        net: The network.
        fit: The estimator that finds the network's parameters directly; null: they are trained by gradient.
        watch: Further code that DVC watches: a module that the network imports, or `src/flywheel/model` where it is
            made of several. Left out where there is none.
        init: How the weights are drawn before training; `default` is PyTorch's own way, `keras` is that of Keras.
    """

    name: str
    net: Annotated[Node, kind.NET]
    fit: Annotated[Node, kind.ESTIMATOR] | None = None
    watch: str = ""
    init: Initialisation = "default"


@dataclass
class MonitorConfig:
    """The validation metric that decides which epoch is the best.

    Attributes:
        name: `loss`, or a name under `metric.train`.
        mode: Whether smaller (`min`) or larger (`max`) values are better.
    """

    name: str
    mode: Literal["min", "max"]


@dataclass
class MetricConfig:
    """What is measured in training and in evaluation.

    Attributes:
        monitor: The metric that decides.
        train: Metrics of torchmetrics that are logged each epoch, by name.
        report: The report that the evaluate stage makes for this kind of target.
        plots: What `dvc plots show` draws, by name, as `plots:` of a dvc.yaml has it; files are below the task's folder
            in `artifacts/`.
    """

    monitor: MonitorConfig
    train: dict[str, Annotated[Node, kind.METRIC]]
    report: Annotated[Node, kind.REPORT]
    plots: dict[str, dict[str, Any]] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Refuse a plot that names no file and columns of it."""
        for name, plot in self.plots.items():
            if not isinstance(plot.get("y"), dict):
                fix = "write `y: {report/curve.csv: column}`"
                raise ConfigError("names no file to draw", where=f"{where}.plots.{name}.y".lstrip("."), fix=fix)


@dataclass
class PublishedConfig:
    """A figure that others have published for this data and network, to stand beside ours.

    Attributes:
        metric: The key of `metrics.json` that it is compared with.
        value: The published figure.
        source: Where it is published.
    """

    metric: str
    value: float
    source: str


@dataclass
class EvaluateConfig:
    """How the model is evaluated on the test set.

    Attributes:
        num_bootstrap: Resamples of the bootstrap that gives the intervals.
        seed: Seed of the resamples, and of the baseline's rows.
        baselines: Classical models to compare with, by the names that `evaluation.json` has them under; null leaves
            one out.
        baseline_rows: Train rows that a baseline may use; 0: all of them.
        num_mistakes: Most mistakes that the report shows.
        published: A published figure to compare with; null: none.
    """

    num_bootstrap: PositiveInt = 1000
    seed: NonNegativeInt = 0
    baselines: dict[str, Annotated[Node, kind.BASELINE] | None] = field(default_factory=dict)
    baseline_rows: NonNegativeInt = 10000
    num_mistakes: NonNegativeInt = 36
    published: PublishedConfig | None = None


@dataclass
class RegisterConfig:
    """The gate: the candidate's metric may be at most `margin` worse than the champion's, within the budgets.

    Attributes:
        metric: The key of `metrics.json` that is compared, by a paired bootstrap.
        mode: Whether larger (`max`) or smaller (`min`) values are better; it must fit the metric.
        margin: Largest loss of the metric, in its own units, that still counts as "not worse".
        confidence: Confidence of the paired bootstrap's interval.
        max_bytes: Largest exported model in bytes; null: no limit.
        max_latency_ms: Largest median latency of one request in milliseconds; null: no limit.
        baseline: What becomes of a model that its own report calls worse than its best baseline, by the whole paired
            interval of the report's first metric: `refuse`, or `warn` (it is said, and the other rules decide).
    """

    metric: str
    mode: Literal["min", "max"] = "max"
    margin: NonNegativeFloat = 0.01
    confidence: Fraction = 0.95
    max_bytes: PositiveInt | None = None
    max_latency_ms: PositiveFloat | None = None
    baseline: Literal["refuse", "warn"] = "refuse"


@dataclass
class TaskConfig:
    """A task: data, a model, and how it is trained, judged and registered. `conf/task/<name>.yaml` composes it.

    Attributes:
        name: The task's name; it becomes a folder, a DVC stage and a registered model.
        seed: Seed of the training: initial weights, the order of the rows, augmentation, dropout.
        data: The data set.
        preprocess: How raw rows become arrays.
        model: The network.
        augment: Random changes to the train rows.
        loss: The loss, and what turns the network's output into an answer.
        optimizer: The optimiser, of `torch.optim`; the weights are filled in.
        scheduler: The schedule of the learning rate.
        trainer: How the training runs.
        metric: What is measured.
        evaluate: The evaluation on the test set.
        export: The export to ONNX.
        register: The gate that decides whether the model becomes champion.
        feedback: What is kept of requests, and which corrections become train rows.
        callbacks: Callbacks of Lightning that look on, by name; they are not part of what the pipeline watches.
        logger: Loggers of Lightning beside MLflow, by name; likewise.
        fold: Sets `preprocess.fold`, so that `fold=range(0,5)` sweeps over folds.
    """

    name: str
    seed: int
    data: DataConfig
    preprocess: PreprocessConfig
    model: ModelConfig
    augment: Annotated[Node, kind.AUGMENTATION]
    loss: LossConfig
    optimizer: Annotated[Node, kind.OPTIMIZER]
    scheduler: Annotated[Node, kind.SCHEDULER]
    trainer: TrainerConfig
    metric: MetricConfig
    evaluate: EvaluateConfig
    export: ExportConfig
    register: RegisterConfig
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    callbacks: dict[str, Annotated[Node, kind.CALLBACK]] = field(default_factory=dict)
    logger: dict[str, Annotated[Node, kind.LOGGER]] = field(default_factory=dict)
    fold: NonNegativeInt | None = None

    def trained_with(self) -> dict[str, Any]:
        """The settings as plain data, without those that only look on at a training: they change no byte of it."""
        settings = asdict(self)
        del settings["callbacks"], settings["logger"], settings["trainer"]["profiler"]
        return settings

    def check(self, where: str) -> None:
        """Refuse settings of several sections that do not go together."""
        losses_add_up = self.loss.class_weights == "none" or not self.loss.distil.alpha
        if self.trainer.accumulate_grad_batches > 1 and not losses_add_up:
            what = "class weights and a teacher divide the losses of a batch by sums of their own, which do not add up"
            place = f"{where}.trainer.accumulate_grad_batches".lstrip(".")
            raise ConfigError(what, where=place, fix="use 1, or loss.class_weights: none")
