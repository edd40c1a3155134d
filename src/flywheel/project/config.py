"""What a task's configuration may hold: every key of `conf/`, its type, its meaning and its default.

`flywheel.project.params` reads `params.yaml` into these; a key that is not here is refused there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from flywheel.project import kind
from flywheel.project.config_data import DataConfig as DataConfig
from flywheel.project.config_data import DownloadConfig as DownloadConfig
from flywheel.project.config_data import FileConfig as FileConfig
from flywheel.project.config_data import Node as Node
from flywheel.project.config_data import ReaderConfig as ReaderConfig
from flywheel.project.config_data import SourceConfig as SourceConfig
from flywheel.project.config_feedback import FeedbackConfig


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
        name: Of the kind of data, for people.
        inputs: Builds the Preprocessor.
        target: Builds the Target (label encoding).
        seed: Of the split, and of nothing else.
        validation: Share of train, in [0, 1).
        test: Share of the whole; used only where the data set has no official test split.
        max_dropped: Share of rows that cleaning may drop before the stage fails.
        drop_duplicates: Whether train keeps one of several rows with equal inputs and the same label. Rows of a table
            with few or coarse columns are often equal without being copies.
        overlap: What becomes of train rows whose inputs equal those of a validation or test row: `keep`, `drop`, or
            `weight` (they are kept, and all train rows with the same inputs and the same label share one weight).
            Validation and test rows are never dropped for being equal to others, save validation rows for test's.
        chunk_rows: Rows held in memory at a time.
        fold: Which part of train becomes validation, from 0, instead of a drawn share; None: no folds.
        num_folds: In how many parts train is cut; 0: one for each `group` that the reader gives (leave one group out).
        engine: What does the work on the rows: `local` (this process) or `ray` (Ray Data, on all processors of a
            cluster or of this machine). The processed data are the same, byte for byte.
        ray_address: Of the cluster, `host:6379` or `auto`; None: what `RAY_ADDRESS` says, or else a cluster on this
            machine that is started for the occasion.
        code: What DVC watches.
    """

    name: str
    inputs: Annotated[Node, kind.PREPROCESSOR]
    target: Annotated[Node, kind.TARGET]
    seed: int = 0
    validation: float = 0.2
    test: float = 0.2
    max_dropped: float = 0.05
    drop_duplicates: bool = False
    overlap: str = "keep"
    chunk_rows: int = 4096
    fold: int | None = None
    num_folds: int = 5
    engine: str = "local"
    ray_address: str | None = None
    code: CodeConfig = field(default_factory=CodeConfig)


SAME_DATA = ("chunk_rows", "engine", "ray_address", "code")
"""Keys of `preprocess` that change no byte of what it makes, and so make nothing run again."""


@dataclass
class ModelConfig:
    """The network, and how its weights begin.

    Attributes:
        name: The module under `flywheel/model/` (a DVC dependency).
        net: Builds it.
        init: default, xavier, kaiming or normal.
        watch: Further code that DVC hashes: a module that the net imports, or `src/flywheel/model` where it is made of
            several; `src/flywheel/model/__init__.py` where there is none.
    """

    name: str
    net: Annotated[Node, kind.NET]
    watch: str
    init: str = "default"


@dataclass
class DistilConfig:
    """A teacher's share `alpha` in the training loss (0: none); `answer` is `classes` or `numbers`."""

    alpha: float = 0.0
    temperature: float = 4.0
    answer: str = "classes"


@dataclass
class LossConfig:
    """`criterion(logits, target)`; `link(logits)` gives what a user sees; penalties are added to the criterion.

    Attributes:
        class_weights: `none`, `balanced` (inverse class frequency in train), or `sqrt` (its square root).
        l1: Weight of the sum of absolute weights (biases excluded).
        l2: Weight of half the sum of squared weights (biases excluded).
    """

    criterion: Annotated[Node, kind.CRITERION]
    link: Annotated[Node, kind.LINK]
    class_weights: str = "none"
    l1: float = 0.0
    l2: float = 0.0
    distil: DistilConfig = field(default_factory=DistilConfig)


@dataclass
class EarlyStoppingConfig:
    """Stops when the monitored metric has not improved by `min_delta` for `patience` epochs; 0 turns it off."""

    patience: int = 0
    min_delta: float = 0.0


@dataclass
class PruneConfig:
    """Weights (`magnitude`: a `share` of them, by `until` of the training) or channels (`structured`) that go."""

    method: str = "none"
    share: float = 0.8
    until: float = 0.5


@dataclass
class TrainerConfig:
    """How long, on what and in which precision. `auto` is resolved once, at run time, and logged.

    Attributes:
        batch_size: Rows of one optimiser step, over all devices together.
        devices: Of one node: `auto` (one, or what torchrun or srun has started), `all` (every visible GPU), a number.
        strategy: How several devices train: `ddp` (each holds the network), `fsdp` (each holds a part of it), or `auto`
            (ddp). One device trains alone, whatever stands here.
        num_threads: CPU threads of one training. Never what the machine has: another number adds up in another order,
            and ends with other weights.
        hold: `memory` (the data as tensors, on the device if they fit), `stream` (memory-mapped), or `auto`.
        gradient_clip_norm: Largest L2 norm of the gradient; 0 turns clipping off.
        keep: `best` (by the monitored validation metric) or `last`: which epoch's weights become the model.
        compile: Whether the network goes through `torch.compile`.
        steps_per_call: Optimiser steps per call of Lightning's loop; more cost less overhead.
        parent: Another task's model folder, to learn from; DVC watches it, so it is some file if none.
    """

    max_epochs: int = 10
    batch_size: int = 32
    accelerator: str = "auto"
    devices: Any = "auto"
    strategy: str = "auto"
    precision: str = "auto"
    num_threads: int = 1
    hold: str = "auto"
    steps_per_call: Any = "auto"
    gradient_clip_norm: float = 0.0
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    keep: str = "best"
    compile: bool = False
    parent: str = "src/flywheel/learner/__init__.py"
    prune: PruneConfig = field(default_factory=PruneConfig)


@dataclass
class MonitorConfig:
    """The validation metric that decides: its name (without `validation/`) and `min` or `max`."""

    name: str
    mode: str


@dataclass
class MetricConfig:
    """What a training is watched by, and what its report says.

    Attributes:
        monitor: The figure that chooses the epoch to keep.
        train: torchmetrics logged each epoch, by name.
        report: Builds what evaluate does for this kind of target.
        plots: What `dvc plots show` draws, by name, as `plots:` of a dvc.yaml has it; files are below the task's folder
            in `artifacts/`.
    """

    monitor: MonitorConfig
    train: dict[str, Annotated[Node, kind.METRIC]]
    report: Annotated[Node, kind.REPORT]
    plots: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class PublishedConfig:
    """A figure that others have published for this data and network: a key of `metrics.json`, and where it is from."""

    metric: str
    value: float
    source: str


@dataclass
class EvaluateConfig:
    """Bootstrap resamples and their seed; the classical baseline and the train rows it may use (0: all)."""

    num_bootstrap: int = 1000
    seed: int = 0
    baseline: Annotated[Node, kind.BASELINE] | None = None
    baseline_rows: int = 10000
    num_mistakes: int = 36
    published: PublishedConfig | None = None


@dataclass
class VariantConfig:
    """A form of the exported model, made of another; what fails it is beyond `max_loss`, or below `min_shrink`."""

    make: Annotated[Node, kind.VARIANT]
    of: str = "fp32"
    max_loss: float | None = None
    min_shrink: float = 0.0
    required: bool = False


@dataclass
class ExportConfig:
    """ONNX operator set, and the largest absolute difference of a score to PyTorch's that is allowed; the `variants`.

    They may lose `max_loss`; `serve` is what is registered; `student` is another task's export folder, watched by DVC.
    """

    opset: int = 20
    max_difference: float = 1e-4
    variants: dict[str, VariantConfig] = field(default_factory=dict)
    max_loss: float = 0.005
    serve: str = "fp32"
    student: str = "src/flywheel/registry/__init__.py"


@dataclass
class RegisterConfig:
    """The gate: the candidate's metric may be at most `margin` worse than the champion's, within the budgets.

    Attributes:
        metric: A key of `metrics.json`; the paired bootstrap is over it.
        mode: `max` or `min`.
        margin: Largest loss of the metric that is still "not worse".
        confidence: Of the paired bootstrap interval.
        max_bytes: Largest exported model; null: no budget.
        max_latency_ms: Largest median latency of one request; null: no budget.
    """

    metric: str
    mode: str = "max"
    margin: float = 0.01
    confidence: float = 0.95
    max_bytes: int | None = None
    max_latency_ms: float | None = None


@dataclass
class TaskConfig:
    """One trained thing: data, preprocess, model and metrics. `conf/task/<name>.yaml` composes it.

    `fold` is what `preprocess.fold` is set from, so that `fold=range(0,5)` sweeps over folds.
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
    fold: int | None = None
