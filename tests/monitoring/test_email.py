"""Alerts by e-mail over a real SMTP server that asks for TLS and a password."""

from __future__ import annotations

import smtplib
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.monitoring.smtp import LOGIN, certificate, mail_server

from sanmaru.monitoring.channels import PASSWORD, USER, send_email
from sanmaru.monitoring.config import EmailConfig

BODY: dict[str, Any] = {
    "id": "pm25|raised|1", "cause": "pm25", "event": "raised", "severity": "warning", "text": "미세먼지: ks 2, above 1",
}  # fmt: skip


def config(port: int, security: str) -> EmailConfig:
    return EmailConfig(
        host="127.0.0.1",
        port=port,
        sender="a@b.kr",
        to=("c@d.kr",),
        security=security,  # type: ignore[arg-type]
    )


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # aiosmtpd does not count TLS from the first byte as TLS
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_encrypted_and_with_a_login(security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, public = certificate(tmp_path)
    with mail_server(context, security=security) as box:
        # A certificate that nobody vouches for is refused before the password is said.
        monkeypatch.setenv(USER, LOGIN[0].decode())
        monkeypatch.setenv(PASSWORD, LOGIN[1].decode())
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate"):
            send_email(config(box.port, security), BODY, 5)
        assert not box.users
        monkeypatch.setenv("SSL_CERT_FILE", str(public))
        send_email(config(box.port, security), BODY, 5)
        (message,) = box.got
        assert "Subject: [warning] pm25: alarm raised" in message
        assert box.users == [LOGIN[0]]
        monkeypatch.setenv(PASSWORD, "wrong")
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            send_email(config(box.port, security), BODY, 5)
        assert len(box.got) == 1
