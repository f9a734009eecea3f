"""Finding a model that forecasts by its kind."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError
from sanmaru.files import read_json
from sanmaru.tasks.forecasting import config as configs

if TYPE_CHECKING:
    from sanmaru.tasks.forecasting.estimator import BaseForecaster
    from sanmaru.tasks.forecasting.task import Forecasting
    from sanmaru.training.config import TrainConfig

MODELS: dict[str, tuple[type[configs.BaseForecastModel], str, str]] = {
    "persistence": (configs.PersistenceConfig, "naive", "Persistence"),
    "seasonal-naive": (configs.SeasonalNaiveConfig, "naive", "SeasonalNaive"),
    "ridge": (configs.RidgeConfig, "ridge", "Ridge"),
    "lightgbm": (configs.LightGBMForecastConfig, "trees", "Trees"),
    "ets": (configs.ETSConfig, "statistical", "ETS"),
    "lstm": (configs.LSTMConfig, "lstm", "LSTM"),
}
"""Kind to config, module and class; a module is imported when a model of its kind is made."""

BASELINES = ("persistence", "seasonal-naive")
"""Kinds that are always judged beside a model."""


def make_model(task: Forecasting, config: Any, train: TrainConfig) -> BaseForecaster:
    """Make an unfitted model.

    Raises:
        TypeError: when the config is not one of a model that forecasts.
    """
    if not isinstance(config, configs.BaseForecastModel):
        raise TypeError(f"a forecasting task takes the config of a model that forecasts, got {type(config).__name__}")
    kind: str = config.kind  # type: ignore[attr-defined]
    return _class(kind)(task, config, train)


def load_model(task: Forecasting, folder: Path) -> BaseForecaster:
    """Read what a model's `save` wrote.

    Raises:
        DataError: when the folder holds another kind of model, or one of other windows.
    """
    content = read_json(folder / "estimator.json")
    if content["encoding"] != task.encoding:
        raise DataError(
            f"the model in {folder} was learned on windows {content['encoding']}, and this task makes "
            f"{task.encoding}. Use the task.json that was written with it."
        )
    if content["kind"] not in MODELS:
        raise DataError(f"{folder} holds a model of kind {content['kind']!r}, which does not forecast.")
    return _class(content["kind"]).load(task, folder)


def config_of(kind: str) -> type[configs.BaseForecastModel]:
    """The config of a kind of model."""
    return MODELS[kind][0]


def _class(kind: str) -> type[BaseForecaster]:
    _, module, name = MODELS[kind]
    found: type[BaseForecaster] = getattr(import_module(f"sanmaru.tasks.forecasting.{module}"), name)
    return found
