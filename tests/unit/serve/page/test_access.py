"""T17: every route and method is in one table, and without what it needs it answers nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from ftsdk.serve.app import needs_of_routes
from ftsdk.serve.page.access import Access
from ftsdk.serve.settings import ServeSettings
from ftsdk.util.clock import ManualClock
from tests.unit.serve.page.conftest import SECRET, TOKEN, Site

TABLE = needs_of_routes().table
OWN = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}


def path_of(pattern: str) -> str:
    """A path that fits a route."""
    for name in ("job_id", "file_id", "lease_id", "name", "model:path"):
        pattern = pattern.replace("{" + name + "}", "ftj_0")
    return pattern


ROUTES = [(method, path_of(path), need) for (method, path), need in TABLE.items()]
FORMS = [(method, path) for method, path, need in ROUTES if need == "form"]
PAGES = [(method, path) for method, path, need in ROUTES if need == "page"]


def test_every_route_of_the_application_is_in_the_table(site: Site) -> None:
    app: Any = site.app._app
    found = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or ()) - {"HEAD"}
    }
    assert found == set(TABLE)
    assert len(app.routes) == len(TABLE)


def test_what_needs_nothing_says_nothing(site: Site) -> None:
    is_open = {path for (_, path), need in TABLE.items() if need == "open"}
    assert is_open == {"/health", "/sign-in", "/assets/{name}", "/favicon.ico"}


@pytest.mark.parametrize(("method", "path"), [*PAGES, *FORMS])
def test_without_a_session_no_page_is_shown(method: str, path: str, site: Site) -> None:
    stranger = Site.__new__(Site)
    stranger.app, stranger.cookies = site.app, {}
    for cookies in ({}, {"ftsdk_8765": "0" * 64}, {"ftsdk_8765": TOKEN}):
        stranger.cookies = cookies
        answer = stranger.ask(method, path, headers={**OWN, "authorization": f"Bearer {TOKEN}"})
        if method == "GET":
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in?next=")
        else:
            assert answer.status_code == 401
        assert stranger.ask(method, path, headers={**OWN, "accept": "*/*"}).status_code == 401


@pytest.mark.parametrize(("method", "path"), FORMS)
def test_a_form_needs_its_token_and_our_page(method: str, path: str, site: Site) -> None:
    right = {"form_token": site.form_token()}
    for data in ({}, {"form_token": ""}, {"form_token": "0" * 64}):
        assert site.ask(method, path, headers=OWN, data=data).status_code == 403
    for headers in (
        {},  # neither header: no browser of today
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:8765"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
    ):
        assert site.ask(method, path, headers=headers, data=right).status_code == 403
    if path != "/sign-out":
        assert site.ask(method, path, headers=OWN, data=right).status_code != 403


@pytest.mark.parametrize(("method", "path", "need"), ROUTES)
def test_other_hosts_and_origins_are_refused(method: str, path: str, need: str, site: Site) -> None:
    for base in ("http://evil.example:8765", "http://127.0.0.1", "http://127.0.0.1.evil:8765"):
        assert site.ask(method, path, headers=OWN, base=base).status_code == 421, need
    assert site.ask(method, path, headers={"origin": "http://evil.example"}).status_code == 403, (
        need
    )


@pytest.mark.parametrize(("method", "path", "need"), ROUTES)
def test_the_cookie_opens_no_api_and_the_policy_is_strict(
    method: str, path: str, need: str, site: Site
) -> None:
    if path == "/sign-out":
        return
    answer = site.ask(method, path, headers=OWN)
    if need == "token":
        assert answer.status_code == 401
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    for name in ("x-content-type-options", "x-frame-options", "cache-control"):
        assert len(answer.headers.get_list(name)) == 1
    assert SECRET not in answer.text
    assert TOKEN not in answer.text


@pytest.mark.parametrize("path", ["/jobs/../../etc/passwd", "/assets/../routes.py", "/assets/%2e%2e/x", "/jobs/%00", "/nowhere"])  # fmt: skip
def test_paths_that_climb_lead_nowhere(path: str, site: Site) -> None:
    assert site.get(path).status_code in (303, 401, 404)
    assert site.ask("DELETE", path).status_code in (401, 404, 405)


def test_a_link_signs_in_once_and_a_session_ends(site: Site) -> None:
    code = site.app.access.new_link()
    visitor = Site.__new__(Site)
    visitor.app, visitor.cookies = site.app, {}
    first = visitor.get(f"/sign-in?code={code}")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict; Path=/" in cookie
    assert TOKEN not in cookie
    assert visitor.get(f"/sign-in?code={code}").status_code == 401
    visitor.cookies = dict(first.cookies)
    assert visitor.get("/").status_code == 200
    gone = visitor.post("/sign-out")
    assert gone.headers["location"] == "/sign-in"
    assert visitor.get("/").status_code == 303


def test_a_wrong_token_opens_nothing_and_sign_in_stays_here(site: Site) -> None:
    wrong = site.ask("POST", "/sign-in", headers=OWN, data={"token": "x" * 20})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    for target in ("//evil.example", "https://evil.example", "/\\evil.example", ""):
        data = {"token": TOKEN, "next": target}
        answer = site.ask("POST", "/sign-in", headers=OWN, data=data)
        assert answer.headers["location"] == "/"
    data = {"token": TOKEN, "next": "/?tab=failed"}
    assert site.ask("POST", "/sign-in", headers=OWN, data=data).headers["location"] == data["next"]
    foreign = site.ask("POST", "/sign-in", data={"token": TOKEN})
    assert foreign.status_code == 403


def test_links_and_sessions_end_with_time() -> None:
    clock = ManualClock()
    access = Access(ServeSettings(TOKEN, Path("x")), clock)
    late = access.new_link()
    clock.advance(601)
    assert access.session_by_link(late) is None
    session = access.session_by_token(TOKEN) or ""
    cookies = f"{access.cookie}={session}"
    assert access.session_of(cookies) == session
    assert access.session_of(f"other={session}") is None
    assert access.session_of('"') is None
    clock.advance(dt.timedelta(hours=12, seconds=1).total_seconds())
    assert access.session_of(cookies) is None
