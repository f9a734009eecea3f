"""`sanmaru serve`: a registered model over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def serve(
    name: Annotated[str, typer.Argument(help="A registered model, or the folder of a model package.")],
    alias: Annotated[
        str, typer.Option(help="Which version of a registered model: the one under this alias.")
    ] = "production",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each holds its own copy of the model.")] = 1,
    keys: Annotated[
        Path | None, typer.Option(help="File with hashed API keys. SANMARU_API_KEYS may hold plain ones.")
    ] = None,
    max_body_mb: Annotated[float, typer.Option(min=0.001, help="Largest request body, in MiB (else 413).")] = 16,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait for the model (else 503).")] = 256,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds until a slow body or prediction is cut.")] = 30,
    poll_s: Annotated[float, typer.Option(min=0.05, help="Seconds between looks at the registry.")] = 2,
    site: Annotated[
        Path | None, typer.Option(help="Folder of a published forecast page, shown at /forecast and /forecast.json.")
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="Database URL of the prediction log, such as sqlite:///predictions.db.")
    ] = None,
    log_days: Annotated[
        float | None, typer.Option(min=0.01, help="Delete rows of the prediction log after so many days; else never.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Start although the model is not registered yet.")] = False,
    project: Annotated[Path, typer.Option(help="Folder of the project whose registry is asked.")] = Path(),
) -> None:
    """Serve a registered model over HTTP; a newly promoted version is swapped in without dropping a request.

    Examples:
      sanmaru serve mask-18
      sanmaru serve mask-18 --alias staging --port 8001
      sanmaru serve runs/20261121-024500-brave-otter/package
      sanmaru serve fine-dust --site published/forecast --log sqlite:///predictions.db --log-days 90
      python -m sanmaru.serving.keys phone-app >> keys.txt && sanmaru serve mask-18 --keys keys.txt
    """
    # Requests hold few rows: to hand them to several threads and wait takes longer than to work on them, the more so
    # on busy cores. Read when polars is first imported; worker processes inherit it.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")

    from sanmaru.serving.run import ServeOptions
    from sanmaru.serving.run import serve as run
    from sanmaru.serving.settings import Settings

    settings = Settings(max_body_bytes=int(max_body_mb * 2**20), queue=queue, timeout_s=timeout_s, poll_s=poll_s)
    options = ServeOptions(
        name=name,
        alias=alias,
        project=project,
        host=host,
        port=port,
        workers=workers,
        keys=keys,
        site=site,
        log=log,
        log_days=log_days,
        settings=settings,
    )
    if keys is not None and host not in ("127.0.0.1", "localhost", "::1"):
        typer.echo("keys travel in clear text over plain HTTP: put a proxy with TLS in front", err=True)

    def announce() -> None:
        typer.echo(f"serving {name}: card at http://{host}:{port}/, form at http://{host}:{port}/try", err=True)

    run(options, wait=wait, announce=announce)
