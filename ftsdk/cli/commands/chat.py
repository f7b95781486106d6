"""`chat`: ask a job's model once or in conversation, and its base model beside it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.cli.context import find_model, newest, open_client
from ftsdk.cli.options import Json, MaxTokens, MaybeJob, Profile
from ftsdk.cli.view.formatting import clean, clean_block
from ftsdk.cli.view.output import busy, columns, emit, note, say
from ftsdk.client import Client
from ftsdk.errors import FtsdkError, UsageError
from ftsdk.jobs.job import FineTuneJob
from ftsdk.spending.counted_chats import CountedChats
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.types.status import JobStatus

Message = dict[str, str]
_HELP = "/reset starts a new conversation, /quit leaves"


def chat(
    job: MaybeJob = None,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The message; the same as -m.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="Send this one message; - reads standard input."
        ),
    ] = None,
    beside_base: Annotated[
        bool, typer.Option("--beside-base", help="Ask the base model as well.")
    ] = False,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A system message to start with.")
    ] = None,
    max_tokens: MaxTokens = 256,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T", min=0.0, help="Sampling temperature; 0 takes the likeliest token."
        ),
    ] = 0.0,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Sampling seed, for temperatures above 0.")
    ] = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Chat with a job's model.

    With a message it answers once; without one, on a terminal, it holds a conversation.
    """
    if text is not None and message is not None:
        raise UsageError(
            "Two messages were given", where="ftsdk chat", hint="give TEXT or -m TEXT, not both"
        )
    message = text if message is None else message

    client = open_client(profile)
    target = (
        newest(client, None, fit=lambda j: j.status is JobStatus.SUCCEEDED)
        if job is None
        else find_model(client, job)
    )
    handle = target.result()
    options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    conversation = _Conversation(
        client, target, handle, options, system, beside_base, quiet=as_json
    )
    if message is None and sys.stdin.isatty():
        if as_json:
            raise UsageError(
                "--json answers one message", where="ftsdk chat", hint="give it with -m TEXT"
            )
        _converse(conversation)
        return
    asked = sys.stdin.read() if message in (None, "-") else message
    if not asked or not asked.strip():
        raise UsageError(
            "The message is empty", where="ftsdk chat", hint="give it with -m TEXT, or type it"
        )
    _answer_once(conversation, asked, as_json=as_json)


class _Conversation:
    """A conversation with the tuned model and, if wanted, the same with its base model."""

    def __init__(
        self,
        client: Client,
        job: FineTuneJob,
        handle: ModelHandle,
        options: Mapping[str, Any],
        system: str | None,
        beside_base: bool,
        *,
        quiet: bool = False,
    ) -> None:
        self.client, self.job, self.handle, self.options = client, job, handle, options
        self.system, self.beside_base = system, beside_base
        self.quiet = quiet
        self.streams = not quiet and not beside_base and sys.stdout.isatty()
        self._loaded: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Start a new conversation."""
        start = [{"role": "system", "content": self.system}] if self.system else []
        self.messages: dict[str, list[Message]] = {"base": list(start), "tuned": list(start)}

    def ask(self, message: str) -> Iterator[tuple[str, ChatAnswer]]:
        """Yield `("base" | "tuned", answer)`. A message whose call fails is removed again."""
        for who in ("base", "tuned") if self.beside_base else ("tuned",):
            history = self.messages[who]
            history.append({"role": "user", "content": message})
            try:
                answer = self._answer(who, history)
            except BaseException:
                history.pop()
                raise
            history.append({"role": "assistant", "content": answer.text})
            yield who, answer

    def _answer(self, who: str, history: Sequence[Message]) -> ChatAnswer:
        backend = self.client.session.backend_for(self.job.snapshot)
        if who == "tuned" and self.streams:
            return self._streamed(history, can_stop=backend.capabilities.price == "free")
        with busy(self._waiting(who), quiet=self.quiet):
            if who == "base":
                chats = CountedChats(self.client.session, backend)
                return chats.chat_base(self.handle, history, self.options)
            answer: ChatAnswer = self.handle.chat(history, **self.options)
            return answer

    def _streamed(self, history: Sequence[Message], *, can_stop: bool) -> ChatAnswer:
        """Print the answer as it comes, and return it. Ctrl-C ends one that costs nothing."""
        pieces = self.handle.chat(history, stream=True, **self.options)
        try:
            with busy(self._waiting("tuned")):
                piece = next(pieces, None)
            while piece is not None:
                sys.stdout.write(clean_block(piece))
                sys.stdout.flush()
                piece = next(pieces, None)
        except KeyboardInterrupt:
            if can_stop:
                pieces.close()
            raise
        say()
        return pieces.answer

    def _waiting(self, who: str) -> str:
        """What is waited for: a model on this machine is loaded at its first answer."""
        if self.handle.path is None or who in self._loaded:
            return f"waiting for the {who} model"
        self._loaded.add(who)
        words = f"loading {clean(self.handle.base_model)} on this machine"
        if not sys.stderr.isatty() and not self.quiet:
            note((words, "dim"))
        return words


def _answer_once(conversation: _Conversation, asked: str, *, as_json: bool) -> None:
    if as_json:
        answers = {who: answer.model_dump(mode="json") for who, answer in conversation.ask(asked)}
        emit({
            "job_id": conversation.job.id, "model": conversation.handle.id, **answers["tuned"],
            "base": answers.get("base"),
        })  # fmt: skip
        return
    for who, answer in conversation.ask(asked):
        _print(who, answer, conversation)


def _print(who: str, answer: ChatAnswer, conversation: _Conversation) -> None:
    labelled = conversation.beside_base
    body = clean_block(answer.text).strip("\n")
    if conversation.streams:
        pass  # it was printed as it came
    elif not labelled:
        say(body)
    else:
        label = (f"{who:<6}", "green bold" if who == "tuned" else "dim")
        for line in body.split("\n"):
            columns([[label, line]], indent=0, fold=True)
            label = (" " * 6, "")
    if answer.finish_reason == "length":
        note(("        (cut off at --max-tokens)", "dim"))
    sys.stdout.flush()


def _converse(conversation: _Conversation) -> None:
    with _history(conversation.client.home / "chat_history"):
        say(
            (
                f"{clean(conversation.job.name or conversation.job.id)} · {clean(conversation.handle.base_model)}",
                "bold",
            ),
            (f"   {_HELP}", "dim"),
        )
        while True:
            try:
                message = input("› ").strip()  # `input` has readline's editing
            except EOFError:
                say()
                return
            except KeyboardInterrupt:
                say()
                return
            if message in ("/quit", "/exit", "/q"):
                return
            if message == "/reset":
                conversation.reset()
            elif message.startswith("/"):
                note((_HELP, "dim"))
            elif message:
                _turn(conversation, message)


def _turn(conversation: _Conversation, message: str) -> None:
    try:
        for who, answer in conversation.ask(message):
            _print(who, answer, conversation)
    except KeyboardInterrupt:
        note(("(stopped)", "dim"))
    except FtsdkError as error:
        if not error.retryable:
            raise
        note(("✗ ", "red"), clean(error.what))  # the conversation goes on


@contextlib.contextmanager
def _history(path: Path) -> Iterator[None]:
    """Keep earlier messages behind the arrow keys, readable by their owner alone, with readline."""
    try:
        import readline  # not part of every Python
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
