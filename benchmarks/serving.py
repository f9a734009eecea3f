"""Requests per second of `sanmaru serve`, beside a bare ASGI function, FastAPI, and other model servers.

Run: python benchmarks/serving.py [--seconds 3] [--rounds 5] [--peers PYTHON] [--no-picture]

Table: scikit-learn's breast cancer data (30 numbers), LightGBM of 100 trees, one row a request; the peers hold the very
same model. Picture: a ResNet-18 at 64 px on ONNX Runtime with random weights after one short epoch, one PNG a request,
beside the same package called in this process. The client is wrk in a process of its own (or serving_peers/client.py),
so on two cores it shares the machine with the server. Servers take turns in every round; ratios are taken within a
round, and medians of the rounds are printed. "server µs" is the server's processor time per request, which a
busy machine disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import polars as pl
import psutil

from sanmaru.metrics.base import find_metric
from sanmaru.packages.package import Package
from sanmaru.packages.write import write_package
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext

PEERS = Path(__file__).parent / "serving_peers"
CONCURRENCY = (1, 8, 32)
OURS, BARE = "sanmaru serve", "bare ASGI"


@dataclass
class Server:
    """One server to be measured."""

    name: str
    command: list[str]
    environment: dict[str, str]
    port: int
    path: str
    body: Path
    kind: str = "application/json"
    folder: Path | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", help="python of an environment with mlflow, litserve and bentoml")
    parser.add_argument("--no-picture", action="store_true")
    parser.add_argument("--concurrency", type=int, nargs="+", default=list(CONCURRENCY))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        package = table_package(folder / "table")
        row = pl.read_parquet(folder / "row.parquet").to_dicts()[0]
        servers = own_servers(package, row, folder)
        if arguments.peers:
            servers += peer_servers(arguments.peers, package, row, folder)
        client = "wrk" if shutil.which("wrk") else "serving_peers/client.py"
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, client {client}\n")
        print(table(measure(servers, arguments)))
        if not arguments.no_picture:
            print("\n" + picture(folder, arguments))


def table_package(folder: Path) -> Path:
    """Fit and package the table model; keep one row beside it."""
    from sklearn.datasets import load_breast_cancer

    from sanmaru.tasks.tabular.config import LightGBMConfig
    from sanmaru.tasks.tabular.task import Tabular
    from sanmaru.training.config import TrainConfig

    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    rows = pl.DataFrame(data.data, schema=names)
    rows.head(1).write_parquet(folder.parent / "row.parquet")
    labels = np.where(data.target == 1, "benign", "malignant")
    frame = rows.with_columns(id=pl.arange(len(rows)), diagnosis=pl.Series(labels))
    task = Tabular.open(frame, Roles(id="id", targets=("diagnosis",), features=tuple(names)))
    return packaged(folder, task, frame, task.estimator(LightGBMConfig(trees=100), TrainConfig()), "diagnosis")


def picture_package(folder: Path) -> Path:
    """Fit a ResNet-18 for one short epoch on noise: its speed does not depend on what it learned."""
    from PIL import Image

    from sanmaru.tasks.image_classification.config import NetworkConfig
    from sanmaru.tasks.image_classification.task import ImageClassification
    from sanmaru.training.config import TrainConfig

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(16):
        Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    frame = pl.DataFrame(
        {
            "id": range(16),
            "picture": [str(folder / f"{number}.png") for number in range(16)],
            "kind": [f"kind {number % 4}" for number in range(16)],
        }
    )
    task = ImageClassification.open(frame, Roles(id="id", targets=("kind",), image="picture"))
    train = TrainConfig.model_validate({"epochs": 1, "batch_size": 8, "augment": []})
    estimator = task.estimator(NetworkConfig(backbone="resnet-18", image_size=64), train)
    return packaged(folder / "package", task, frame, estimator, "kind")


def packaged(folder: Path, task: Any, frame: pl.DataFrame, estimator: Any, target: str) -> Path:
    work = folder.with_name(folder.name + "-work")
    work.mkdir()
    estimator.fit(frame, None, FitContext(folder=work, cache=work, seed=0, metric=find_metric(task.metrics[0])))
    estimator.save(work / "estimator")
    outputs = estimator.forward(estimator.encode(frame))
    evaluation = task.predictions(frame["id"], outputs).with_columns(frame[target].alias("truth"), fold=pl.lit(0))
    write_package(
        folder, task=task, estimators=[work / "estimator"], golden=frame.head(16), evaluation=evaluation,
        card={"name": "bench"},
    )  # fmt: skip
    return folder


def own_servers(package: Path, row: dict[str, Any], folder: Path) -> list[Server]:
    """Servers around the same package object, under the same uvicorn settings."""
    body = folder / "rows.json"
    body.write_text(json.dumps({"rows": [row]}))
    servers = [sanmaru_server(package, body)]
    flags = ["--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning"]
    for name, module in ((BARE, "bare"), ("FastAPI, no models", "fastapi_raw"), ("FastAPI", "fastapi_pydantic")):
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--app-dir",
            str(PEERS),
            f"{module}:app",
            "--port",
            str(port),
            *flags,
        ]
        environment = {"SANMARU_BENCH_MODEL": str(package)}
        servers.append(Server(name, command, environment, port, "/predict", body))
    return servers


def sanmaru_server(package: Path, body: Path, kind: str = "application/json") -> Server:
    port = free_port()
    run = [
        sys.executable,
        "-c",
        "from sanmaru.cli.main import main; main()",
        "serve",
        str(package),
        "--port",
        str(port),
    ]
    return Server(OURS, run, {}, port, "/predict", body, kind)


def peer_servers(python: str, package: Path, row: dict[str, Any], folder: Path) -> list[Server]:
    """Servers in an environment of their own, around the same LightGBM model."""
    model = next(path for path in package.glob("estimators/0/*.txt") if path.read_text().startswith("tree"))
    environment = {
        "SANMARU_BENCH_MODEL": str(model),
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    rows, records = folder / "rows.json", folder / "records.json"
    records.write_text(json.dumps({"dataframe_records": [row]}))
    saved = folder / "mlflow-model"
    subprocess.run(
        [python, str(PEERS / "mlflow_model.py"), str(saved)],
        check=True, env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    ports = [free_port() for _ in range(3)]
    binaries = str(Path(python).parent)
    path = {"PATH": binaries + os.pathsep + os.environ["PATH"], **environment}
    mlflow = ["mlflow", "models", "serve", "-m", str(saved), "--env-manager", "local", "-p", str(ports[0]), "-w", "1"]
    bento = ["-m", "bentoml", "serve", "bentoml_server:Forest", "--port", str(ports[2]), "--host", "127.0.0.1"]
    return [
        Server("mlflow models serve", [python, "-m", *mlflow], path, ports[0], "/invocations", records),
        Server(
            "LitServe", [python, str(PEERS / "litserve_server.py")],
            {**path, "SANMARU_BENCH_PORT": str(ports[1])}, ports[1], "/predict", rows,
        ),
        Server("BentoML", [python, *bento], path, ports[2], "/predict", rows, folder=PEERS),
    ]  # fmt: skip


@contextlib.contextmanager
def running(servers: list[Server], log: Path) -> Iterator[dict[str, psutil.Process]]:
    """Start every server and wait until it answers its request."""
    processes: dict[str, psutil.Process] = {}
    try:
        with log.open("w") as output:
            for server in servers:
                processes[server.name] = psutil.Popen(
                    server.command, env={**os.environ, **server.environment}, cwd=server.folder,
                    stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        for server in servers:
            wait_for(server, processes[server.name], log)
        yield processes
    finally:
        for process in processes.values():
            everything = [process, *children(process)]
            for one in everything:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.terminate()
            for one in psutil.wait_procs(everything, timeout=10)[1]:
                one.kill()


def wait_for(server: Server, process: psutil.Process, log: Path, timeout_s: float = 120) -> None:
    url = f"http://127.0.0.1:{server.port}{server.path}"
    deadline = time.monotonic() + timeout_s
    while True:
        request = urllib.request.Request(url, server.body.read_bytes(), {"Content-Type": server.kind})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError as error:
            if time.monotonic() > deadline or not process.is_running():
                raise SystemExit(
                    f"{server.name} does not answer ({error}); its log: {log.read_text()[-3000:]}"
                ) from None
        time.sleep(0.2)


def measure(servers: list[Server], arguments: argparse.Namespace) -> dict[tuple[str, int], list[dict[str, float]]]:
    """Load every server in turn, round after round."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with running(servers, servers[0].body.parent / "servers.log") as processes:
        for server in servers:
            load(server, 8, min(1.0, arguments.seconds))
        for turn in range(arguments.rounds):
            for concurrency in arguments.concurrency:
                # Every second round goes backwards, so that nobody is always behind the same neighbour.
                for server in servers if turn % 2 == 0 else servers[::-1]:
                    before = cpu_s(processes[server.name])
                    figures = load(server, concurrency, arguments.seconds)
                    spent = cpu_s(processes[server.name]) - before
                    figures["server_us"] = spent / max(1, figures["requests"]) * 1e6
                    found.setdefault((server.name, concurrency), []).append(figures)
    return found


def load(server: Server, concurrency: int, seconds: float) -> dict[str, float]:
    url = f"http://127.0.0.1:{server.port}{server.path}"
    if shutil.which("wrk"):
        command = ["wrk", "-t", "1", "-c", str(concurrency), "-d", f"{max(1, round(seconds))}s", "--timeout", "10s"]
        command += ["-s", str(PEERS / "wrk.lua"), url, "--", str(server.body), server.kind]
    else:
        command = [sys.executable, str(PEERS / "client.py"), url, str(server.body), server.kind, str(concurrency)]
        command.append(str(seconds))
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(printed.strip().splitlines()[-1])
    if figures["errors"]:
        raise SystemExit(f"{server.name}: {figures['errors']} of {figures['requests']} requests failed")
    return figures


def table(found: dict[tuple[str, int], list[dict[str, float]]]) -> str:
    lines = [
        "| server | concurrency | requests/s | p50 ms | p99 ms | server µs | ours is | of bare |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, concurrency), rounds in found.items():
        ours, bare = found[OURS, concurrency], found.get((BARE, concurrency), rounds)
        times = statistics.median(a["per_s"] / b["per_s"] for a, b in zip(ours, rounds, strict=True))
        share = statistics.median(a["per_s"] / b["per_s"] for a, b in zip(rounds, bare, strict=True))
        per_s, p50, p99, cpu = (
            statistics.median(one[key] for one in rounds) for key in ("per_s", "p50_ms", "p99_ms", "server_us")
        )
        lines.append(
            f"| {name} | {concurrency} | {per_s:,.0f} | {p50:.2f} | {p99:.2f} | {cpu:.0f} "
            f"| {times:.2f} × | {share:.2f} |"
        )
    return "\n".join(lines)


def picture(folder: Path, arguments: argparse.Namespace) -> str:
    """One picture a request, beside the same package called in this process, one picture a call."""
    package = picture_package(folder / "pictures")
    body = folder / "pictures" / "0.png"
    server = sanmaru_server(package, body, "image/png")
    predictor = Package.load(package, threads=1)
    inside: list[float] = []
    served: dict[int, list[dict[str, float]]] = {concurrency: [] for concurrency in arguments.concurrency}
    with running([server], folder / "picture.log"):
        load(server, 8, 1.0)
        in_process(predictor, body.read_bytes(), 0.5)
        for _ in range(arguments.rounds):
            inside.append(in_process(predictor, body.read_bytes(), arguments.seconds))
            for concurrency, rounds in served.items():
                rounds.append(load(server, concurrency, arguments.seconds))
    lines = [
        "| picture model | concurrency | pictures/s | p50 ms | p99 ms | of in-process |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| in this process | 1 | {statistics.median(inside):,.0f} | | | 1.00 |",
    ]
    for concurrency, rounds in served.items():
        share = statistics.median(one["per_s"] / base for one, base in zip(rounds, inside, strict=True))
        per_s, p50, p99 = (statistics.median(one[key] for one in rounds) for key in ("per_s", "p50_ms", "p99_ms"))
        lines.append(f"| {OURS} | {concurrency} | {per_s:,.0f} | {p50:.2f} | {p99:.2f} | {share:.2f} |")
    return "\n".join(lines)


def in_process(package: Package, data: bytes, seconds: float) -> float:
    """Pictures per second of the package alone."""
    name = package.signature.inputs[0].name
    started, n = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        package.answers(package.forward(package.encode_rows([{name: data}])))
        n += 1
    return n / (time.perf_counter() - started)


def cpu_s(process: psutil.Process) -> float:
    """Processor time of a server and everything it started."""
    total = 0.0
    for one in [process, *children(process)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    main()
