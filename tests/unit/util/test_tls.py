"""One TLS context for all clients of a process."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest

from ftsdk.util.tls import tls_context


def test_it_is_made_once_and_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    context = tls_context()
    assert tls_context() is context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) > 50


def test_other_authorities_are_another_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = tls_context()
    first, _, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    (tmp_path / "one.pem").write_text(f"{first}-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))
    assert tls_context() is not context
    assert len(tls_context().get_ca_certs()) == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(OSError, match="No such file"):
        tls_context()
