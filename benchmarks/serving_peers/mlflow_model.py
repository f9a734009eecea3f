"""Saves the same LightGBM model as an MLflow model: python mlflow_model.py TARGET_FOLDER."""

import os
import sys

import lightgbm
import mlflow.lightgbm

if __name__ == "__main__":
    booster = lightgbm.Booster(model_file=os.environ["SANMARU_BENCH_MODEL"])
    mlflow.lightgbm.save_model(booster, sys.argv[1])
