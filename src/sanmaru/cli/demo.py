"""`sanmaru demo`: the whole way, from raw data to a served model, on data that ships with scikit-learn."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from sanmaru.errors import UserError
from sanmaru.html.numbers import short

DIGITS = "digits"
DIABETES = "diabetes"


def demo(
    folder: Annotated[Path, typer.Option(help="Folder to make; it is replaced where an earlier demo made it.")] = Path(
        "demo"
    ),
) -> None:
    """Run every stage on two real projects: handwritten digits (pictures) and diabetes (a table).

    Each step is a command that you can repeat; it is printed before it runs.
    """
    from sanmaru.cli.demo_data import write_diabetes, write_digits

    started = time.monotonic()
    _make_folder(folder)
    write_digits(folder / DIGITS)
    write_diabetes(folder / DIABETES)
    results = [
        _digits(folder / DIGITS),
        _diabetes(folder / DIABETES),
    ]
    _summary(folder, results, time.monotonic() - started)


def _digits(folder: Path) -> dict[str, Any]:
    _title("Pictures: which digit was written?")
    new = ("new", "--data", "train.csv", "--target", "digit", "--test", "test.csv", "--images", "images")
    train = ("train", "split.folds=3", "model.image_size=16", "train.epochs=8")
    deep = (*train[:3], "model.backbone=resnet-18", "train.epochs=2", "train.learning_rate=2e-3")
    picture = sorted((folder / "images").glob("*.png"))[0]
    question = ("curl", "-F", f"file=@images/{picture.name}")
    body = (_multipart(picture), f"multipart/form-data; boundary={BOUNDARY}")
    return _whole_way(folder, new=new, trainings=[train, deep], method="soft", question=question, body=body)


def _diabetes(folder: Path) -> dict[str, Any]:
    _title("A table: how far does diabetes progress within a year?")
    new = ("new", "--data", "train.csv", "--target", "progression", "--test", "test.csv")
    row = _first_row(folder / "test.csv")
    text = json.dumps({"rows": [row]})
    question = ("curl", "-H", "content-type: application/json", "-d", text)
    trainings: list[tuple[str, ...]] = [("train",), ("train", "model.kind=linear")]
    body = (text.encode(), "application/json")
    return _whole_way(folder, new=new, trainings=trainings, method="greedy", question=question, body=body)


def _whole_way(
    folder: Path,
    *,
    new: tuple[str, ...],
    trainings: list[tuple[str, ...]],
    method: str,
    question: tuple[str, ...],
    body: tuple[bytes, str],
) -> dict[str, Any]:
    from sanmaru.experiments.runs import Run
    from sanmaru.project import Project

    with contextlib.chdir(folder):
        _command(*new, "--name", folder.name)
        _command("explore")
        for training in trainings:
            _command(*training)
        project = Project.load()
        runs = [run.id for run in Run.all(project)]
        _command("compare", *runs)
        _command("ensemble", *runs, "--method", method)
        best = Run.load(project, "last")
        _command("report", best.id)
        _command("register", best.id)
        _command("promote", folder.name, "--to", "staging", "--why", "first ensemble")
        _command("promote", folder.name, "--to", "production", "--why", "passed the gate")
        _command(
            "predict", f"{folder.name}@production", "test.csv", "-o", "submission.csv",
            "--sample", "sample_submission.csv", *(("--images", "images") if (Path("images")).is_dir() else ()),
        )  # fmt: skip
        answer = _serve_and_ask(folder.name, question, body)
        score = best.score()
        return {
            "name": folder.name,
            "metric": score.metric,
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "unseen": _on_unseen_rows(score.metric, project),
            "reports": [Path("reports/explore.html").resolve(), (best.folder / "report.html").resolve()],
            "answer": answer,
        }


def _command(*args: str) -> None:
    """Print a command and run it in this process, as the command line would."""
    from sanmaru.cli.main import app

    typer.secho(f"\n$ sanmaru {shlex.join(args)}", bold=True)
    status = app(list(args), standalone_mode=False)
    if status:
        raise UserError(f"`sanmaru {shlex.join(args)}` ended with status {status}")


def _serve_and_ask(name: str, question: tuple[str, ...], body: tuple[bytes, str]) -> Any:
    """Start the service as a user would, wait until it is ready, ask it once, and stop it."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    typer.secho(f"\n$ sanmaru serve {name} --port {port} &", bold=True)
    server = subprocess.Popen(
        [sys.executable, "-c", "from sanmaru.cli.main import main; main()", "serve", name, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_until_ready(f"{url}/ready", server)
        typer.secho(f"$ {shlex.join((*question, f'{url}/predict'))}", bold=True)
        answer = json.loads(_ask(f"{url}/predict", *body))
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return answer
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_until_ready(url: str, server: subprocess.Popen[str], *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if server.poll() is not None:
            output = server.stdout.read() if server.stdout else ""
            raise UserError(f"the server ended with status {server.returncode}:\n{output}")
        with contextlib.suppress(OSError):
            _ask(url)
            return
        time.sleep(0.1)
    raise UserError(f"the server was not ready within {timeout_s:.0f} s")


def _ask(url: str, content: bytes | None = None, content_type: str | None = None) -> str:
    import urllib.request

    headers = {"content-type": content_type} if content_type else {}
    request = urllib.request.Request(url, data=content, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.read().decode())


BOUNDARY = "sanmaru-demo"


def _multipart(picture: Path) -> bytes:
    head = (
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="{picture.name}"\r\n'
        "content-type: image/png\r\n\r\n"
    )
    return head.encode() + picture.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


def _first_row(path: Path) -> dict[str, Any]:
    import csv

    with path.open(encoding="utf-8") as handle:
        row = next(csv.DictReader(handle))
    row.pop("id")
    return {name: _number(value) for name, value in row.items()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _on_unseen_rows(metric: str, project: Any) -> float | None:
    """The metric on the rows kept aside, from the submission file; None for metrics of probabilities."""
    import numpy as np
    import polars as pl

    from sanmaru.metrics.base import find_metric

    target = project.file.data.target_names[0]
    both = pl.read_csv("test_truth.csv").join(pl.read_csv("submission.csv"), on="id", suffix="_predicted")
    truth, predicted = both[target].to_numpy(), both[f"{target}_predicted"].to_numpy()
    found = find_metric(metric)
    if found.kind == "regression":
        return found(truth.astype(np.float64), predicted.astype(np.float64))
    if metric not in ("accuracy", "macro_f1"):
        return None
    classes = np.unique(np.concatenate([truth, predicted]))
    one_hot = (predicted[:, None] == classes[None, :]).astype(np.float64)
    return found(np.searchsorted(classes, truth), one_hot)


def _make_folder(folder: Path) -> None:
    import shutil

    mark = folder / ".made-by-sanmaru-demo"
    if folder.exists():
        if not mark.is_file():
            raise UserError(f"{folder.resolve()} exists and no demo made it. Name another with --folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    mark.write_text("`sanmaru demo` may replace this folder.\n", encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _title(text: str) -> None:
    typer.secho(f"\n━━ {text} ━━", fg="cyan", bold=True)


def _lines(results: list[dict[str, Any]]) -> Iterator[str]:
    for result in results:
        unseen = result["unseen"]
        kept = "" if unseen is None else f"; on the rows kept aside: {short(unseen)}"
        yield (
            f"  {result['name']}: {result['metric']} {short(result['value'])} "
            f"(95 % interval {short(result['low'])} to {short(result['high'])}){kept}"
        )
        for path in result["reports"]:
            yield f"    {path}"


def _path_line() -> Iterator[str]:
    """The line that puts `sanmaru` on the path, where the shell does not find it."""
    import shutil

    folder = Path(sys.executable).parent
    if shutil.which("sanmaru") is None and (folder / "sanmaru").is_file():
        yield f'export PATH="{folder}:$PATH"'


def _summary(folder: Path, results: list[dict[str, Any]], seconds: float) -> None:
    _title(f"Done in {seconds:.0f} s")
    typer.echo("Scores on rows no model had seen, and the reports to open in a browser:")
    for line in _lines(results):
        typer.echo(line)
    typer.echo("\nGo on from here, for example:")
    for line in (
        *_path_line(),
        f"cd {shlex.quote(str(folder / DIABETES))}",
        "sanmaru train model.learning_rate=0.02 split.folds=10",
        "sanmaru compare",
        f"sanmaru serve {DIABETES}      # then open http://127.0.0.1:8000/",
    ):
        typer.echo(f"  {line}")
