"""Where the server listens: this machine; others only with a certificate or behind a proxy."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ftsdk.cli.serve_address import serve_address
from ftsdk.errors import UsageError

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and models.example.com, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed here")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=models.example.com", "-keyout", key, "-out", cert,
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:models.example.com"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "models.example.com"])
def test_others_are_let_in_only_with_tls_or_a_proxy(host: str, pair: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="others can read along") as refused:
        serve_address(host)
    assert "--tls-cert" in refused.value.hint
    assert "--behind-proxy" in refused.value.hint
    assert serve_address(host, cert=pair[0], key=pair[1]).certificate == pair
    assert serve_address(host, behind_proxy=True).certificate is None
    for loopback in ("127.0.0.1", "localhost", "::1"):
        assert not serve_address(loopback).is_encrypted


def test_a_certificate_that_cannot_be_used_is_refused(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_text("no certificate")
    for cert, key in ((pair[0], None), (None, pair[1])):
        with pytest.raises(UsageError, match="belong together"):
            serve_address("0.0.0.0", cert=cert, key=key)
    for cert, key in ((pair[1], pair[0]), (tmp_path / "other.pem", pair[1]), (tmp_path, pair[1]), (tmp_path / "no", pair[1])):  # fmt: skip
        with pytest.raises(UsageError, match="cannot be used"):
            serve_address("0.0.0.0", cert=cert, key=key)


def test_the_names_of_a_server() -> None:
    found = serve_address(
        "10.0.0.5", behind_proxy=True, names=["Models.Example.com", "b.example:8443", "[fd00::1]"]
    )
    assert set(found.hosts(8765)) == {
        "models.example.com", "models.example.com:8765", "b.example:8443", "[fd00::1]",
        "[fd00::1]:8765", "10.0.0.5", "10.0.0.5:8765",
    }  # fmt: skip
    assert found.is_encrypted
    assert serve_address("0.0.0.0", behind_proxy=True).hosts(8765) == ()
    for name in ("", "*", "a b", "http://a", "a/b", "a:b", "a,b", "a\n"):
        with pytest.raises(UsageError, match="not the name of a host"):
            serve_address("0.0.0.0", behind_proxy=True, names=[name])


def test_a_taken_port_and_a_foreign_address_are_reported() -> None:
    taken = serve_address("127.0.0.1").listen(0)
    with pytest.raises(UsageError, match="cannot be used"):
        serve_address("127.0.0.1").listen(taken.getsockname()[1])
    taken.close()
    with pytest.raises(UsageError, match=r"192\.0\.2\.1 port 0 cannot be used"):
        serve_address("192.0.2.1", behind_proxy=True).listen(0)


@pytest.fixture
def served(tmp_path: Path, pair: tuple[Path, Path]) -> Iterator[int]:
    """The port of a server with the certificate."""
    for name in ("starlette", "python_multipart"):
        pytest.importorskip(name, reason="needs ftsdk[serve]")
    uvicorn = pytest.importorskip("uvicorn", reason="needs ftsdk[serve]")
    import ftsdk
    from ftsdk.serve.app import serve_app
    from ftsdk.serve.settings import ServeSettings

    address = serve_address("127.0.0.1", cert=pair[0], key=pair[1], names=["models.example.com"])
    listener = address.listen(0)
    port = listener.getsockname()[1]
    settings = ServeSettings(
        TOKEN,
        tmp_path / "serve",
        port=port,
        hosts=address.hosts(port),
        is_encrypted=address.is_encrypted,
    )
    app = serve_app(ftsdk.AsyncClient(home=tmp_path, env={}), settings)
    config = uvicorn.Config(app, log_level="critical", ssl_certfile=pair[0], ssl_keyfile=pair[1])
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield port
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def test_a_server_with_a_certificate_speaks_tls_alone(served: int, pair: tuple[Path, Path]) -> None:
    httpx = pytest.importorskip("httpx", reason="needs ftsdk[openai]")
    bearer = {"authorization": f"Bearer {TOKEN}"}
    trust = ssl.create_default_context(cafile=str(pair[0]))

    async def run() -> Any:
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            base = f"https://127.0.0.1:{served}"
            assert (await client.get(f"{base}/v1/models", headers=bearer)).status_code == 200
            assert (await client.get(f"{base}/v1/models")).status_code == 401
            for host, status in (("models.example.com", 200), ("evil.example", 421)):
                named = await client.get(f"{base}/health", headers={"host": host})
                assert named.status_code == status
            own = {"origin": base, "sec-fetch-site": "same-origin"}
            signed = await client.post(f"{base}/sign-in", data={"token": TOKEN}, headers=own)
            assert "; Secure" in signed.headers["set-cookie"]
            with pytest.raises(httpx.HTTPError):
                await client.get(f"http://127.0.0.1:{served}/health")

    anyio.run(run)
