"""`chat`: ask the tuned model, once or in conversation, and its base model beside it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.context import newest, open_client
from ftsdk.cli.options import Json, MaybeJob, Profile
from ftsdk.cli.view.formatting import clean, clean_block
from ftsdk.cli.view.output import busy, emit, note, say
from ftsdk.errors import FtsdkError, UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.jobs.job import FineTuneJob
    from ftsdk.types.model import ChatAnswer, ModelHandle

__all__ = ["chat"]

Message = dict[str, str]
_HELP = "/reset forgets the conversation, /quit leaves; an empty line does nothing"


def chat(
    job: MaybeJob = None,
    words: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="The question; the same as -m.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="Ask this once; - reads standard input."
        ),
    ] = None,
    beside_base: Annotated[
        bool, typer.Option("--beside-base", help="Ask the base model, too.")
    ] = False,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A system message in front.")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Longest answer, in tokens.")
    ] = 256,
    temperature: Annotated[
        float, typer.Option(metavar="T", min=0.0, help="0 always takes the likeliest token.")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option(metavar="N", help="For temperatures above 0.")] = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Ask the model that a job made: once with a question, else in conversation."""
    from ftsdk.types.status import JobStatus

    if words is not None and message is not None:
        raise UsageError(
            "Two questions were given", where="ftsdk chat", hint="give TEXT or -m TEXT, not both"
        )
    message = words if message is None else message

    client = open_client(profile)
    one = newest(client, job, fit=lambda j: j.status is JobStatus.SUCCEEDED)
    handle = one.result()
    options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    talk = _Talk(client, one, handle, options, system, beside_base)
    if message is None and sys.stdin.isatty():
        if as_json:
            raise UsageError(
                "--json answers one message", where="ftsdk chat", hint="give it with -m TEXT"
            )
        _converse(talk)
        return
    asked = sys.stdin.read() if message in (None, "-") else message
    if not asked or not asked.strip():
        raise UsageError(
            "The message is empty", where="ftsdk chat", hint="give it with -m TEXT, or type it"
        )
    _once(talk, asked, as_json=as_json)


class _Talk:
    """A conversation with the tuned model, and one with its base beside it if wanted."""

    def __init__(
        self,
        client: Client,
        job: FineTuneJob,
        handle: ModelHandle,
        options: Mapping[str, Any],
        system: str | None,
        beside_base: bool,
    ) -> None:
        self.client, self.job, self.handle, self.options = client, job, handle, options
        self.system, self.beside_base = system, beside_base
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        start = [{"role": "system", "content": self.system}] if self.system else []
        self.said: dict[str, list[Message]] = {"base": list(start), "tuned": list(start)}

    def ask(self, words: str) -> Iterator[tuple[str, ChatAnswer]]:
        """The answers, each with whose it is; a question that fails is forgotten."""
        for who in ("base", "tuned") if self.beside_base else ("tuned",):
            history = self.said[who]
            history.append({"role": "user", "content": words})
            try:
                answer = self._answer(who, history)
            except BaseException:
                history.pop()
                raise
            history.append({"role": "assistant", "content": answer.text})
            yield who, answer

    def _answer(self, who: str, history: Sequence[Message]) -> ChatAnswer:
        with busy(f"{who} is thinking"):
            if who == "base":
                backend = self.client._backend_for(self.job.snapshot)
                return backend.chat_base(self.handle, history, self.options)
            return self.handle.chat(history, **self.options)


def _once(talk: _Talk, asked: str, *, as_json: bool) -> None:
    if as_json:
        answers = {who: answer.model_dump(mode="json") for who, answer in talk.ask(asked)}
        emit({
            "job_id": talk.job.id, "model": talk.handle.id, **answers["tuned"],
            "base": answers.get("base"),
        })  # fmt: skip
        return
    for who, answer in talk.ask(asked):
        _print(who, answer, labelled=talk.beside_base)


def _print(who: str, answer: ChatAnswer, *, labelled: bool) -> None:
    body = clean_block(answer.text).strip("\n")
    if not labelled:
        say(body)
    else:
        first, *rest = body.split("\n")
        say((f"{who:<6}  ", "green bold" if who == "tuned" else "dim"), first)
        for line in rest:
            say(" " * 8 + line)
    if answer.finish_reason == "length":
        note(("        (cut at --max-tokens)", "dim"))
    sys.stdout.flush()


def _converse(talk: _Talk) -> None:
    with _history(talk.client.home / "chat_history"):
        say(
            (f"{clean(talk.job.name or talk.job.id)} · {clean(talk.handle.base_model)}", "bold"),
            (f"   {_HELP}", "dim"),
        )
        while True:
            try:
                words = input("› ").strip()  # input, for the line editing that readline gives it
            except EOFError:
                say()
                return
            except KeyboardInterrupt:
                say()
                return
            if words in ("/quit", "/exit", "/q"):
                return
            if words == "/reset":
                talk.reset()
            elif words.startswith("/"):
                note((_HELP, "dim"))
            elif words:
                _turn(talk, words)


def _turn(talk: _Talk, words: str) -> None:
    try:
        for who, answer in talk.ask(words):
            _print(who, answer, labelled=talk.beside_base)
    except KeyboardInterrupt:
        note(("(stopped)", "dim"))
    except FtsdkError as error:
        if not error.retryable:
            raise
        note(("✗ ", "red"), clean(error.what))  # the conversation is still there: ask again


@contextlib.contextmanager
def _history(path: Path) -> Iterator[None]:
    """Earlier questions behind the arrow keys, kept for their owner alone, where there is readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(1000)
        with contextlib.suppress(OSError):
            path.touch(mode=0o600)
            readline.write_history_file(path)
