"""Ways to tell people: a webhook, an e-mail, a file. Each sends one alert or raises."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanmaru.errors import UserError
from sanmaru.monitoring.config import EmailConfig

USER, PASSWORD = "SANMARU_SMTP_USER", "SANMARU_SMTP_PASSWORD"  # names of variables


def send_webhook(url: str, body: Mapping[str, Any], timeout_s: float) -> None:
    """POST an alert as JSON; its id is also sent as `Idempotency-Key`.

    Raises:
        OSError: when it cannot be reached, or answers with anything but 2xx.
        UserError: when the address needs a variable that is not set.
    """
    import urllib.request

    request = urllib.request.Request(
        filled(url),
        data=json.dumps(body, ensure_ascii=False).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": _ascii(str(body.get("id", "")))},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        answer.read(1024)


def send_email(config: EmailConfig, body: Mapping[str, Any], timeout_s: float) -> None:
    """Send an alert as a plain text message.

    Raises:
        OSError: when the server cannot be reached or refuses (`smtplib.SMTPException` is one).
    """
    import smtplib
    import ssl
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"], message["To"] = config.sender, ", ".join(config.to)
    message["Subject"] = f"[{body['severity']}] {body['cause']}: alarm {body['event']}"
    message["Message-ID"] = f"<{_ascii(str(body['id']))}@sanmaru>"
    lines = [str(body["text"]), "", *(f"{name}: {value}" for name, value in body.items() if name != "text")]
    message.set_content("\n".join(lines) + "\n")
    context = ssl.create_default_context()
    if config.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(config.host, config.port, timeout=timeout_s, context=context)
    else:
        server = smtplib.SMTP(config.host, config.port, timeout=timeout_s)
    with server:
        if config.security == "starttls":
            server.starttls(context=context)
        if os.environ.get(USER):
            server.login(os.environ[USER], os.environ.get(PASSWORD, ""))
        server.send_message(message)


def append_file(path: Path, body: Mapping[str, Any]) -> None:
    """Append an alert as one JSON line, on disk when this returns.

    Raises:
        OSError: when the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(body, ensure_ascii=False) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def filled(text: str) -> str:
    """Put variables of the environment in the place of `${NAME}`.

    Raises:
        UserError: when one is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise UserError(f"the webhook needs the environment variable {found[1]}, which is not set.")
        return os.environ[found[1]]

    return re.sub(r"\$\{(\w+)\}", value, text)


def _ascii(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._:-]+", ".", text)
