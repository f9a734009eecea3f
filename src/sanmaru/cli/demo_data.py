"""The demo's data: two sets that ship inside scikit-learn, written as a user would have them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def write_digits(folder: Path, *, seed: int = 7) -> None:
    """Write scikit-learn's 1,797 handwritten digits as pictures with `train.csv`, `test.csv` and a sample submission.

    The pictures (8 x 8, 16 grey levels; Alpaydin and Kaynak, UCI 1998) are enlarged to 32 x 32 so that a person can
    look at them. 1,500 are for training; the labels of the other 297 are kept in `test_truth.csv`.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = []
    for position in order:
        name = f"{position:04d}.png"
        grey = (digits.images[position] * 255 / 16).astype(np.uint8)
        Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC).save(images / name)
        rows.append((f"digit-{position:04d}", name, int(digits.target[position])))
    train, test = rows[:1500], rows[1500:]
    _write(folder / "train.csv", ("id", "file", "digit"), train)
    _write(folder / "test.csv", ("id", "file"), [row[:2] for row in test])
    _write(folder / "test_truth.csv", ("id", "digit"), [(row[0], row[2]) for row in test])
    _write(folder / "sample_submission.csv", ("id", "digit"), [(row[0], 0) for row in test])


def write_diabetes(folder: Path, *, seed: int = 7) -> None:
    """Write scikit-learn's table of 442 diabetes patients: progression after a year from ten measurements.

    Units as collected (Efron et al., "Least Angle Regression", 2004). The source codes sex as 1 and 2 without saying
    which is which, and so do we. 353 rows are for training.
    """
    import numpy as np
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    order = np.random.default_rng(seed).permutation(len(data.target))
    names = {
        "age": "age", "sex": "sex", "bmi": "body_mass_index", "bp": "blood_pressure", "s1": "cholesterol",
        "s2": "ldl", "s3": "hdl", "s4": "cholesterol_per_hdl", "s5": "log_triglycerides", "s6": "glucose",
    }  # fmt: skip
    columns = [names[name] for name in data.feature_names]
    rows = []
    for position in order:
        values = [f"{value:g}" for value in data.data[position]]
        values[columns.index("sex")] = f"code {values[columns.index('sex')]}"
        rows.append((f"patient-{position:03d}", *values, f"{data.target[position]:g}"))
    train, test = rows[:353], rows[353:]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "train.csv", ("id", *columns, "progression"), train)
    _write(folder / "test.csv", ("id", *columns), [row[:-1] for row in test])
    _write(folder / "test_truth.csv", ("id", "progression"), [(row[0], row[-1]) for row in test])
    _write(folder / "sample_submission.csv", ("id", "progression"), [(row[0], 0.0) for row in test])


def _write(path: Path, header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows(rows)
