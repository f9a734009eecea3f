"""Finding a model for tables by its kind."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError
from sanmaru.files import read_json
from sanmaru.tasks.tabular import config as configs

if TYPE_CHECKING:
    from sanmaru.tasks.tabular.estimator import BaseTabularEstimator
    from sanmaru.tasks.tabular.task import Tabular
    from sanmaru.training.config import TrainConfig

MODELS: dict[str, tuple[type[configs.BaseTabularModel], str, str]] = {
    "lightgbm": (configs.LightGBMConfig, "lightgbm", "LightGBM"),
    "catboost": (configs.CatBoostConfig, "catboost", "CatBoost"),
    "linear": (configs.LinearConfig, "linear", "Linear"),
    "neighbours": (configs.NearestNeighboursConfig, "neighbours", "Neighbours"),
    "network": (configs.TableNetworkConfig, "network", "Network"),
}
"""Kind to config, module and class; a module is imported when a model of its kind is made."""


def make_model(task: Tabular, config: Any, train: TrainConfig) -> BaseTabularEstimator:
    """Make an unfitted model.

    Raises:
        TypeError: when the config is not one of a model for tables.
        DataError: when the config does not fit the task.
    """
    if not isinstance(config, configs.BaseTabularModel):
        raise TypeError(f"a tabular task takes the config of a model for tables, got {type(config).__name__}")
    kind: str = config.kind  # type: ignore[attr-defined]
    if getattr(config, "quantiles", ()) != task.output.quantiles:
        raise DataError(
            f"the model predicts the quantiles {list(getattr(config, 'quantiles', ()))} and the task was opened for "
            f"{list(task.output.quantiles)}. Open it with the model's: Tabular.open(..., quantiles=config.quantiles)."
        )
    return _class(kind)(task, config, train)


def load_model(task: Tabular, folder: Path) -> BaseTabularEstimator:
    """Read what a model's `save` wrote.

    Raises:
        DataError: when the folder holds another kind of model, or one of another table.
    """
    content = read_json(folder / "estimator.json")
    if content["encoding"] != task.encoding:
        raise DataError(
            f"the model in {folder} was learned on rows encoded as {content['encoding']}, and this task encodes "
            f"them as {task.encoding}. Use the task.json that was written with it."
        )
    if content["kind"] not in MODELS:
        raise DataError(f"{folder} holds a model of kind {content['kind']!r}, which is not a tabular one.")
    return _class(content["kind"]).load(task, folder)


def config_of(kind: str) -> type[configs.BaseTabularModel]:
    """The config of a kind of model."""
    return MODELS[kind][0]


def _class(kind: str) -> type[BaseTabularEstimator]:
    _, module, name = MODELS[kind]
    found: type[BaseTabularEstimator] = getattr(import_module(f"sanmaru.tasks.tabular.{module}"), name)
    return found
