"""Imported first by the worker processes of these tests: trainings without report and MLflow mirror, which take most of
a small one's time and have tests of their own."""

from tests.conftest import NoMirror

import sanmaru.experiments.report
import sanmaru.experiments.train

sanmaru.experiments.train.Mirror = NoMirror  # type: ignore[assignment,misc]
sanmaru.experiments.report.report = lambda run, table=None: None  # type: ignore[assignment,misc]
