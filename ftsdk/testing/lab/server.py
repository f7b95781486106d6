"""A small HTTP/1.1 server on loopback that can misbehave byte by byte.

It works on plain sockets, because a web framework does not let a test reset a connection, cut a body
short or hang. One thread per connection, with keep-alive.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from ftsdk.testing.lab.faults import Fault
from ftsdk.testing.lab.messages import Reply, Request, make_request

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 1024 * 1024 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """A reply, the fault (if any) that changes how it is sent, and a callback for after it was sent.

    It is sent `delay_s` seconds later.
    """

    reply: Reply
    fault: Fault | None = None
    then: Callable[[], None] | None = None
    delay_s: float = 0.0


class _BadRequest(Exception):
    """The received bytes are not an HTTP request."""


class Server:
    """Serves `handler` on 127.0.0.1; `port=0` takes a free port."""

    def __init__(self, handler: Callable[[Request], Answer], port: int = 0) -> None:
        self._handler = handler
        self._port = port
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Server:
        """Serve until `stop`; return the server. Raises `OSError` when the port is in use."""
        self._stopping = threading.Event()
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(
            target=self._accept, args=(listener, self._stopping), name="lab", daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Close the listener and every connection; new ones are refused."""
        self._stopping.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections while the block runs; then serve on the same port again."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    # --- one connection ---

    def _accept(self, listener: socket.socket, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(
                target=self._serve, args=(connection, stopping), name="lab-connection", daemon=True
            ).start()

    def _serve(self, connection: socket.socket, stopping: threading.Event) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            reader = connection.makefile("rb")
            with contextlib.closing(reader):
                while not stopping.is_set():
                    request = _read(reader, next(self._numbers))
                    if request is None:
                        return
                    answer = self._handler(request)
                    if answer.delay_s > 0:
                        stopping.wait(answer.delay_s)
                    close = request.headers.get("connection", "").lower() == "close"
                    stays_open = self._send(connection, answer, stopping)
                    if answer.then is not None:
                        answer.then()
                    if not stays_open or close:
                        return
        except _BadRequest:
            _write(connection, Reply(400, {"error": {"message": "not an HTTP request"}}))
        except OSError:
            return  # the client closed the connection
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _send(self, connection: socket.socket, answer: Answer, stopping: threading.Event) -> bool:
        """Send the answer as its fault requires; return whether the connection stays open."""
        behaviour = answer.fault.behaviour if answer.fault else None
        if behaviour == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if behaviour == "close":
            return False
        if behaviour == "hang":
            _wait_until_closed(connection, stopping)
            return False
        if behaviour == "cut":
            data = _bytes(answer.reply)
            connection.sendall(data[: max(len(data) - 1 - len(answer.reply.payload()) // 2, 1)])
            return False
        if behaviour == "drip" and answer.fault is not None:
            for byte in _bytes(answer.reply):
                if stopping.is_set():
                    return False
                connection.sendall(bytes((byte,)))
                time.sleep(answer.fault.pause_s)
            return True
        _write(connection, answer.reply)
        return True


def _wait_until_closed(connection: socket.socket, stopping: threading.Event) -> None:
    connection.settimeout(0.2)
    while not stopping.is_set():
        try:
            if not connection.recv(_CHUNK):
                return
        except TimeoutError:
            continue


def _bytes(reply: Reply) -> bytes:
    payload = reply.payload()
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = {
        "Content-Type": reply.content_type(),
        "Content-Length": str(len(payload)),
        "Connection": "keep-alive",
        **{k: v for k, v in reply.headers.items() if k.lower() != "content-type"},
    }
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + payload


def _write(connection: socket.socket, reply: Reply) -> None:
    connection.sendall(_bytes(reply))


def _read(reader: object, number: int) -> Request | None:
    """Return the next request of a connection, or None at its end. Raises `_BadRequest`."""
    readline, read = reader.readline, reader.read  # type: ignore[attr-defined]  # any binary file
    first = readline(_MAX_HEAD_BYTES)
    if not first:
        return None
    words = first.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _BadRequest
    headers: dict[str, str] = {}
    while (line := readline(_MAX_HEAD_BYTES)) not in (b"\r\n", b"\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or len(headers) > 200:
            raise _BadRequest
        headers[name.strip().lower()] = value.strip()
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _chunks(readline, read)
    else:
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            raise _BadRequest
        body = read(int(length))
        if len(body) < int(length):
            return None  # the client closed the connection early
    now = dt.datetime.now(dt.UTC)
    return make_request(number, words[0], words[1], headers, body, now)


def _chunks(readline: Callable[[int], bytes], read: Callable[[int], bytes]) -> bytes:
    """Return the body of a chunked request. Raises `_BadRequest`."""
    body = bytearray()
    while True:
        size = readline(100).split(b";")[0].strip()
        try:
            length = int(size, 16)
        except ValueError as error:
            raise _BadRequest from error
        if length == 0:
            while readline(_MAX_HEAD_BYTES) not in (b"\r\n", b"\n", b""):
                pass
            return bytes(body)
        body += read(length)
        readline(10)
        if len(body) > _MAX_BODY_BYTES:
            raise _BadRequest
