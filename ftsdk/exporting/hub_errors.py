"""The errors of writing to the model hub, as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ftsdk.errors import AuthError, FtsdkError, RateLimited, Rejected, Unavailable
from ftsdk.exporting.source import PASSPORT

_MOST_LETTERS = 300


@contextlib.contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Raise what the hub's library raises in the block as ours, and keep its progress bars off."""
    from huggingface_hub import errors as hub
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    # Its releases use different HTTP libraries; the root error of each is the parent of this one.
    http_root: Any = hub.HfHubHTTPError.__bases__[0]
    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    except FtsdkError:
        raise
    except RuntimeError as error:  # its library puts one around the error of a large file
        if error.__cause__ is None:
            raise
        raise _ours(repo, error.__cause__, http_root) from error
    except (http_root, OSError, ValueError) as error:
        raise _ours(repo, error, http_root) from error
    finally:
        if not were_off:
            enable_progress_bars()


def _ours(repo: str, error: BaseException, http_root: type[BaseException]) -> FtsdkError:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return _of_answer(repo, error)
    if isinstance(error, (http_root, OSError)):
        return Unavailable(
            f"The model hub could not be reached for {repo}.",
            where=f"model hub, {repo}: {type(error).__name__}: {_first_line(error)}",
            hint="push again: what arrived is not sent twice",
        )
    # Its library raises a ValueError for files that the storage refuses, and for answers that are none.
    return Rejected(
        f"The model hub did not take a file: {_first_line(error)}",
        where=f"model hub, {repo}",
        hint="see whether your account has room for it, then push again",
    )


def _of_answer(repo: str, error: Any) -> FtsdkError:
    status = getattr(error.response, "status_code", 0)
    said = str(getattr(error, "server_message", None) or _first_line(error))[:_MOST_LETTERS]
    where = f"model hub, {repo}, HTTP {status}: {said}"
    if status in (401, 404):
        return AuthError(
            f"The model hub does not let you write to {repo}",
            where=where,
            hint="set HF_TOKEN to a key with write access, or run `hf auth login`",
        )
    if status == 403:
        return AuthError(
            f"Your key may not write to {repo}",
            where=where,
            hint="use a key with write access to that owner, or name a repository of your own",
        )
    if status == 412:
        return Rejected(
            f"{repo} got another commit while this one was made; nothing was changed",
            where=where,
            hint="look at it, then push again",
        )
    if status == 429:
        return RateLimited(
            "The model hub asks you to wait", where=where, hint="push again in a few minutes"
        )
    if status >= 500:
        return Unavailable(
            "The model hub has a fault of its own",
            where=where,
            hint=f"push again: what arrived is not sent twice ({PASSPORT} lists the files)",
        )
    return Rejected(f"The model hub refused the push: {said}", where=where, hint="")


def _first_line(error: BaseException) -> str:
    text = next((line for line in str(error).split("\n") if line.strip()), "")
    return text[:_MOST_LETTERS] or type(error).__name__
