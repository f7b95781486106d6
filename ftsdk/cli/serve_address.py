"""Where `ftsdk serve` listens, and who may reach it: this machine, others with TLS, or a proxy."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from ftsdk.errors import UsageError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # only with TLS or behind a proxy
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class ServeAddress:
    """The address to listen on, the certificate, and the further names of this server."""

    host: str
    certificate: tuple[Path, Path] | None
    names: tuple[str, ...]
    is_encrypted: bool

    def url(self, port: int) -> str:
        """The address as clients on this machine write it."""
        scheme = "http" if self.certificate is None else "https"
        host = "127.0.0.1" if self.host in _EVERYWHERE else self.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def hosts(self, port: int) -> tuple[str, ...]:
        """The values of the Host header by which others reach the server."""
        found = [name for name in self.names if _has_port(name)]
        for name in self.names:
            if not _has_port(name):
                found += [name, f"{name}:{port}"]
        return tuple(found)

    def listen(self, port: int) -> socket.socket:
        """A listening socket. Raises `UsageError` where the address or the port cannot be used."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        address = "127.0.0.1" if self.host == "localhost" else self.host
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            listener.close()
            raise UsageError(
                f"{self.host} port {port} cannot be used: {error.strerror}",
                where="--host and --port",
                hint="give another port, or 0 for any that is free; --host is an address of this machine",
            ) from error
        listener.listen(128)
        return listener


def serve_address(
    host: str,
    *,
    cert: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
    names: list[str] | None = None,
) -> ServeAddress:
    """Check what was given. Raises `UsageError` for what would let others read along."""
    certificate = _certificate(cert, key)
    if host not in _LOOPBACK and certificate is None and not behind_proxy:
        raise UsageError(
            f"{host} can be reached from other machines, and without TLS others can read along",
            where="--host",
            hint="add --tls-cert and --tls-key, or --behind-proxy where a proxy encrypts and nobody else "
            "reaches this port",
        )
    known = tuple(_checked(name) for name in names or ())
    if host not in _LOOPBACK and host not in _EVERYWHERE:
        known += (f"[{host}]" if ":" in host else host.lower(),)
    encrypted = certificate is not None or (behind_proxy and bool(names))
    return ServeAddress(host, certificate, known, encrypted)


def _certificate(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError(
            "A certificate and its key belong together",
            where="--tls-cert, --tls-key",
            hint="give both",
        )
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"The certificate and its key cannot be used: {error.strerror or error}",
            where=f"{cert}, {key}",
            hint="both are PEM files, of one another, and readable by you; the key has no password",
        ) from error
    return cert, key


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name.lower()):
        raise UsageError(
            f"{name!r} is not the name of a host",
            where="--name",
            hint="e.g. --name models.example.com, or with a port --name models.example.com:8443",
        )
    return name.lower()


def _has_port(name: str) -> bool:
    return ":" in name.rpartition("]")[2]
