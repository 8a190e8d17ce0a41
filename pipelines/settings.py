"""Every setting of every step, with defaults that run on a laptop.

Read from `lookalike.toml` (or the file that LOOKALIKE_CONFIG names) and then from the environment,
which wins: `LOOKALIKE_ROOT=/srv/shop`, `LOOKALIKE_TRAIN__EPOCHS=30`.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from model.errors import BadInput
from model.pixel_spec import PixelSpec
from serving.live_place import LivePlace


class Section(BaseModel):
    """The settings of one step; part of the fingerprint of what the step makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerance(Section):
    """How many bad rows a step sets aside before it fails."""

    max_bad_share: float = Field(0.01, ge=0, le=1)
    tolerated_bad: NonNegativeInt = 10  # so few never fail a day, however small the day is

    def allows(self, bad: int, rows: int) -> bool:
        return bad <= max(self.max_bad_share * rows, self.tolerated_bad)


class Ingest(Tolerance):
    feed: str | None = None  # a table that `ingest` imports itself, such as feeds/{ds}.parquet
    snapshot: bool = False  # True: a feed is the whole catalogue, what it lacks is deleted
    taxonomy: Path | None = None  # CSV `category,parent`; without it the feed's paths are the tree
    moved: Path | None = None  # CSV `former,now`: categories renamed, merged, split or retired
    split_shares: tuple[float, float] = (0.1, 0.1)  # val and test, of products
    near_duplicate_bits: PositiveInt = Field(12, le=15)  # of 256


class Preprocess(Tolerance):
    pixel_spec: str = "decode|orient|resize(64)|pad"
    shard_images: PositiveInt = 256
    beam_args: tuple[str, ...] = ("--runner=FnApiRunner",)

    @field_validator("pixel_spec")
    @classmethod
    def _parses(cls, text: str) -> str:
        try:
            return str(PixelSpec.parse(text))
        except BadInput as error:
            raise ValueError(str(error)) from error


class Metric(Section):
    """The stage after the classifier: triplets of photos (VisNet)."""

    epochs: NonNegativeInt = 0  # 0: no such stage
    learning_rate: float = Field(0.003, gt=0)
    margin: float = Field(0.4, gt=0)  # by which a cosine to a positive must exceed a negative's
    weight: float = Field(8.0, gt=0)  # of the triplet loss beside the classifier's 1
    in_class: float = Field(0.3, ge=0, le=1)  # share of negatives of the anchor's own leaf


class Augmentation(Section):
    """How far a training photo may be changed; see `model.augment`."""

    ground: float = Field(0.5, ge=0, le=1)  # chance that a plain ground is replaced
    zoom: tuple[PositiveFloat, PositiveFloat] = (0.7, 1.15)  # share of the side that stays visible
    turn_degrees: float = Field(12.0, ge=0, le=180)
    mirror: bool = True  # no, where left and right are different products
    brightness: float = Field(0.25, ge=0, le=1)  # share of full scale, and the contrast alike
    colour: float = Field(0.08, ge=0, le=1)  # of each channel's gain; colour matters to shoppers
    erase: float = Field(0.25, ge=0, le=1)  # chance of a grey square over a part of the photo

    @field_validator("zoom")
    @classmethod
    def _in_order(cls, zoom: tuple[float, float]) -> tuple[float, float]:
        if zoom[0] > zoom[1]:
            raise ValueError(f"expected the smaller share first, received {zoom}")
        return zoom


class Train(Section):
    """The classifier stage. What `recipe` leaves out only says when and where to train."""

    backbone: str = "resnet"  # or `keras.applications.NAME`, or `keras_hub:FOLDER` of a preset
    weights: Path | None = None  # weights of such a backbone, a local file; else from scratch
    blocks: tuple[PositiveInt, ...] = (1, 1, 1, 1)  # residual blocks in each stage
    width: PositiveInt = 24  # channels of the first stage; each later stage doubles them
    shallow: bool = False  # VisNet's parallel branch of few layers, for colour and pattern
    taps: tuple[str, ...] = ("embedding",)  # outputs joined in the embedding: stem, stage1, ..
    epochs: PositiveInt = 16
    sizes: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (1.0,)  # of the side, in equal parts
    batch_size: PositiveInt = 32
    learning_rate: float = Field(0.003, gt=0)  # peak of the cosine, for one batch of batch_size
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    robustness: float = Field(0.0, ge=0, lt=1)  # of the loss against wrong labels; 0: none
    balance: float = Field(0.5, ge=0, le=1)  # 0: as the catalogue; 1: every leaf equally often
    parent_weight: float = Field(0.5, ge=0)  # of each ancestor level's loss beside the leaf's 1
    attributes: tuple[str, ...] = ()  # heads beside the taxonomy: `brand`, or a feed attribute
    attribute_weight: float = Field(0.2, ge=0)  # of each such head's loss beside the leaf's 1
    augmentation: Augmentation = Augmentation()
    mix: float = Field(0.0, ge=0, le=1)  # chance that a batch has photos pasted into each other
    averaging: float = Field(0.0, ge=0, lt=1)  # of the weights over steps; 0: none
    metric: Metric = Metric()
    projection: float = Field(0.5, ge=0, le=1)  # share of dimensions kept, evened out; 0: none
    reviewed: Path | None = None  # CSV `item_id,verdict`: labels that a person calls right or wrong
    start: Literal["scratch", "warm"] = "scratch"  # warm: from the embedder of the day before
    warm_epochs: PositiveInt = 6  # instead of `epochs`, after a warm start
    mixed_precision: bool = False
    devices: NonNegativeInt = 1  # train on so many in parallel; 0: all there are
    seed: int = 0
    retrain_above: float = Field(0.05, ge=0)  # share of training photos that changed; 0: any
    max_age_days: PositiveInt = 7  # retrain after this many days, if anything changed
    keep: Literal["policy", "champion"] = "policy"  # champion: its embedder, and never a training

    @property
    def recipe(self) -> str:
        """All that shapes the network, without what only says when to train."""
        return self.model_dump_json(
            exclude={"retrain_above", "max_age_days", "keep", "devices", "reviewed"}
        )


class Localise(Section):
    """The network that finds the product in a shopper's photo."""

    # What it learns from beside compositions. auto: the feed's boxes, or too few of them: the
    # classifier's activation; and it serves only if searching by what it finds does no harm.
    boxes: Literal["auto", "feed", "activation", "none"] = "auto"  # none: no localiser
    min_boxes: PositiveInt = 50  # of training photos, for `auto` to learn from the feed's
    width: PositiveInt = 32  # channels at a quarter of the side; doubled as it halves
    epochs: PositiveInt = 8
    learning_rate: float = Field(0.003, gt=0)  # peak of the cosine


class Reduce(Section):
    dimensions: PositiveInt | Literal["auto"] = "auto"  # the fewest that the gate would pass
    max_loss: float = Field(0.01, ge=0, lt=1)  # and that lose no more than this share of quality
    method: Literal["auto", "pca", "whiten", "truncate"] = "pca"


class Index(Section):
    # `exact`, `scann:FORM`, `faiss:FACTORY` or `two-stage` instead; see serving.engines
    engine: str = Field("auto", pattern=r"^(auto|exact|(scann|two-stage)(:.+)?|faiss:.+)$")
    held_out: PositiveInt = 1000  # at most so many catalogue items stay out of the base index
    held_out_share: float = Field(0.1, ge=0, le=0.5)
    target_recall: float = Field(0.98, gt=0, le=1)  # of the engine alone; sets its search effort
    tuning_seconds: float = Field(60, ge=0)  # for comparing engines, before the fastest is built
    max_bytes_per_item: PositiveFloat | None = None  # of the index, in memory


class Embed(Section):
    precisions: tuple[Literal["float32", "bfloat16", "int8"], ...] = ("float32", "int8")
    calibration_photos: PositiveInt = 512  # of the catalogue, for the ranges of int8


class Gate(Section):
    k: PositiveInt = 10
    min_recall: float = Field(0.95, ge=0, le=1)
    min_slice_recall: float = Field(0.90, ge=0, le=1)
    slice_queries: PositiveInt = 100  # a smaller slice is reported, not judged
    min_queries: PositiveInt = 50  # for a catalogue of judge_from_items or more
    judge_from_items: PositiveInt = 2000
    min_leaf_lift: float = Field(2.0, ge=0)  # answers of the query's category, against chance
    max_leaf_drop: float = Field(0.1, ge=0, le=1)  # and against the champion's, in every slice
    min_self_match: float = Field(0.995, ge=0, le=1)
    max_p99_ms: float = Field(100.0, gt=0)
    bootstrap_rounds: PositiveInt = 1000


class Bless(Section):
    items: PositiveInt = 200  # of the bundle, asked for what looks like them
    photos: PositiveInt = 50  # that nothing was trained on
    max_load_seconds: PositiveFloat = 120.0  # until the server is ready
    max_p99_ms: PositiveFloat = 1000.0  # of either, with eight clients for items and two for photos
    max_memory_bytes: PositiveInt | None = None  # of the server


class Evidence(Section):
    photos: PositiveInt = 200  # that nothing was trained on, asked of both bundles
    items: PositiveInt = 200  # of both bundles, asked for what looks like them


class Registry(Section):
    model: str = "lookalike"
    tracking_uri: str | None = None  # default: SQLite under the root


class Review(Section):
    """Who says that a candidate may serve."""

    by: Literal["policy", "person"] = "policy"  # policy: a person only beyond these bounds
    reviewers: tuple[str, ...] = ()  # who may review; default: whoever may run the command
    hours: PositiveFloat = 24.0  # that a person has; then it is a no
    max_churn: float = Field(0.6, ge=0, le=1)  # of the answers, net of the noise of two builds
    max_item_change: float = Field(0.2, ge=0)  # items that came, or went, as a share
    max_recall_drop: float = Field(0.02, ge=0, le=1)  # recall@k below the champion's
    max_leaf_drop: float = Field(0.03, ge=0, le=1)  # answers of the query's category, likewise
    max_slowdown: PositiveFloat = 3.0  # p50 of the blessing's server, as a multiple


class Rollout(Section):
    """How a candidate is tried beside the champion before it serves."""

    replicas: tuple[str, ...] = ()  # URLs of all servers; default: the one of `serve`
    shadow_share: float = Field(0.2, gt=0, le=1)  # of the answers that are asked again, unseen
    shadow_seconds: float = Field(120.0, ge=0)  # 0: no shadow
    canary_share: float = Field(0.05, gt=0, le=1)  # of the shoppers that the candidate answers
    canary_seconds: float = Field(300.0, ge=0)  # 0: no canary
    min_queries: PositiveInt = 200  # of the candidate, or either is inconclusive
    when_inconclusive: Literal["promote", "abort"] = "promote"
    min_overlap: float = Field(0.1, ge=0, le=1)  # of both bundles' answers, in shadow
    max_slowdown: PositiveFloat = 3.0  # p99, as a multiple of the champion's
    max_failed: float = Field(0.01, ge=0, le=1)  # share of queries, above the champion's
    max_empty: float = Field(0.05, ge=0, le=1)  # share of queries without an answer, likewise
    load_seconds: PositiveFloat = 300.0  # that a replica has to load a bundle


class Drill(Section):
    """What a rollback may take, from the decision to the first answer."""

    max_warm_seconds: PositiveFloat = 5.0  # of a server that had the bundle a moment ago
    max_cold_seconds: PositiveFloat = 120.0  # of an empty disk and a server to be started


class Live(Section):
    url: str | None = None  # of what operators change between two bundles; default: under the root


class Serve(Section):
    host: str = "127.0.0.1"
    port: PositiveInt = 3000
    poll_seconds: float = Field(0.25, gt=0)  # how often the ledger is read for a new champion
    timeout_seconds: int = Field(30, gt=0, le=100)
    operator_keys: SecretStr | None = None  # `name:secret,...`; default: `operator.key` in the root
    search_keys: SecretStr | None = None  # the same; default: everybody who reaches the port
    requests_per_second: PositiveFloat | None = None  # of one key, or one address; default: any
    request_burst: PositiveInt = 200  # at once, after a pause
    sample_queries: float = Field(0.0, ge=0, le=1)  # share of query photos that are kept


class Settings(BaseSettings):
    """Where the shop's data lies, and a section for each step."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKALIKE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # it may be a secret
    )

    root: Path = Path("build/shop")
    ingest: Ingest = Ingest()
    preprocess: Preprocess = Preprocess()
    train: Train = Train()
    embed: Embed = Embed()
    localise: Localise = Localise()
    reduce: Reduce = Reduce()
    index: Index = Index()
    gate: Gate = Gate()
    bless: Bless = Bless()
    evidence: Evidence = Evidence()
    registry: Registry = Registry()
    review: Review = Review()
    rollout: Rollout = Rollout()
    drill: Drill = Drill()
    live: Live = Live()
    serve: Serve = Serve()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, config_file())
        return init_settings, env_settings, toml

    @property
    def pixel_spec(self) -> PixelSpec:
        return PixelSpec.parse(self.preprocess.pixel_spec)

    @property
    def tracking_uri(self) -> str:
        return self.registry.tracking_uri or f"sqlite:///{self.root.resolve()}/mlflow.db"

    @property
    def live_place(self) -> LivePlace:
        return LivePlace(self.root, self.live.url)


def config_file() -> Path:
    return Path(os.environ.get("LOOKALIKE_CONFIG", "lookalike.toml"))


def load_settings(**given: object) -> Settings:
    """Settings from the file, the environment and `given`. Raises BadInput that names the field."""
    named = os.environ.get("LOOKALIKE_CONFIG")
    if named and not Path(named).is_file():
        raise BadInput(f"LOOKALIKE_CONFIG names a file that does not exist: {named}.")
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}. Received: {_shown(fault)}"
            for fault in error.errors()
        ]
        raise BadInput(
            f"Invalid settings in {config_file()} or the environment:\n  " + "\n  ".join(lines)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"Cannot read {config_file()} as TOML: {error}. Correct the file."
        ) from error
    except SettingsError as error:
        raise BadInput(f"Cannot read the environment: {error}. Expected JSON.") from error


def _shown(fault: ErrorDetails) -> str:
    """A key is not shown, even if its name is misspelt."""
    return "a secret" if "key" in str(fault["loc"][-1]).lower() else repr(fault["input"])
