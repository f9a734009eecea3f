"""The project file: one YAML file that describes the problem, read strictly.

Unknown keys are errors that name the nearest known key and the line they stand on. The file is the union of the
configs that live beside their owners, discriminated by `task` and `model.kind`, and so this module stands above
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from sanmaru.collect.config import SourceConfig, SourceName
from sanmaru.config import Config, all_configs, field_docs
from sanmaru.errors import ProjectFileError, nearest
from sanmaru.monitoring.config import MonitorConfig
from sanmaru.pipelines.config import PipelineConfig
from sanmaru.tables.config import DataConfig, SplitConfig
from sanmaru.tables.rules import RuleConfig
from sanmaru.tasks.anomalies.config import AnomalySection, Budget, DetectorConfig, RulesConfig
from sanmaru.tasks.forecasting.config import ForecastConfig, ForecastModelConfig
from sanmaru.tasks.image_classification.config import ImageModelConfig
from sanmaru.tasks.image_classification.report_config import ReportConfig
from sanmaru.tasks.tabular.config import TabularModelConfig
from sanmaru.tasks.tabular.features.config import FeatureSteps, Gain
from sanmaru.training.config import TrainConfig

FILE_NAME = "sanmaru.yaml"


class ClusterConfig(Config):
    """Where folds run: in this process, in worker processes, or on Ray."""

    kind: Annotated[str, Field(pattern=r"^(inline|processes|ray|ray://.+)$")] = "inline"
    workers: Annotated[int, Field(ge=1)] | None = None
    """Items run at once; one per core where absent."""


class StorageConfig(Config):
    """Where runs, the registry and caches are kept, relative to the project folder unless absolute."""

    runs: str = "runs"
    models: str = "models"
    """Folder that holds the registered model packages."""
    tracking: str = "sqlite:///mlflow.db"
    """MLflow tracking and registry store (an SQLAlchemy URL or an MLflow server)."""
    cache: str = ".cache"
    collected: str = "collected"
    """Folder of raw answers and of the tables made of them."""


class _ProjectFile(Config):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9가-힣][A-Za-z0-9가-힣._-]*$", max_length=80)]
    """Also the default name under which models are registered."""
    problem: str = ""
    """What is to be told from what, for whom. Appears on the report and the model card."""
    goal: str = ""
    """What the model is for, and how well it must do it."""
    constraints: str = ""
    """What must be kept to: time, memory, fairness, what may not be learned from."""
    baseline: str = ""
    """What is done today, or the score to beat."""
    data: DataConfig
    """Files, and which column plays which role."""
    split: SplitConfig = SplitConfig()
    """How rows become folds."""
    train: TrainConfig = TrainConfig()
    """Epochs, optimiser, augmentation, which rows choose the best epoch."""
    metric: str | None = None
    """The one metric that selects checkpoints and ranks runs; the task's usual one where absent."""
    seed: int = 7
    """Of everything random but the split, which has its own."""
    cluster: ClusterConfig = ClusterConfig()
    """Where folds run."""
    storage: StorageConfig = StorageConfig()
    """Where runs, models, the registry and caches are kept."""
    contract: dict[str, RuleConfig] = Field(default_factory=dict)
    """What collected values must satisfy, by column; a value that does not is set aside and counted."""
    pipeline: PipelineConfig | None = None
    """Steps that run for every data interval, tied by completion."""
    monitor: MonitorConfig | None = None
    """What is watched for drift, against which reference, and who is told."""
    collect: dict[SourceName, SourceConfig] = Field(default_factory=dict)
    """Sources to fetch from, by name."""

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str | None) -> str | None:
        from sanmaru.metrics.names import NAMES

        if value is not None and value not in NAMES:
            raise ValueError(f"unknown metric {value!r}. {nearest(value, NAMES)}")
        return value

    @model_validator(mode="after")
    def _time_to_learn_from(self) -> _ProjectFile:
        if self.data.learn_time:
            if getattr(self, "task", None) != "tabular":
                raise ValueError("data.learn_time is for task `tabular`; take it out")
            if self.data.time is None:
                raise ValueError("data.learn_time: true needs a column that data.time names")
            if self.data.features is not None:
                raise ValueError(
                    "data.features names what is learned from, the column of time too; not data.learn_time"
                )
        return self

    @model_validator(mode="after")
    def _long_tables_only(self) -> _ProjectFile:
        if getattr(self, "task", None) in ("image-classification", "tabular"):
            data = self.data
            given = [name for name in ("series", "known", "static", "revised") if getattr(data, name)]
            if given:
                raise ValueError(f"data.{given[0]} is for long tables of series; task `{self.task}` takes none")  # type: ignore[attr-defined]
            if data.time is not None and not isinstance(data.time, str):
                raise ValueError("data.time names one column here; several are for long tables of series")
        return self


class ImageClassificationFile(_ProjectFile):
    """A project file whose task is image classification."""

    task: Literal["image-classification"]
    model: ImageModelConfig = ImageModelConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _several_heads_for_several_targets(self) -> ImageClassificationFile:
        if self.model.heads != "joint" and len(self.data.target) < 2:
            raise ValueError(
                f"model.heads: {self.model.heads} needs several targets, and data.target names "
                f"{len(self.data.target)}. Name them all in data.target, or take heads: joint"
            )
        return self


class TabularFile(_ProjectFile):
    """A project file whose task is tabular: regression, binary or multiclass, told from the target."""

    task: Literal["tabular"]
    model: TabularModelConfig = Field(
        default_factory=lambda: TypeAdapter(TabularModelConfig).validate_python({"kind": "lightgbm"})
    )
    problem_type: Literal["auto", "regression", "classification"] = "auto"
    features: FeatureSteps = ()
    """Feature steps, applied inside each fold before the model: a list such as
    `[dates, {target_encoding: {columns: [dong]}}]`, or `auto`."""
    features_gain: Gain = "auto"
    """How the report tells what each feature step gains: `refit` fits the model once more without each step, `permute`
    only shuffles its columns among a fold's validation rows, which is cheap and says less; `auto` refits where rows
    times steps are at most 50,000; `none` does not tell."""


class ForecastingFile(_ProjectFile):
    """A project file whose task is forecasting: numbers of series, some steps ahead."""

    task: Literal["forecasting"]
    split: SplitConfig = SplitConfig(kind="time")
    """Blocks of origins at the end, one per fold; `forecast.origins` says which they are."""
    model: ForecastModelConfig = Field(
        default_factory=lambda: TypeAdapter(ForecastModelConfig).validate_python({"kind": "lightgbm"})
    )
    forecast: ForecastConfig = ForecastConfig()
    """Steps, horizon, and what of the past a window shows."""
    anomalies: AnomalySection | None = None
    """How strange rows are told, before anything is forecast from them; they are not told where absent."""

    @field_validator("split", mode="before")
    @classmethod
    def _split_in_time(cls, value: Any) -> Any:
        return {"kind": "time", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _in_time(self) -> ForecastingFile:
        if self.split.kind != "time":
            raise ValueError(
                f"split.kind: {self.split.kind} cannot judge forecasts, which need the past only. Use time"
            )
        if self.split.gap:
            raise ValueError("split.gap counts rows; say forecast.origins.gap, in steps or as a duration")
        if self.split.final != "auto":
            raise ValueError("split.final is for tables and pictures; say forecast.final, refit or last")
        for name in ("group", "image", "images"):
            if getattr(self.data, name) is not None:
                raise ValueError(f"data.{name} means nothing to task `forecasting`; take it out")
        if self.data.test is not None:
            raise ValueError("data.test means nothing to task `forecasting`: forecasts begin where data.train ends")
        return self


class AnomalyDetectionFile(_ProjectFile):
    """A project file whose task is anomaly detection: strange rows of series, under a budget of alarms."""

    task: Literal["anomaly-detection"]
    model: DetectorConfig = RulesConfig()
    """The detector; `data.features` are the columns that it watches."""
    counters: tuple[str, ...] = ()
    """Columns that add up and are set back to the beginning, such as hours of rain so far: what they grow by is
    watched, and a reset is nothing strange."""
    budget: Budget = Budget()
    """How many alarms may be raised though nothing is wrong."""
    zone: str = "UTC"
    """Time zone in which times without one were written, and of the hour of day, such as Asia/Seoul."""

    @model_validator(mode="after")
    def _has_time(self) -> AnomalyDetectionFile:
        if self.data.time is None:
            raise ValueError("data.time is missing: task `anomaly-detection` looks at rows in the order of time")
        return self


ProjectFile = Annotated[
    ImageClassificationFile | TabularFile | ForecastingFile | AnomalyDetectionFile, Field(discriminator="task")
]
AnyFile = ImageClassificationFile | TabularFile | ForecastingFile | AnomalyDetectionFile
_ADAPTER: TypeAdapter[AnyFile] = TypeAdapter(ProjectFile)


class Project:
    """A folder with a project file, and the file's validated content.

    Example:
        >>> project = Project.load("my-project", "train.epochs=3")      # doctest: +SKIP
        >>> project.file.train.epochs                                   # doctest: +SKIP
        3
    """

    def __init__(self, folder: Path, file: AnyFile, lines: Mapping[tuple[str, ...], int] | None = None) -> None:
        self.folder = folder
        self.file = file
        self.lines = lines or {}
        """Line of each key, as a path of names, where the project was read from a file."""

    @classmethod
    def load(cls, path: str | Path = ".", *overrides: str) -> Project:
        """Read the project file of a folder, or a project file itself, with fields overridden.

        Args:
            path: The project folder, the file, or a folder below the project folder.
            overrides: Texts such as ``"train.learning_rate=1e-3"``; the value is read as YAML.

        Raises:
            ProjectFileError: when the file is absent, is not YAML, or has a wrong or unknown key.
        """
        file = _find(Path(path))
        content, lines = _parse(file)
        for override in overrides:
            _apply(content, override)
        return cls(file.parent.resolve(), validate(content, source=file, lines=lines), lines)

    @classmethod
    def from_dict(cls, folder: str | Path, content: Mapping[str, Any]) -> Project:
        """Make a project from plain values instead of a file; paths are relative to `folder`."""
        return cls(Path(folder).resolve(), validate(dict(content), source=None, lines={}))

    def to_dict(self) -> dict[str, Any]:
        """Return every field, defaults included, as plain values that `from_dict` takes back."""
        return self.file.model_dump(mode="json", by_alias=True)

    def with_overrides(self, *overrides: str) -> Project:
        """Return a copy with fields overridden, as `load` does."""
        content = self.to_dict()
        for override in overrides:
            _apply(content, override)
        return Project(self.folder, validate(content, source=None, lines={}))

    def path(self, relative: str) -> Path:
        """Resolve a path of the project file against the project folder."""
        return (self.folder / Path(relative).expanduser()).resolve()

    @property
    def name(self) -> str:
        """The project's name."""
        return self.file.name

    @property
    def runs_folder(self) -> Path:
        """Where runs are kept."""
        return self.path(self.file.storage.runs)

    @property
    def models_folder(self) -> Path:
        """Where registered packages are kept."""
        return self.path(self.file.storage.models)

    @property
    def cache_folder(self) -> Path:
        """Where decoded pictures and other things that can be made again are kept."""
        return self.path(self.file.storage.cache)

    @property
    def collected_folder(self) -> Path:
        """Where raw answers and the tables made of them are kept."""
        return self.path(self.file.storage.collected)

    @property
    def tracking_uri(self) -> str:
        """MLflow's store; a relative SQLite path is resolved against the project folder."""
        uri = self.file.storage.tracking
        prefix = "sqlite:///"
        if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
            return prefix + str(self.folder / uri.removeprefix(prefix))
        return uri


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the project file, for editors, with what the code says of each field."""
    schema = _ADAPTER.json_schema()
    for config in all_configs():
        if config.__name__ not in schema["$defs"]:
            continue  # of a step, or of somebody else's: not a part of the project file
        properties = schema["$defs"][config.__name__].get("properties", {})
        names = {field.alias or name: name for name, field in config.model_fields.items()}
        docs = field_docs(config)
        for shown, name in names.items():
            if shown in properties and name in docs:
                properties[shown]["description"] = docs[name]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Sanmaru project file", **schema}


def validate(content: dict[str, Any], *, source: Path | None, lines: Mapping[tuple[str, ...], int]) -> AnyFile:
    """Check plain values against the schema.

    Raises:
        ProjectFileError: naming every wrong key, its line where known, and the nearest right one.
    """
    model = content.get("model")
    if content.get("task") in ("tabular", "forecasting") and isinstance(model, dict) and "kind" not in model:
        content = {**content, "model": {"kind": "lightgbm", **model}}  # as where `model` is absent
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        where = str(source) if source else "project"
        problems = [_explain(content, problem, lines) for problem in error.errors()]
        raise ProjectFileError(f"{where}: " + "\n  ".join(problems)) from None


def _explain(content: dict[str, Any], problem: Mapping[str, Any], lines: Mapping[tuple[str, ...], int]) -> str:
    tags = {content.get("task")}
    model = content.get("model")
    if isinstance(model, dict):
        tags.add(model.get("kind"))
    # A discriminated union puts the chosen tag into the location; the user never wrote it there.
    location: list[str] = []
    value: Any = content
    for part in problem["loc"]:
        text = str(part)
        inside = (isinstance(value, Mapping) and text in value) or isinstance(value, list | tuple)
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if (text in tags or text == kind) and not inside:
            continue
        location.append(text)
        value = value.get(text) if isinstance(value, Mapping) else None
    key = ".".join(location)
    line = next((lines[tuple(location[:n])] for n in range(len(location), 0, -1) if tuple(location[:n]) in lines), None)
    at = f"line {line}: " if line else ""
    match problem["type"]:
        case "extra_forbidden":
            return f"{at}unknown key {key!r}. {nearest(location[-1], _siblings(content, location))}"
        case "missing":
            return f"{at}the key {key!r} is missing."
        case "union_tag_not_found":
            tag = "task" if not location else f"{key}.kind"
            return f"{at}the key {tag!r} is missing. Known: {_tags(problem)}."
        case "union_tag_invalid":
            tag = problem["ctx"]["tag"]
            name = "task" if not location else f"{key}.kind"
            return f"{at}unknown {name} {tag!r}. {nearest(tag, _tags(problem).replace(chr(39), '').split(', '))}"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    shown = "" if isinstance(given, dict | Config) else f" (got {given!r})"
    return f"{at}{key}: {message}{shown}"


def _tags(problem: Mapping[str, Any]) -> str:
    context = problem.get("ctx", {})
    return str(context.get("expected_tags") or "'image-classification', 'tabular', 'forecasting', 'anomaly-detection'")


def _siblings(content: Mapping[str, Any], location: list[str]) -> Iterable[str]:
    """Names of the fields that could stand where an unknown key stood, from the schema itself."""
    schema = _ADAPTER.json_schema()
    definitions = schema["$defs"]
    task = {
        "image-classification": "ImageClassificationFile",
        "tabular": "TabularFile",
        "forecasting": "ForecastingFile",
        "anomaly-detection": "AnomalyDetectionFile",
    }[content["task"]]
    node = definitions[task]
    value: Any = content
    for part in location[:-1]:
        named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]  # of a mapping by name
        node = node.get("properties", {}).get(part) or next((one for one in named if isinstance(one, dict)), {})
        value = value.get(part) if isinstance(value, Mapping) else None
        options = node.get("anyOf") or node.get("oneOf") or [node]
        chosen = [definitions[o["$ref"].rsplit("/", 1)[-1]] for o in options if "$ref" in o]
        if len(chosen) > 1 and isinstance(value, Mapping):
            kind = value.get("kind")
            chosen = [c for c in chosen if c["properties"].get("kind", {}).get("const") == kind] or chosen
        node = chosen[0] if chosen else node
    return list(node.get("properties", {}))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    start = path.resolve()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ProjectFileError(
        f"no {FILE_NAME} in {start} or above it. Make one with: sanmaru new --data train.csv --target COLUMN"
    )


def _parse(file: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_loader())
        node = yaml.compose(text, Loader=_loader())
    except UnicodeDecodeError as error:
        raise ProjectFileError(f"{file} is not UTF-8 (byte {error.start}). Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ProjectFileError(f"{file}{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(content, dict):
        raise ProjectFileError(f"{file} should hold `key: value` lines, got {type(content).__name__}.")
    lines: dict[tuple[str, ...], int] = {}
    _collect_lines(node, (), lines)
    return content, lines


def _loader() -> Any:
    """YAML's safe loader, which also reads 1e-3 as a number, as YAML 1.2 does and PyYAML does not."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )
    return Loader


def _collect_lines(node: Any, path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            if here in lines:
                raise ProjectFileError(f"line {key.start_mark.line + 1}: the key {'.'.join(here)!r} stands twice.")
            lines[here] = key.start_mark.line + 1
            _collect_lines(value, here, lines)


def _apply(content: dict[str, Any], override: str) -> None:
    import yaml

    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ProjectFileError(f"an override is key=value, such as train.epochs=3, got {override!r}")
    try:
        value = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise ProjectFileError(f"the value of {override!r} is not valid YAML: {error}") from error
    node = content
    *parents, last = key.split(".")
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ProjectFileError(f"{override!r}: {part!r} holds a single value and has no field {last!r}")
    if last == "kind" and isinstance(node.get(last), str) and node[last] != value:
        node.clear()  # another kind has other fields; those of the old one would be unknown keys
    node[last] = value
