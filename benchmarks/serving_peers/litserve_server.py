"""LitServe around the same LightGBM model."""

import os

import lightgbm
import litserve
import numpy as np


class Forest(litserve.LitAPI):
    def setup(self, device):
        self.model = lightgbm.Booster(model_file=os.environ["SANMARU_BENCH_MODEL"])

    def decode_request(self, request):
        return np.array([list(row.values()) for row in request["rows"]], dtype=np.float64)

    def predict(self, x):
        return self.model.predict(x, num_threads=1)

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Forest(), accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(os.environ["SANMARU_BENCH_PORT"]), generate_client_file=False, log_level="warning"
    )
