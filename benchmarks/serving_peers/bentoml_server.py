"""BentoML around the same LightGBM model. Run: bentoml serve bentoml_server:Forest"""

import os

import bentoml
import lightgbm
import numpy as np


@bentoml.service(workers=1, traffic={"timeout": 30})
class Forest:
    def __init__(self):
        self.model = lightgbm.Booster(model_file=os.environ["SANMARU_BENCH_MODEL"])

    @bentoml.api(route="/predict")
    def predict(self, rows: list[dict]) -> dict:
        x = np.array([list(row.values()) for row in rows], dtype=np.float64)
        return {"predictions": self.model.predict(x, num_threads=1).tolist()}
