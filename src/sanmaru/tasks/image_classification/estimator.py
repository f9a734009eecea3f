"""A network fitted to pictures. Fitting needs torch; a saved one answers through ONNX Runtime and loads no torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.files import read_json, write_json
from sanmaru.images.read import UnreadableImageError, UnreadablePicturesError, encoding, read_square
from sanmaru.images.store import ImageStore
from sanmaru.openmp import wait_passively
from sanmaru.tables.joint import JointTarget
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.tta import count_views

if TYPE_CHECKING:
    from torch import nn

    from sanmaru.tasks.base import Estimator, FitContext, RowEncoder
    from sanmaru.training.config import TrainConfig

BATCH_PIXELS = 2**20
"""Pixels that go through the network at once when predicting: 256 pictures of 64 pixels a side, 20 of 224."""


VERSION = 2
"""Of the form of a saved estimator."""


class NetworkEstimator:
    """A network for one target, or for the joint class of several.

    Args:
        config: Backbone, heads and picture size.
        image: Name of the column of pictures (paths or encoded bytes).
        classes: Number of classes, the joint ones of several targets.
        joint: The targets behind joint classes.
        train: How it is trained; not needed by a loaded one.
        truth: Gives class codes (n,) of a table; not needed by a loaded one.
    """

    def __init__(
        self,
        config: NetworkConfig,
        *,
        image: str,
        classes: int,
        joint: JointTarget | None = None,
        train: TrainConfig | None = None,
        truth: Callable[[pl.DataFrame], np.ndarray] | None = None,
    ) -> None:
        self.config = config
        self.image = image
        self.classes = classes
        self.joint = joint
        self.encoding = "picture-" + encoding(config.image_size, config.reader)
        self._train = train
        self._truth = truth
        self._threads = 1
        self._cache: Path | None = None
        self._network: nn.Module | None = None
        self._normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        self._sample: np.ndarray | None = None
        self._details: dict[str, Any] = {}
        self._architecture: dict[str, Any] | None = None
        self._folder: Path | None = None
        self._session: Any = None
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> NetworkEstimator:
        """Read what `save` wrote; torch stays unloaded.

        Raises:
            DataError: when the folder is not one of ours, or of a newer form.
        """
        content = read_json(folder / "estimator.json")
        if content.get("kind") != "network" or content.get("version") != VERSION:
            raise DataError(f"{folder} does not hold a network that this version of Sanmaru can read.")
        estimator = cls(
            NetworkConfig.model_validate(content["config"]),
            image=content["image"],
            classes=content["classes"],
            joint=None if content["joint"] is None else JointTarget.from_json(content["joint"]),
        )
        # What a picture is turned into belongs to the saved network, not to the reader of today.
        estimator.encoding = content["encoding"]
        estimator._details = content["details"]
        estimator._folder = folder
        return estimator

    @property
    def threads(self) -> int:
        """Cores that reading pictures and `forward` may use."""
        return self._threads

    @threads.setter
    def threads(self, value: int) -> None:
        with self._lock:
            self._threads = max(1, value)
            self._session = None

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Train on `train`; `valid`, where given, selects the best epoch by `context.metric`."""
        wait_passively()  # before torch brings its OpenMP
        import torch

        from sanmaru.tasks.image_classification.fitting import Plan, Rows, fit_network
        from sanmaru.tasks.image_classification.heads import Heads
        from sanmaru.training.loop import limited_threads

        if self._train is None or self._truth is None:
            raise RuntimeError("a loaded estimator cannot be fitted again")
        self._cache, self.threads = context.cache, context.threads
        heads = Heads(self.config.heads, self.classes, self.joint)
        build_s = 0.0

        def rows(table: pl.DataFrame) -> Rows:
            nonlocal build_s
            assert self._truth is not None
            found, truth = self._resident(table, context), self._truth(table)
            build_s = max(build_s, found.build_s)
            return Rows(found.array, found.positions, heads.labels(table, truth), truth)

        with limited_threads(context.threads), torch.random.fork_rng():
            fit_rows = rows(train)
            valid_rows = rows(valid) if valid is not None and len(valid) else None
            fitted = fit_network(Plan(self.config, self._train, heads), fit_rows, valid_rows, context, build_s)
        self._network, self._normalisation = fitted.network, (fitted.mean, fitted.std)
        spread = np.linspace(0, len(train) - 1, min(8, len(train))).astype(np.int64)
        self._architecture = fitted.architecture
        self._sample = np.array(fit_rows.images[fit_rows.positions[spread]])
        self._details = {**fitted.details, "threads": context.threads, "cache_build_s": round(build_s, 3)}

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Return the pictures of a table, uint8 (n, size, size, 3).

        While a fit's cache is known they come from there, else they are decoded here and nothing is kept.

        Raises:
            UnreadablePicturesError: a DataError with their number, the first one, and all of them in its `rows`.
            DataError: when the column is absent.
        """
        sources = self._sources(table)
        if self._cache is not None:
            found = ImageStore(self._cache, self.config.image_size, self.config.reader).load(
                sources, threads=self._threads
            )
            _refuse_unreadable(self.image, found.facts["reason"].to_list(), sources)
            return found.rows()
        return self._decode(sources)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `encode`, from mappings that hold a picture's encoded bytes (or its path) under the image column's name.

        Raises:
            DataError: naming the row whose picture is missing, of the wrong type, too large or unreadable.
        """
        sources = [row.get(self.image) for row in rows]
        for place, source in enumerate(sources):
            if source is not None and not isinstance(source, bytes | str):
                raise DataError(
                    f"row {place}: {self.image!r} should be the bytes of a picture, got {type(source).__name__}."
                )
        return self._decode(sources)

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return logits, float32 (n, classes), of pictures uint8 (n, size, size, 3)."""
        views = count_views(self.config.tta)
        size = max(1, min(256, BATCH_PIXELS // (views * self.config.image_size**2)))
        parts = [self._forward(np.ascontiguousarray(array[i : i + size])) for i in range(0, len(array), size)]
        return np.concatenate(parts) if parts else np.empty((0, self.classes), np.float32)

    def save(self, folder: Path) -> None:
        """Write model.onnx, model.safetensors and estimator.json.

        Raises:
            RuntimeError: when the network is not fitted, or its export is not as exact as it must be.
        """
        if self._network is None or self._normalisation is None or self._sample is None:
            raise RuntimeError("only a fitted network can be saved")
        from safetensors.torch import save_file

        from sanmaru.tasks.image_classification.export import export_onnx

        folder.mkdir(parents=True, exist_ok=True)
        mean, std = self._normalisation
        sample = self._sample if len(self._sample) > 1 else np.concatenate([self._sample, self._sample])
        export_onnx(self._network, mean, std, sample, folder / "model.onnx", tta=self.config.tta)
        tensors = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in self._network.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
        write_json(
            folder / "estimator.json",
            {
                "kind": "network",
                "version": VERSION,
                "config": self.config.model_dump(mode="json"),
                "image": self.image,
                "classes": self.classes,
                "joint": None if self.joint is None else self.joint.to_json(),
                "encoding": self.encoding,
                "mean": list(mean),
                "std": list(std),
                "architecture": self._architecture,
                "details": self._details,
            },
        )

    def details(self) -> dict[str, Any]:
        """Return parameters, best epoch, samples per second, honest fraction with its shares, cache build time."""
        return dict(self._details)

    def _sources(self, table: pl.DataFrame) -> list[str | bytes | None]:
        if self.image not in table.columns:
            raise DataError(f"there is no column {self.image!r} with pictures. Columns: {', '.join(table.columns)}.")
        return table[self.image].to_list()

    def _resident(self, table: pl.DataFrame, context: FitContext) -> Any:
        def progress(done: int, total: int) -> None:
            context.progress(done, total, unit="picture")

        sources = self._sources(table)
        store = ImageStore(context.cache, self.config.image_size, self.config.reader)
        found = store.load(sources, threads=context.threads, progress=progress)
        _refuse_unreadable(self.image, found.facts["reason"].to_list(), sources)
        return found

    def _decode(self, sources: Sequence[str | bytes | None]) -> np.ndarray:
        out = np.empty((len(sources), self.config.image_size, self.config.image_size, 3), np.uint8)

        def one(place: int) -> str | None:
            source = sources[place]
            if source is None:
                return "there is no picture"
            try:
                out[place] = read_square(source, self.config.image_size, self.config.reader)
            except UnreadableImageError as error:
                return error.reason
            return None

        if self._threads == 1 or len(sources) == 1:
            reasons = [one(place) for place in range(len(sources))]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                reasons = list(pool.map(one, range(len(sources))))
        _refuse_unreadable(self.image, reasons, sources)
        return out

    def _forward(self, pixels: np.ndarray) -> np.ndarray:
        if self._network is not None and self._normalisation is not None:
            return self._forward_torch(pixels)
        session = self._session
        if session is None:
            with self._lock:
                if self._session is None:
                    self._session = self._open()
                session = self._session
        return np.asarray(session.run(None, {"pixels": pixels})[0], dtype=np.float32)

    def _forward_torch(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        from sanmaru.tasks.image_classification.export import FromPixels
        from sanmaru.training.loop import limited_threads

        assert self._network is not None
        assert self._normalisation is not None
        device = next(self._network.parameters()).device
        model = FromPixels(self._network, *self._normalisation, self.config.tta).to(device).eval()
        with torch.no_grad(), limited_threads(self._threads):
            logits = model(torch.from_numpy(pixels).to(device))
        return np.asarray(logits.float().cpu().numpy())

    def _open(self) -> Any:
        if self._folder is None:
            raise RuntimeError("the network is neither fitted nor loaded")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Idle threads that spin would take cores from the rest of a server.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            str(self._folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )


def _refuse_unreadable(column: str, reasons: Sequence[str | None], sources: Sequence[str | bytes | None]) -> None:
    broken = {place: reason for place, reason in enumerate(reasons) if reason is not None}
    if not broken:
        return
    first, reason = next(iter(broken.items()))
    source = sources[first]
    shown = repr(source) if isinstance(source, str) else "its bytes" if source is not None else "nothing"
    count = "1 picture" if len(broken) == 1 else f"{len(broken)} of {len(reasons)} pictures"
    raise UnreadablePicturesError(
        f"{count} in {column!r} cannot be read; row {first} ({shown}): {reason}.", column=column, rows=broken
    )


if TYPE_CHECKING:

    def _conforms(estimator: NetworkEstimator) -> tuple[Estimator, RowEncoder]:
        return estimator, estimator
