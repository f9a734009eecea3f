"""AutoGluon-TimeSeries on what `forecasting.py` writes; runs in an environment of its own.

    python benchmarks/forecasting_autogluon.py FOLDER

Reads `data.npz` and `names.json`; writes `forecasts.npy`, (origins, horizon, 4): the number and its quantiles.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor

CONTEXT = 24 * 28
"""Hours of history each origin shows at prediction."""
LEVELS = [0.1, 0.5, 0.9]


def main() -> None:
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    names = json.loads((folder / "names.json").read_text())
    data = np.load(folder / "data.npz")
    values, origins, first, horizon = data["values"], data["origins"], int(data["first"]), int(data["horizon"])
    times = pd.date_range("2010-01-01", periods=len(values), freq="h")
    # The clock is made by AutoGluon itself; the weather is told up to the origin only.
    columns = [name for name in names if not name.startswith(("hour ", "week ", "year "))]
    frame = pd.DataFrame(values, columns=names)[columns].rename(columns={"pm2.5": "target"})
    frame["timestamp"] = times

    def series(item: str, begin: int, end: int) -> pd.DataFrame:
        return frame.iloc[begin:end].assign(item_id=item)

    learned = TimeSeriesDataFrame.from_data_frame(series("beijing", 0, first))
    predictor = TimeSeriesPredictor(
        prediction_length=horizon,
        target="target",
        freq="h",
        eval_metric="RMSE",
        quantile_levels=LEVELS,
        path=str(folder / "autogluon"),
        verbosity=1,
    )
    predictor.fit(
        learned,
        presets="high_quality",
        time_limit=int(data["limit"]),
        excluded_model_types=["Chronos", "Chronos2", "Toto", "Toto2"],
        num_val_windows=3,
        random_seed=0,
    )
    print(predictor.leaderboard().to_string(), flush=True)
    shown = pd.concat([series(f"{at:06d}", max(0, at + 1 - CONTEXT), at + 1) for at in origins])
    found = predictor.predict(TimeSeriesDataFrame.from_data_frame(shown))
    columns = ["mean", *(str(level) for level in LEVELS)]
    out = np.stack([found.loc[f"{at:06d}"][columns].to_numpy() for at in origins])
    np.save(folder / "forecasts.npy", out.astype(np.float64))


if __name__ == "__main__":
    main()
