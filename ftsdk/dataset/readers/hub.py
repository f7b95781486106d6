"""Datasets of a hub, named like `hf:tatsu-lab/alpaca?config=default&split=train&revision=…`.

The name of a branch is first asked for its commit; the rows are those of that commit, and the source's
name has it, so that a job's record says which rows it trained. `HF_ENDPOINT` names another hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.readers.lines import Stop
from ftsdk.errors import MissingExtra, UsageError

PREFIX = "hf:"
_REPO = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)
_OPTIONS = ("split", "config", "revision")
_TIMEOUT_S = 20


@dataclass(frozen=True)
class HubName:
    """The name of a dataset on a hub; without a `revision`, the default branch is meant."""

    repo: str
    split: str = "train"
    config: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        options = {"config": self.config, "split": self.split, "revision": self.revision}
        return f"{PREFIX}{self.repo}?" + "&".join(f"{k}={v}" for k, v in options.items() if v)


def is_hub_name(source: Any) -> bool:
    """Whether a source is the name of a dataset on a hub."""
    return isinstance(source, str | os.PathLike) and os.fspath(source).startswith(PREFIX)


def parse(text: str) -> HubName:
    """The parts of a name; raises `UsageError` when it is none."""
    repo, _, query = text.removeprefix(PREFIX).partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    wrong = next((name for name, _ in given if name not in _OPTIONS), None)
    if _REPO.fullmatch(repo) is None or wrong or not all(value for _, value in given):
        flaw = f"an option {wrong!r}" if wrong else "no name, or an empty option"
        raise UsageError(f"the name of a dataset of a hub has {flaw}", where=text,
                         hint="write hf:tatsu-lab/alpaca, or hf:openai/gsm8k?config=main&split=test")  # fmt: skip
    return HubName(repo, **dict(given))


def fetch(name: HubName) -> tuple[HubName, Any]:
    """The name with its commit, and the rows as a dataset of the library `datasets`.

    Raises `Stop` when the hub cannot be reached or has no such dataset, config or split, and
    `MissingExtra` without the library.
    """
    try:
        import datasets
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtra(
            "Reading a dataset of a hub needs the package datasets.",
            hint="pip install 'ftsdk[hub]'",
        ) from error
    datasets.disable_progress_bars()
    with _mapped(name):
        info = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None).dataset_info(
            name.repo, revision=name.revision, timeout=_TIMEOUT_S
        )
        pinned = HubName(name.repo, name.split, name.config, info.sha)
        rows = datasets.load_dataset(
            name.repo, name.config, split=name.split, revision=pinned.revision
        )
    return pinned, rows


@contextmanager
def _mapped(name: HubName) -> Iterator[None]:
    """Raise what the libraries raise as the fault of a file that cannot be read."""
    from huggingface_hub import errors as hub

    http_root: Any = hub.HfHubHTTPError.__bases__[0]  # of the HTTP library of this release
    try:
        yield
    except hub.GatedRepoError as error:
        raise _stop("FT003", f"{name.repo} requires its terms to be accepted",
                    "accept them on its page, then run `hf auth login` here") from error  # fmt: skip
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError, hub.HFValidationError) as error:
        at = f" at {name.revision}" if name.revision else ""
        raise _stop("FT001", f"the hub has no dataset {name.repo}{at} that may be read here",
                    "check the spelling; for a private dataset run `hf auth login` first") from error  # fmt: skip
    except ValueError as error:  # no such config or split, or none that can be read without code
        raise _stop("FT001", f"{name}: {_first_line(error)}",
                    "name one: hf:NAME?config=…&split=…") from error  # fmt: skip
    except (hub.HfHubHTTPError, http_root, OSError) as error:
        raise _stop("FT003", f"the hub cannot be reached for {name.repo}: {_first_line(error)}",
                    "try again when there is a network, or download the dataset and give its file") from error  # fmt: skip
    except RuntimeError as error:  # scripts of datasets are not run
        raise _stop("FT003", f"{name.repo} cannot be read: {_first_line(error)}",
                    "download the dataset and give its file") from error  # fmt: skip


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0].strip()
    return (line or type(error).__name__)[:200]


def _stop(code: str, message: str, hint: str) -> Stop:
    return Stop(Fault(code=code, severity="fault", line=0, message=message, hint=hint))
