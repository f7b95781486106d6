"""Downloads: whole or not at all, whatever the server does."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftsdk.artifacts.download import Source, check_url, download
from ftsdk.artifacts.partial_file import PartialFile, remove_old
from ftsdk.artifacts.stated_digest import stated_digest
from ftsdk.errors import AuthError, FtsdkError, NotFound, Unavailable, UnexpectedResponse
from ftsdk.testing.lab import Double, Reply, Request, route
from ftsdk.util.clock import ManualClock

pytest.importorskip("httpx", reason="needs httpx")

DATA = bytes(range(256)) * 64


class Store(Double):
    """A file behind a script: each request takes the next reply."""

    name = "store"

    def __init__(self, script: list[Any]) -> None:
        super().__init__()
        self.script = script

    @route("GET", "/{path:path}")
    def get(self, request: Request, path: str) -> Reply:
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return step(request) if callable(step) else step


def whole(request: Request) -> Reply:
    return Reply(200, DATA, {"ETag": '"a"'})


def part(start: int | None = None, total: int | None = None, etag: str = '"a"') -> Any:
    def reply(request: Request) -> Reply:
        asked = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
        begin = asked if start is None else start
        size = len(DATA) if total is None else total
        headers = {"Content-Range": f"bytes {begin}-{len(DATA) - 1}/{size}", "ETag": etag}
        return Reply(206, DATA[begin:], headers)

    return reply


def run(store: Store, tmp_path: Path, **given: Any) -> bytes:
    target = tmp_path / "file"
    limits = {"clock": ManualClock(), "max_bytes": 1 << 20, **given}
    download(Source(f"{store.origin}/w", allow_loopback=True), target, **limits)
    return target.read_bytes()


def cut(store: Store, times: int = 1) -> None:
    store.faults.add("cut", times=times)


def test_a_whole_file(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with Store([whole]) as store:
        assert run(store, tmp_path, on_bytes=lambda *progress: seen.append(progress)) == DATA
    assert seen[-1] == (len(DATA), len(DATA))


def test_a_cut_file_goes_on_where_it_broke(tmp_path: Path) -> None:
    with Store([whole, part()]) as store:
        cut(store)
        assert run(store, tmp_path) == DATA
        assert store.asked()[1].headers["if-range"] == '"a"'


def test_a_server_that_knows_no_ranges_begins_anew(tmp_path: Path) -> None:
    with Store([whole]) as store:
        cut(store)
        assert run(store, tmp_path) == DATA


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([whole, part(start=0)], UnexpectedResponse),
        ([whole, part(total=99)], UnexpectedResponse),
        ([whole, part(etag='"b"')], UnexpectedResponse),
        ([whole, Reply(206, DATA[9:], {})], UnexpectedResponse),
        ([whole, Reply(403, b"<Error>expired</Error>")], AuthError),
        ([whole, Reply(410, b"")], NotFound),
        ([whole, Reply(200, "<html>log in</html>", {"Content-Type": "text/html"})], UnexpectedResponse),
    ],
)  # fmt: skip
def test_a_second_half_that_does_not_fit_is_refused(
    tmp_path: Path, script: list[Any], error: type[FtsdkError]
) -> None:
    with Store(script) as store:
        cut(store)
        with pytest.raises(error):
            run(store, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, "<html></html>", {"Content-Type": "text/html; charset=utf-8"}), UnexpectedResponse),
        (Reply(200, b""), UnexpectedResponse),
        (Reply(206, b"x"), UnexpectedResponse),
        (Reply(204, b""), UnexpectedResponse),
        (Reply(401, b""), AuthError),
        (Reply(403, b""), AuthError),
        (Reply(404, b""), NotFound),
        (Reply(416, b""), UnexpectedResponse),
        (Reply(503, b""), Unavailable),
        (Reply(302, b"", {"Location": "/w"}), UnexpectedResponse),
        (Reply(302, b"", {"Location": "file:///etc/passwd"}), UnexpectedResponse),
        (Reply(302, b"", {"Location": "http://169.254.169.254/"}), UnexpectedResponse),
        (Reply(302, b"", {}), UnexpectedResponse),
    ],
)  # fmt: skip
def test_what_is_no_file_leaves_none(tmp_path: Path, reply: Reply, error: type[FtsdkError]) -> None:
    with Store([reply]) as store, pytest.raises(error):
        run(store, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_than_is_wanted_is_refused(tmp_path: Path) -> None:
    with Store([whole]) as store, pytest.raises(UnexpectedResponse, match="at most 100"):
        run(store, tmp_path, max_bytes=100)
    assert list(tmp_path.iterdir()) == []


def test_five_tries_and_no_more(tmp_path: Path) -> None:
    clock = ManualClock()
    with Store([whole]) as store:
        store.faults.add("close", times=None)
        with pytest.raises(Unavailable, match="interrupted 5 times") as caught:
            run(store, tmp_path, clock=clock)
        assert store.count() == 5
    assert clock.slept == [1, 2, 4, 8]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_key_stays_with_its_origin(tmp_path: Path) -> None:
    with Store([whole]) as other:
        there = other.origin.replace("127.0.0.1", "localhost")
        with Store([Reply(307, b"", {"Location": f"{there}/x?sig=1"})]) as store:
            source = Source(
                f"{store.origin}/w",
                {"Authorization": "Bearer k", "X-Key": "k"},
                allow_loopback=True,
            )
            download(source, tmp_path / "f", clock=ManualClock(), max_bytes=1 << 20)
            assert store.asked()[0].headers["authorization"] == "Bearer k"
        (asked,) = other.asked()
        assert not {"authorization", "x-key"} & set(asked.headers)
        assert asked.headers["host"].startswith("localhost:")
    assert "Bearer" not in repr(source)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/w", "ftp://example.com/w", "file:///etc/passwd", "https:///w", "w",
        "https://user@example.com/w", "https://127.0.0.1/w", "https://localhost/w",
        "https://10.1.2.3/w", "https://192.168.0.1/w", "https://169.254.169.254/latest",
        "https://[::1]/w", "https://[::ffff:127.0.0.1]/w", "https://[fd00::1]/w", "https://0.0.0.0/w",
        "https://224.0.0.1/w", "https://2130706433/w", "https://127.1/w", "https://0x7f000001/w",
        "https://example.com:99999/w", "https://[::1",
    ],
)  # fmt: skip
def test_addresses_that_lead_inside_are_refused(url: str) -> None:
    with pytest.raises((UnexpectedResponse, Unavailable)):
        check_url(url)


def test_a_public_address_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("93.184.215.14", 443)), (10, 1, 6, "", ("2606:2800::1", 443, 0, 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: found)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    assert check_url("https://example.com/w")[2] == ("93.184.215.14", "2606:2800::1")
    found.append((2, 1, 6, "", ("10.0.0.1", 443)))
    with pytest.raises(UnexpectedResponse, match="own network"):
        check_url("https://example.com/w")


# --- across processes and against a stated digest -------------------------------------------------


def gone(request: Request) -> Reply:
    return Reply(503, b"later")


def interrupted(tmp_path: Path) -> PartialFile:
    """A first process that got half of the file."""
    part = PartialFile(tmp_path / "w.part")
    with part.opened() as out:
        out.write(DATA[: len(DATA) // 2])
        part.record(out, len(DATA) // 2, len(DATA), '"a"')
    return PartialFile(tmp_path / "w.part")


def test_another_process_goes_on_where_the_first_was(tmp_path: Path) -> None:
    asked: list[str] = []

    def rest(request: Request) -> Reply:
        asked.append(request.headers["range"])
        reply: Reply = part()(request)
        return reply

    with Store([rest]) as store:
        assert run(store, tmp_path, part=interrupted(tmp_path)) == DATA
    assert asked == [f"bytes={len(DATA) // 2}-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_what_arrived_is_kept_when_all_tries_fail(tmp_path: Path) -> None:
    with Store([whole, gone]) as store:
        cut(store)
        with pytest.raises(Unavailable, match="at byte") as caught:
            run(store, tmp_path, part=PartialFile(tmp_path / "w.part"))
    assert "goes on there" in str(caught.value.hint)
    kept = PartialFile(tmp_path / "w.part")
    assert 0 < kept.got < len(DATA)
    with Store([part()]) as store:
        assert run(store, tmp_path, part=kept) == DATA


def test_another_file_at_the_address_begins_anew(tmp_path: Path) -> None:
    other = Reply(200, DATA[::-1], {"ETag": '"b"'})
    with Store([other]) as store:
        assert run(store, tmp_path, part=interrupted(tmp_path)) == DATA[::-1]


@pytest.mark.parametrize("damage", ["shorter", "no facts", "odd facts", "longer"])
def test_bytes_that_are_not_sure_are_not_used(tmp_path: Path, damage: str) -> None:
    interrupted(tmp_path)
    file, facts = tmp_path / "w.part", tmp_path / "w.part.json"
    if damage == "shorter":
        file.write_bytes(b"x")
    elif damage == "no facts":
        facts.unlink()
    elif damage == "odd facts":
        facts.write_text('{"got": "9", "total": 10, "etag": "a"}')
    else:  # the tail of zeros that a power cut leaves
        file.write_bytes(file.read_bytes() + bytes(99))
    found = PartialFile(file)
    assert found.got == (len(DATA) // 2 if damage == "longer" else 0)
    with Store([part() if damage == "longer" else whole]) as store:
        assert run(store, tmp_path, part=found) == DATA


def test_a_refused_download_keeps_nothing(tmp_path: Path) -> None:
    with Store([part(total=5)]) as store, pytest.raises(UnexpectedResponse):
        run(store, tmp_path, part=interrupted(tmp_path))
    assert list(tmp_path.iterdir()) == []


def b64(algorithm: str, data: bytes = DATA) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


STATED = {
    "Repr-Digest": (f"sha-256=:{b64('sha256')}:", f"sha-256=:{b64('sha256', b'')}:"),
    "x-amz-checksum-sha256": (b64("sha256"), b64("sha256", b"")),
    "x-goog-hash": (f"crc32c=AAAAAA==,md5={b64('md5')}", f"md5={b64('md5', b'')}"),
    "Content-MD5": (b64("md5"), b64("md5", b"")),
}


@pytest.mark.parametrize("header", STATED)
def test_the_digest_that_the_server_states_is_compared(tmp_path: Path, header: str) -> None:
    right, wrong = STATED[header]
    with Store([Reply(200, DATA, {header: right})]) as store:
        assert run(store, tmp_path) == DATA
    (tmp_path / "file").unlink()
    store = Store([Reply(200, DATA, {header: wrong})])
    with store, pytest.raises(UnexpectedResponse, match=f"digest in {header}"):
        run(store, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_is_of_the_whole_file_also_where_it_came_in_two_parts(tmp_path: Path) -> None:
    def rest(request: Request) -> Reply:
        reply: Reply = part()(request)
        return replace(reply, headers={**reply.headers, "Repr-Digest": STATED["Repr-Digest"][1]})

    with Store([rest]) as store, pytest.raises(UnexpectedResponse, match="digest"):
        run(store, tmp_path, part=interrupted(tmp_path))


@pytest.mark.parametrize("text", ["", "sha-256=:!!:", "sha-256=:QUJD:", "crc32c=:AAAA:"])
def test_an_odd_digest_is_none(text: str) -> None:
    assert (
        stated_digest({"repr-digest": text, "x-amz-checksum-sha256": "abc-2"}, whole=True) is None
    )


def test_old_beginnings_are_removed(tmp_path: Path) -> None:
    interrupted(tmp_path)
    (tmp_path / "w.lock").touch()
    remove_old(tmp_path, before=0)
    assert len(list(tmp_path.iterdir())) == 3
    remove_old(tmp_path, before=time.time() + 10)
    assert [p.name for p in tmp_path.iterdir()] == ["w.lock"]
