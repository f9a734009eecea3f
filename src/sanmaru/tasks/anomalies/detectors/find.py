"""Detectors by their config."""

from __future__ import annotations

from sanmaru.tasks.anomalies.config import (
    AutoEncoderConfig,
    DetectorConfig,
    ECODConfig,
    IsolationForestConfig,
    LocalOutlierFactorConfig,
    LSTMAutoEncoderConfig,
    OneClassSVMConfig,
)
from sanmaru.tasks.anomalies.detectors.base import Detector
from sanmaru.training.config import TrainConfig


def make_detector(config: DetectorConfig, train: TrainConfig) -> Detector:
    """Return an unfitted detector."""
    match config:
        case IsolationForestConfig():
            from sanmaru.tasks.anomalies.detectors.forest import IsolationForest

            return IsolationForest(config)
        case LocalOutlierFactorConfig():
            from sanmaru.tasks.anomalies.detectors.lof import LocalOutlierFactor

            return LocalOutlierFactor(config)
        case OneClassSVMConfig():
            from sanmaru.tasks.anomalies.detectors.svm import OneClassSVM

            return OneClassSVM(config)
        case ECODConfig():
            from sanmaru.tasks.anomalies.detectors.ecod import ECOD

            return ECOD()
        case AutoEncoderConfig() | LSTMAutoEncoderConfig():
            from sanmaru.tasks.anomalies.detectors.autoencoder import AutoEncoder

            return AutoEncoder(config, train)
        case _:
            from sanmaru.tasks.anomalies.detectors.rules import Rules

            return Rules(config.kind)
