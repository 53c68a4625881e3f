"""All settings of Inksight, one frozen dataclass per verb; the text of each field is its documentation.

`--help`, docs/settings.md and error messages take their words from here. See config.py for how values are layered.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from inksight.config import Settings, setting

MOST_SEED = 2**32 - 1  # what scikit-learn takes
MOST_THREADS = 1024  # OpenMP dies of 100,000 without a word


def _is_origin(text: str) -> bool:
    return re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^\s/:?#@\[\]]+)(:\d+)?", text) is not None


def _is_address(text: str) -> bool:
    try:
        return text == "*" or bool(ipaddress.ip_network(text))
    except ValueError:
        return False


class ServeSettings(Settings):
    """The HTTP service and its page (`inksight serve`)."""

    section = "serve"

    host: str = setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 lets other machines in.",
        valid=bool,  # a socket takes no address for all of them
        form="an address, such as 127.0.0.1, or 0.0.0.0 to let other machines in",
    )
    port: int = setting(8000, "Port to listen on; 0 picks a free one.", at_least=0, at_most=65535)
    workers: int = setting(1, "Server processes that share the port.", at_least=1, at_most=64)
    top: int = setting(5, "Labels per answer when the request does not say.", at_least=1)
    unsure_below: float = setting(
        0.4, "An answer whose best probability is lower is marked unsure.", at_least=0, at_most=1
    )
    max_body_bytes: int = setting(2_000_000, "Largest request body; a larger one gets 413.", at_least=1_000)
    max_pixels: int = setting(25_000_000, "Largest picture, width times height; a larger one gets 413.", at_least=784)
    max_drawings: int = setting(256, "Most drawings or pictures in one batch request.", at_least=1)
    body_timeout: float = setting(20.0, "Seconds in which a request's body must arrive, else 408.", more_than=0)
    batch_size: int = setting(16, "Most waiting requests that are answered by one run of the model.", at_least=1)
    queue_limit: int = setting(
        512, "Requests that may wait for a model, and pictures to be read; one more gets 503.", at_least=1
    )
    access_log: bool = setting(False, "Log every request as a JSON line, not only errors.")
    log_predictions: bool = setting(True, "Write every answer to the database: label, confidence, hash of the input.")
    keep_drawings: bool = setting(False, "Keep the drawings too, so that corrections can be reviewed and learnt from.")
    log_queue: int = setting(20_000, "Answers kept in memory while the database is away; more are dropped.", at_least=1)
    follow_seconds: float = setting(2.0, "How often to look whether an alias moved.", more_than=0)
    rate_limit: float = setting(
        0.0, "Requests per second that one client may make of each of the --workers; 0 sets no limit.", at_least=0
    )
    rate_burst: int = setting(100, "Requests that one client may make at once, within --rate-limit.", at_least=1)
    trusted_proxies: list[str] = setting(
        [],
        "Addresses of proxies whose X-Forwarded-For names the client.",
        valid=_is_address,
        form="an IP address or a network such as 10.0.0.0/8, or * for everyone",
    )
    cors_origins: list[str] = setting(
        [],
        "Origins of other sites whose scripts may use the service.",
        valid=_is_origin,
        form="scheme://host[:port] without a path, such as https://school.example, or * for all",
    )
    log_days: float = setting(90.0, "Days after which logged predictions are deleted; 0 keeps them.", at_least=0)
    game_data: str = setting(
        "", "Dataset, a file or a name, whose test pictures Eye vs AI is played with; none: no such game."
    )
    shutdown_grace: float = setting(10.0, "Seconds that requests in flight get to finish at shutdown.", at_least=0)


OPTIMIZERS = ("adam", "adamw", "muon", "sgd", "rmsprop")
SCHEDULERS = ("one-cycle", "cosine", "step", "plateau", "none")


class TrainSettings(Settings):
    """What `inksight train` can be told."""

    section = "train"

    name: str = setting("", "Name of the run: its folder under runs/ and its line in TensorBoard.")
    epochs: int = setting(15, "Passes over the training images.", at_least=1)
    max_steps: int = setting(
        0, "Steps (batches) after which the training ends, within a pass too; 0: only epochs count.", at_least=0
    )
    batch_size: int = setting(128, "Images per step, over all processes together.", at_least=1)
    optimizer: str = setting("adamw", "How gradients become steps.", choices=OPTIMIZERS)
    learning_rate: float = setting(0.003, "Highest learning rate; the scheduler shapes it.", more_than=0)
    weight_decay: float = setting(0.01, "Pull of the weights towards zero; biases and norms are spared.", at_least=0)
    momentum: float = setting(0.9, "Momentum of sgd, muon and rmsprop.", at_least=0, at_most=0.999)
    scheduler: str = setting("one-cycle", "How the learning rate moves.", choices=SCHEDULERS)
    warmup: float = setting(0.2, "Share of all steps in which the learning rate rises.", at_least=0, at_most=0.9)
    decay_epochs: int = setting(
        0,
        "step: epochs between two decays; plateau: epochs without improvement before one. 0: a third of them; 3.",
        at_least=0,
    )
    decay_factor: float = setting(0.1, "step and plateau: the learning rate's multiplier.", more_than=0, at_most=1)
    dropout: float | None = setting(
        None, "Dropout of the model's head; none: the model's own.", at_least=0, at_most=0.95
    )
    classifier: str | None = setting(
        None,
        "shallow: what decides; none: the model's own choice.",
        choices=("rbf_svm", "linear_svm", "forest", "logistic"),
    )
    label_smoothing: float = setting(0.0, "Share of the target spread over all classes.", at_least=0, at_most=0.9)
    class_weights: str = setting(
        "none", "How much rare classes count for more in the loss.", choices=("none", "balanced", "effective")
    )
    clip_norm: float = setting(1.0, "Largest norm of the whole gradient; 0: not clipped.", at_least=0)
    ema_decay: float = setting(
        0.0,
        "Decay of the weights' moving average, used when better on validation; 0: none.",
        at_least=0,
        at_most=0.99999,
    )
    early_stopping_patience: int = setting(
        0, "Stop after this many epochs without a better validation result; 0: never.", at_least=0
    )
    augment: float = setting(1.0, "Strength of all augmentation; 0: none.", at_least=0, at_most=3)
    rotate: float | None = setting(
        None,
        "Augmentation: rotation of up to this many degrees; none: 10 for drawings, 15 for photos (30 by policies that"
        " draw).",
        at_least=0,
        at_most=180,
    )
    shift: float | None = setting(
        None,
        "Augmentation: shift of up to this share of the side; none: 0.06 for drawings, 0.04 for photos (0.2).",
        at_least=0,
        at_most=0.5,
    )
    zoom: float = setting(0.12, "Drawings: zoom in or out by up to this share.", at_least=0, at_most=0.9)
    elastic: float = setting(0.02, "Drawings: smooth local bending, share of the side.", at_least=0, at_most=0.2)
    stroke: float = setting(0.5, "Drawings: how much thicker or thinner lines become.", at_least=0, at_most=1)
    flip: bool | None = setting(None, "Augmentation: mirror half of the images left to right; none: photos only.")
    policy: str = setting(
        "jitter",
        "Photos: all changes a little, or one (TrivialAugment) or two (RandAugment) drawn ones strongly.",
        choices=("jitter", "trivial", "rand"),
    )
    crop_min: float = setting(
        0.5, "Photos: smallest share of the picture that a random crop shows.", more_than=0, at_most=1
    )
    mixup: float = setting(
        0.0,
        "Mix pairs of images, or of a frozen backbone's features: the Beta distribution's parameter; 0: not.",
        at_least=0,
    )
    cutmix: float = setting(
        0.0, "Paste a part of one image into another: the same; 0: not. Features have no parts.", at_least=0
    )
    pretrained: bool = setting(True, "Transfer: start from ImageNet weights.")
    weights: str = setting("", "Transfer: a safetensors file with the backbone's weights.")
    freeze_backbone: bool = setting(False, "Transfer: train only the head, on features that are computed once.")
    frozen_epochs: int = setting(
        0, "Transfer: epochs of the head alone, before the backbone joins; all there are when it is frozen.", at_least=0
    )
    feature_views: int = setting(
        4, "Transfer: augmented views of each image whose features are kept, beside the plain one.", at_least=0
    )
    unfreeze_every: int = setting(
        0, "Transfer: epochs after which one more stage of the backbone joins, last first; 0: all at once.", at_least=0
    )
    thawed_stages: int = setting(
        0, "Transfer: how many of the backbone's last stages learn, once it joins; 0: all.", at_least=0
    )
    backbone_rate: float = setting(
        0.1, "Transfer: learning rate of the backbone's last stage, as a share of the head's.", at_least=0, at_most=1
    )
    layer_decay: float = setting(
        0.8, "Transfer: from each stage to the one before it, the learning rate's factor.", more_than=0, at_most=1
    )
    precision: str = setting(
        "auto",
        "Number format of the heavy layers; auto: bfloat16 where the hardware has it.",
        choices=("auto", "float32", "bfloat16"),
    )
    device: str = setting("auto", "Where to compute; auto: a GPU if there is one.", choices=("auto", "cpu", "cuda"))
    threads: int = setting(0, "CPU threads to compute with; 0: all cores.", at_least=0, at_most=MOST_THREADS)
    seed: int = setting(0, "Everything random follows from it.", at_least=0, at_most=MOST_SEED)
    deterministic: bool = setting(False, "Refuse operations that could differ between two runs (matters on GPUs).")
    memory_limit: float = setting(
        0.0, "GB for training images; a larger file is read in shuffled chunks. 0: half of what is free.", at_least=0
    )
    checkpoint_every: float = setting(30.0, "Seconds between checkpoints within an epoch.", at_least=0)
    tensorboard: bool = setting(True, "Write scalars, graph, sample images and embeddings for TensorBoard.")
    mlflow: str = setting("", "Address of an MLflow server to tell too, e.g. http://127.0.0.1:5000; none: no server.")
    fast: bool = setting(False, "Only see that everything works: 2,000 training images and at most 2 epochs.")


class FetchSettings(Settings):
    """Downloading Quick, Draw! drawings (`inksight data fetch`)."""

    section = "fetch"

    per_class: int = setting(5000, "Drawings per class, the first of each file; 0 means all.", at_least=0)
    base_url: str = setting(
        "https://storage.googleapis.com/quickdraw_dataset",
        "Where the data lies: the public bucket or any mirror of it (https://, http:// or file://).",
    )
    format: str = setting(
        "numpy_bitmap",
        "What to fetch: 28x28 bitmaps, simplified strokes or raw strokes.",
        choices=("numpy_bitmap", "simplified", "raw"),
    )
    recognized_only: bool = setting(False, "Keep only drawings that the game recognised (strokes only).")
    jobs: int = setting(4, "Files fetched at once.", at_least=1, at_most=64)
    timeout: float = setting(
        30.0, "Seconds of silence after which a connection counts as stalled.", more_than=0, at_most=86_400
    )
    retries: int = setting(5, "New tries after a failure that may pass.", at_least=0)
    retry_wait: float = setting(1.0, "Seconds before the first new try; doubles with each.", more_than=0)
    folder: Path | None = setting(None, "Where the files go, laid out as in the bucket; none: in the workspace.")


DRAWING_FORMATS = ("numpy_bitmap", "simplified", "raw")


class PrepareSettings(Settings):
    """How a source becomes a dataset file (`inksight data prepare`)."""

    section = "prepare"

    train_ratio: float = setting(0.8, "Share of the pictures to train on; the three must sum to 1.")
    val_ratio: float = setting(0.1, "Share of the pictures to choose by.")
    test_ratio: float = setting(0.1, "Share of the pictures to judge by.")
    seed: int = setting(0, "Which pictures go to which split follows from it.", at_least=0, at_most=MOST_SEED)
    per_class: int | None = setting(
        None,
        "Use only the first N pictures of each class; a split of the source's own keeps its shares; none: all.",
        at_least=1,
    )
    format: str = setting("numpy_bitmap", "Quick, Draw!: which files to read.", choices=DRAWING_FORMATS)
    recognized_only: bool = setting(False, "Strokes: leave out drawings that Google's own game did not recognise.")
    center: bool = setting(
        False,
        "Shift each drawing's centre of mass to the middle, by whole pixels, cutting no ink. For experiments: "
        "predict and serve do not centre.",
    )
    deduplicate: bool = setting(True, "Keep one of several pictures that are the same byte for byte.")
    group_near: bool = setting(True, "Put near-duplicates on the same side of the split.")
    near: float = setting(
        0.1, "Share of ink by which near-duplicates may differ after alignment.", more_than=0, at_most=0.5
    )
    image_size: int = setting(224, "Photos: side of the square that models see, in pixels.", at_least=8, at_most=2048)
    margin: float = setting(
        0.143, "Photos: share of image_size that is stored beyond it, for random crops.", at_least=0, at_most=1
    )
    strict: bool = setting(False, "Photos: fail when a file had to be skipped.")


class BenchSettings(Settings):
    """How models are timed (`inksight bench`)."""

    section = "bench"

    batches: list[int] = setting([1, 8, 64], "Images per call to time.", at_least=1, at_most=4096)
    threads: list[int] = setting([1], "Threads per call to time; 0: all cores.", at_least=0, at_most=MOST_THREADS)
    seconds: float = setting(1.0, "Seconds per model, batch size and number of threads.", more_than=0)
    runtime: str = setting("onnx", "What answers.", choices=("onnx", "torch"))


class CompressSettings(Settings):
    """A smaller bundle made from a bundle (`inksight compress`)."""

    section = "compress"

    prune: float = setting(0.0, "Share of the channels of each layer to remove; 0: none.", at_least=0, at_most=0.95)
    quantize: str = setting(
        "none",
        "Numbers of the shipped graph; int8 is calibrated on training images.",
        choices=("none", "float16", "int8"),
    )
    epochs: int = setting(
        5, "Pruning: passes over the training images, learning the original's answers; 0: none.", at_least=0
    )
    learning_rate: float = setting(0.01, "Pruning: highest learning rate of these passes.", more_than=0)
    max_images: int = setting(50_000, "Pruning: at most this many training images are learnt from.", at_least=128)
    max_drop: float = setting(
        0.02, "Refuse when accuracy on validation falls by more than this (0.02: two points).", at_least=0, at_most=1
    )
    seed: int = setting(0, "The order of training images follows from it.", at_least=0, at_most=MOST_SEED)


class PredictSettings(Settings):
    """Answers for files (`inksight predict`)."""

    section = "predict"

    explain: Path | None = setting(None, "PNG file to write: where the model looked, or which strokes mattered.")
    top: int = setting(3, "Labels per answer, the most probable first.", at_least=1)
    unsure_below: float = setting(
        0.4, "An answer whose best probability is lower is marked unsure.", at_least=0, at_most=1
    )
    threads: int = setting(1, "Threads per prediction; 0: all cores.", at_least=0, at_most=MOST_THREADS)


class EvaluateSettings(Settings):
    """How a model is judged (`inksight evaluate`)."""

    section = "evaluate"

    data: str | None = setting(None, "Dataset file, its name or a preset; none: the one the model was trained on.")
    split: str = setting("test", "Which part of the dataset is judged.", choices=("train", "val", "test"))
    out: Path | None = setting(None, "Folder of the report; none: <home>/reports/<model>-<data>-<split>.")
    compare: str | None = setting(None, "A second model, judged on the same samples and compared.")
    threads: int = setting(1, "Threads per prediction; 0: all cores.", at_least=0, at_most=MOST_THREADS)
    speed: bool = setting(True, "Time the model, which takes about a second.")
    explain: bool = setting(True, "Show where the model looked in some pictures.")


class GateSettings(Settings):
    """What a version must show to be promoted, by `inksight models promote`, the service or a retrain.

    A retrain has margins of its own.
    """

    section = "gates"

    overall_margin: float = setting(
        0.0, "How much lower accuracy may be than the present version's, 0..1.", at_least=0, at_most=1
    )
    class_margin: float = setting(
        0.05, "How much lower the accuracy of any one class may surely be, 0..1.", at_least=0, at_most=1
    )
    min_accuracy: float | None = setting(None, "Least accuracy, 0..1.", at_least=0, at_most=1)
    max_latency_ms: float | None = setting(None, "Most milliseconds for one prediction, measured here.", more_than=0)
    max_megabytes: float | None = setting(None, "Largest bundle, in MB (1e6 bytes).", more_than=0)


class AuditSettings(Settings):
    """What to look for in a dataset file (`inksight data audit`)."""

    section = "audit"

    near: float = setting(
        0.1, "Share of ink by which near-duplicates may differ after alignment.", more_than=0, at_most=0.5
    )
    mislabelled: bool = setting(True, "Look for pictures that are likely to stand under the wrong class.")
    most: int = setting(120, "Most pictures on a sheet; the JSON always lists all.", at_least=1, at_most=2000)
    seed: int = setting(0, "How pictures are dealt to the folds follows from it.", at_least=0, at_most=MOST_SEED)


class DriftSettings(Settings):
    """What is compared with what (`inksight drift`)."""

    section = "drift"

    recent: Path | None = setting(None, "Recent answers: a JSONL export; none: the last recent_days of the log.")
    reference: str | None = setting(
        None, "Earlier answers: a JSONL export or a dataset file; none: the reference_days of the log before."
    )
    recent_days: float = setting(7.0, "Length of the recent period, in days.", more_than=0)
    reference_days: float = setting(30.0, "Length of the period before it, in days.", more_than=0)
    version: str | None = setting(None, "Only answers of this version; none: of all.")
    alpha: float = setting(0.05, "Highest chance of a false alarm over all checks together.", more_than=0, at_most=0.5)
    fail: bool = setting(False, "Exit with 1 when there is drift, for cron jobs.")


class TuneSettings(Settings):
    """A search for good settings (`inksight tune`)."""

    section = "tune"

    trials: int = setting(30, "Trials of the whole study, those of earlier calls counted in.", at_least=1)
    timeout: str = setting("", "Stop starting trials after this time: 90s, 20m, 1h. none: no limit.")
    epochs: int = setting(6, "Passes over the training images per trial.", at_least=1)
    objective: list[str] = setting(
        ["accuracy"],
        "What to be good at; several give a Pareto front.",
        choices=("accuracy", "balanced_accuracy", "loss", "latency", "parameters"),
    )
    sampler: str = setting("tpe", "How values are chosen.", choices=("tpe", "random"))
    pruner: str = setting(
        "hyperband",
        "How hopeless trials are stopped early (one objective only).",
        choices=("hyperband", "median", "none"),
    )
    jobs: int = setting(1, "Worker processes; the cores are shared out among them.", at_least=1, at_most=64)
    ray: str = setting(
        "", "Run the trials, --jobs at once, on a Ray cluster: HOST:PORT, or local for one made here; none: here."
    )
    study: str = setting("", "Name of the study, to go on with or to start; none: <dataset>-<model>-<objective>.")
    mlflow: str = setting("", "Address of an MLflow server that gets each trial as a run; none: no server.")
    seed: int = setting(0, "What is tried follows from it and the number of the trial.", at_least=0, at_most=MOST_SEED)


TRIALS_PER_JOB = 10


class TrainAllSettings(Settings):
    """Many models on many datasets (`inksight train-all`)."""

    section = "train_all"

    models: list[str] = setting([], "The models to train, each on every dataset.")
    datasets: list[str] = setting([], "Presets, dataset files or folders.")
    name: str = setting("", "Name of the matrix, to go on with or to start; none: made from what is asked for.")
    tune: bool = setting(False, "Search for each job's settings before its training, as `inksight tune` does.")
    trials: int | None = setting(
        None, f"With --tune: trials per job; none: what the file's [tune] says, or {TRIALS_PER_JOB}.", at_least=1
    )
    epochs: int | None = setting(
        None, "Passes over the training images; none: what the model's recipe says.", at_least=1
    )
    fast: bool = setting(False, "Only see that everything works: little data and at most 2 epochs per job.")
    jobs: int = setting(1, "Jobs at once; the cores are shared out among them.", at_least=1, at_most=64)
    ray: str = setting("", "Run the jobs on a Ray cluster: HOST:PORT, or local for one made here; none: here.")
    auto_cleanup: bool = setting(False, "After each job, remove old versions of its model and failed uploads.")
    keep: int = setting(3, "With --auto-cleanup: newest versions of each model that stay.", at_least=1)


class ReportSettings(Settings):
    """The report of a matrix of trainings, and which model the games should use (`inksight report`)."""

    section = "report"

    max_latency_ms: float = setting(
        50.0, "Games: one answer may take at most this many milliseconds, on one thread.", more_than=0
    )


class RetrainSettings(Settings):
    """A better version from reviewed corrections (`inksight retrain`)."""

    section = "retrain"

    data: str | None = setting(
        None, "Dataset to rehearse and to be judged on; none: the one the model was first trained on."
    )
    at_least: int = setting(10, "New corrections below which nothing is trained.", at_least=1)
    epochs: int = setting(3, "Passes over the rehearsed images and the corrections.", at_least=1)
    rate: float = setting(
        0.3, "Learning rate, as a share of the one the model was trained with.", more_than=0, at_most=1
    )
    replay: int = setting(
        50_000, "Training images of the dataset to rehearse, so that none is forgotten; 0: all.", at_least=0
    )
    share: float = setting(
        0.1, "Share of the training images that corrections make up, by repeating them.", more_than=0, at_most=0.5
    )
    promote: bool = setting(True, "Let the new version answer when it passes the gates.")
    overall_margin: float = setting(
        0.005, "Gate: how much lower accuracy on the test split may be, 0..1.", at_least=0, at_most=1
    )
    class_margin: float = setting(
        0.05, "Gate: how much lower the accuracy of any one class may surely be, 0..1.", at_least=0, at_most=1
    )
    force: bool = setting(False, "Promote although a gate says no; this is recorded.")
    threads: int = setting(0, "CPU threads to train with; 0: all cores.", at_least=0, at_most=MOST_THREADS)
    seed: int = setting(0, "Everything random follows from it.", at_least=0, at_most=MOST_SEED)
