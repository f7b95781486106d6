from __future__ import annotations

import pytest


def test_one_question_one_answer(cli, done):
    assert cli.ok("chat", done, "-m", "question number 3").out == "the answer is 21\n"
    assert cli.ok("chat", done, "question number 5").out == "the answer is 35\n"
    assert cli.error(2, "chat", done, "one", "-m", "two")["what"] == "Two messages were given"
    assert cli.ok("chat", "-m", "question number 2").out == "the answer is 14\n"


def test_beside_its_base(cli, done):
    out = cli.ok("chat", "-m", "question number 3", "--beside-base").out
    assert out.startswith("base    (an untuned model's answer")
    assert out.split("\n")[1] == "tuned   the answer is 21"


def test_as_json(cli, done):
    document = cli.ok("chat", "-m", "question number 3", "--beside-base", "--json").json
    assert document["job_id"] == done
    assert document["text"] == "the answer is 21"
    assert document["message"] == {"role": "assistant", "content": "the answer is 21"}
    assert {"usage", "finish_reason", "raw", "model"} <= set(document)
    assert "untuned" in document["base"]["text"]
    assert cli.ok("chat", "-m", "x", "--json").json["base"] is None


@pytest.mark.parametrize("words", [(), ("-m", "-")])
def test_a_question_from_standard_input(cli, done, words):
    assert cli.ok("chat", *words, stdin="question number 4").out == "the answer is 28\n"


def test_options_and_the_system_message_arrive(cli, done, monkeypatch):
    seen = []
    from ftsdk.backends.fake import FakeBackend

    original = FakeBackend.chat

    def chat(self, handle, messages, options):
        seen.append((list(messages), dict(options)))
        return original(self, handle, messages, options)

    monkeypatch.setattr(FakeBackend, "chat", chat)
    cli.ok("chat", "-m", "hi", "--system", "be brief", "--max-tokens", "7", "--temperature", "0.5",
           "--seed", "3")  # fmt: skip
    [(messages, options)] = seen
    assert messages == [
        {"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"},
    ]  # fmt: skip
    assert options == {"max_tokens": 7, "temperature": 0.5, "seed": 3}


def test_an_answer_cannot_steer_the_terminal(cli, done, monkeypatch):
    from ftsdk.types.model import ChatAnswer

    answer = ChatAnswer(text="one\x1b[31m\x1b]8;;http://x\x07 [bold]two[/bold]\nthree", message={})
    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.chat", lambda *_: answer)
    assert cli.ok("chat", "-m", "hi").out == "one [bold]two[/bold]\nthree\n"


def test_a_conversation_remembers_until_it_is_reset(cli, done, monkeypatch):
    from ftsdk.cli.commands import chat as module
    from ftsdk.cli.context import open_client

    client = open_client()
    job = client.get_job(done)
    conversation = module._Conversation(client, job, job.result(), {}, "s", True)
    list(conversation.ask("question number 1"))
    assert [m["role"] for m in conversation.messages["tuned"]] == ["system", "user", "assistant"]
    assert conversation.messages["base"][-1]["content"].startswith("(an untuned")

    def chat(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.chat_base", chat)
    with pytest.raises(KeyboardInterrupt):
        list(conversation.ask("again"))
    assert [m["role"] for m in conversation.messages["base"]] == ["system", "user", "assistant"]
    conversation.reset()
    assert conversation.messages == {"base": [{"role": "system", "content": "s"}],
                         "tuned": [{"role": "system", "content": "s"}]}  # fmt: skip


def test_a_local_model_says_that_it_is_loaded_once(cli, done, monkeypatch):
    from pathlib import Path

    from ftsdk.cli.commands import chat as module
    from ftsdk.cli.context import open_client

    job = open_client().get_job(done)
    here = job.result().model_copy(update={"path": Path("/models/x")})
    conversation = module._Conversation(open_client(), job, here, {}, None, True)
    assert conversation._waiting("tuned") == "loading smollm2-135m on this machine"
    assert conversation._waiting("base") == "loading smollm2-135m on this machine"
    assert conversation._waiting("tuned") == "waiting for the tuned model"
