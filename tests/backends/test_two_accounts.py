"""Two accounts of one provider: each job is read, cancelled and sent with a key of its own account.

The double gives each key an account of its own: what one key made, the other cannot see.
"""

from __future__ import annotations

import contextlib

import pytest

import ftsdk
from ftsdk.config import Config
from ftsdk.errors import (
    AuthError,
    ConfigError,
    FtsdkError,
    NeedsDecision,
    Unavailable,
    UsageError,
    WrongAccount,
)
from ftsdk.jobs.accounts import declare_same, list_accounts
from ftsdk.jobs.actions import refresh_many
from ftsdk.jobs.retirements import retirements
from ftsdk.jobs.spending_guard import enforce
from ftsdk.session import Horizon
from ftsdk.store.accounts import Accounts
from ftsdk.testing.lab import Lab
from ftsdk.util.clock import ManualClock
from tests.backends.hosted_worlds import HOSTED, ROWS

A, B, NEW = "key-of-account-a-00000", "key-of-account-b-00000", "new-key-of-account-a-0"
HORIZON = Horizon(look_s=60, while_creating_s=1)


class World:
    """One home, one provider with two accounts, and clients with either key."""

    def __init__(self, hosted, home, lab):
        self.hosted, self.home, self.double = hosted, home, lab[hosted.name]
        self.clock = lab.clock
        self.clients = []

    def client(self, key=None, profile=None, config=None, **env):
        variables = {**self.double.variables(), self.hosted.key: key or "", **env}
        config = Config(data=config or {}, profile=profile, env=variables)
        made = ftsdk.Client(
            home=self.home, clock=self.clock, env=variables, config=config, horizon=HORIZON
        )
        self.clients.append(made)
        return made

    def side_by_side(self, profile):
        """A client with both keys, each named by a profile."""
        names = [f"{self.hosted.key}_{one}" for one in "AB"]
        profiles = {
            f"account-{one}": {"provider": self.hosted.name, "key_variable": name}
            for one, name in zip("ab", names, strict=True)
        }
        keys = dict(zip(names, (A, B), strict=True))
        return self.client(profile=profile, config={"profiles": profiles}, **keys)

    def new(self, client, **given):
        return self.hosted.new(client, **given)

    def lost(self, client, **given):
        """A job that the provider made, and whose answer was lost."""
        self.double.faults.add("close", method="POST", path=self.hosted.create, acted=True)
        self.double.lists_before_visible = 99
        with pytest.raises(FtsdkError) as caught:
            self.new(client, **given)
        self.double.lists_before_visible = 0
        for made in self.jobs(A).values():
            made.visible_after_lists = 0
        job = client.get_job(caught.value.job_id)
        assert job.status == "in_doubt"
        return job

    def jobs(self, key):
        found = self.double.in_account(key)
        return found.get("jobs", found.get("trainings"))

    def keys_since(self, count):
        """The keys of the requests after the first `count`."""
        return {
            request.headers.get("authorization", "").removeprefix("Bearer ")
            for request in list(self.double.requests)[count:]
        }

    @property
    def requests(self):
        return len(self.double.requests)


@pytest.fixture(params=HOSTED)
def world(request, home):
    pytest.importorskip(request.param, reason=f"needs the extra `{request.param}`")
    with Lab(request.param, clock=ManualClock(), keys=[A, B, NEW]) as lab:
        lab[request.param].new_keys[NEW] = A
        made = World(HOSTED[request.param], home, lab)
        yield made
        for client in made.clients:
            client.close()
    assert made.double.violations == []


def test_a_job_in_doubt_is_not_looked_for_with_another_key(world):
    job = world.lost(world.client(A), key="k")
    other, before = world.client(B), world.requests
    world.clock.advance(3600)
    for ask in (
        lambda: other.reconcile(job.id),
        lambda: other.get_job(job.id).refresh(),
        lambda: other.get_job(job.id).wait(timeout=1),
        lambda: other.get_job(job.id).cancel(),
        lambda: other.resolve(job.id, send_again=True),
        lambda: other.resolve(job.id, adopt="ft-00000000-0000"),
        lambda: world.new(other, key="k"),
    ):
        with pytest.raises(WrongAccount) as caught:
            ask()
        error = caught.value
        assert error.job_id == job.id
        assert "account" in error.what
        assert "ftsdk accounts --same" in error.hint
        assert "--send-again" not in error.hint
    assert world.requests == before  # nobody was asked with that key
    assert other.get_job(job.id).status == "in_doubt"
    found, *_ = world.client(A).reconcile(job.id)
    assert found.provider_job_id in world.jobs(A)
    assert found.status != "cancelled"  # the refused cancel was not kept
    assert len(world.jobs(A)) == 1
    assert len(world.jobs(B)) == 0


def test_giving_up_needs_no_key(world):
    job = world.lost(world.client(A))
    assert world.client(B).resolve(job.id, give_up=True).status == "failed"


def test_another_accounts_job_is_neither_read_nor_cancelled(world):
    job = world.new(world.client(A))
    other, before = world.client(B), world.requests
    theirs = other.get_job(job.id)
    for ask in (theirs.refresh, theirs.cancel, theirs.wait, theirs.metrics, theirs.logs):
        with pytest.raises(WrongAccount) as caught:
            ask()
        assert caught.value.hint
        assert A not in str(caught.value)
        assert B not in str(caught.value)
    assert world.requests == before
    assert theirs.status == job.status
    assert job.cancel().status in ("cancelling", "cancelled")


def test_profiles_with_their_own_keys_live_side_by_side(world):
    first = world.side_by_side("account-a")
    job_a = world.new(first)
    second = world.side_by_side("account-b")
    job_b = world.new(second)
    assert list(world.jobs(A)) == [job_a.provider_job_id]
    assert list(world.jobs(B)) == [job_b.provider_job_id]
    assert job_a.snapshot.account != job_b.snapshot.account
    # Either profile, or none, refreshes each job with the key of its account.
    for profile in ("account-a", "account-b", None):
        client = world.side_by_side(profile)
        world.clock.advance(1)
        jobs = client.list_jobs()
        errors = {}
        refresh_many(client.session, [job.snapshot for job in jobs], errors)
        assert errors == {}
        assert {job.refresh().id for job in jobs} == {job_a.id, job_b.id}
    for job in world.side_by_side("account-a").list_jobs():
        assert job.cancel().status in ("cancelling", "cancelled", "succeeded")
    assert len(world.jobs(A)) == len(world.jobs(B)) == 1
    known = list_accounts(world.side_by_side(None).session)
    assert {one.profile for one in known} == {"account-a", "account-b"}
    assert all(one.has_key and one.jobs == 1 for one in known)


def test_one_missing_key_does_not_keep_the_other_account_from_being_asked(world):
    mine, theirs = world.new(world.client(A)), world.new(world.client(B))
    world.clock.advance(1)
    errors = {}
    client = world.client(A)
    now = refresh_many(client.session, [theirs.snapshot, mine.snapshot], errors)
    assert list(errors) == [theirs.id]
    assert isinstance(errors[theirs.id], WrongAccount)
    assert [job.id for job in now] == [theirs.id, mine.id]
    with pytest.raises(WrongAccount):
        refresh_many(client.session, [theirs.snapshot, mine.snapshot])


def test_one_refused_key_does_not_keep_the_other_account_from_being_asked(world):
    client = world.side_by_side(None)
    mine, theirs = (
        world.new(world.side_by_side("account-a")),
        world.new(world.side_by_side("account-b")),
    )
    world.double.keys.discard(B)
    before, errors = world.requests, {}
    refresh_many(client.session, [theirs.snapshot, mine.snapshot], errors)
    assert list(errors) == [theirs.id]
    assert isinstance(errors[theirs.id], AuthError)
    assert world.keys_since(before) == {A, B}


def test_a_new_key_of_the_account_is_declared_after_it_read_a_job(world):
    job = world.new(world.client(A))
    renewed = world.client(NEW)
    with pytest.raises(WrongAccount) as caught:
        renewed.get_job(job.id).refresh()
    name = caught.value.hint.rpartition("--same ")[2]
    with pytest.raises(WrongAccount, match="cannot read the jobs"):
        declare_same(world.client(B).session, name)
    with pytest.raises(WrongAccount):
        renewed.get_job(job.id).refresh()
    declared = declare_same(renewed.session, name)
    assert (declared.same_as, declared.checked_by) == (name, job.id)
    assert renewed.get_job(job.id).refresh().provider_job_id == job.provider_job_id
    assert world.client(A).get_job(job.id).refresh().status.is_remote  # the old key still works
    with pytest.raises(WrongAccount):
        world.client(B).get_job(job.id).refresh()
    with pytest.raises(UsageError, match="already"):
        declare_same(renewed.session, job.id)
    known = {one.name: one for one in list_accounts(renewed.session)}
    assert known[name].has_key
    assert known[name].same_as == (declared.account,)


def test_an_account_without_a_job_to_check_by_can_be_declared(world):
    job = world.lost(world.client(A))
    renewed = world.client(NEW)
    assert declare_same(renewed.session, job.id).checked_by is None
    (found,) = renewed.reconcile(job.id)
    assert found.provider_job_id in world.jobs(A)


def test_unknown_accounts_cannot_be_declared(world):
    with pytest.raises(UsageError, match="No account is called 'none'"):
        declare_same(world.client(A).session, "none")


def test_a_declaration_can_be_made_unchecked(world):
    """Where the provider has deleted the jobs by which it could be checked."""
    job = world.new(world.client(A))
    world.jobs(A).clear()
    with pytest.raises(WrongAccount, match="cannot read"):
        declare_same(world.client(NEW).session, job.id)
    assert declare_same(world.client(NEW).session, job.id, check=False).checked_by is None


def test_a_job_from_before_takes_the_account_that_finds_it(world):
    mine = world.client(A)
    job = world.new(mine)
    account = job.snapshot.account
    mine.journal.change(job.id, now=world.clock.now(), why="as before accounts", account=None)
    with pytest.raises(FtsdkError):  # the other account does not have it
        world.client(B).get_job(job.id).refresh()
    assert mine.journal.get(job.id).account is None
    assert mine.get_job(job.id).refresh().snapshot.account == account
    (row,) = mine.journal.read("SELECT account FROM jobs WHERE id = ?", (job.id,))
    assert row["account"] == account
    with pytest.raises(WrongAccount):
        world.client(B).get_job(job.id).refresh()


def test_a_job_whose_secret_is_lost_takes_the_account_that_finds_it(world):
    mine = world.client(A)
    job = world.new(mine)
    (world.home / "account.secret").unlink()
    again = world.client(A).get_job(job.id).refresh().snapshot.account
    assert again != job.snapshot.account
    with pytest.raises(WrongAccount):
        world.client(B).get_job(job.id).refresh()


def test_one_idempotency_key_is_of_one_account(world):
    job = world.new(world.client(A), key="nightly")
    before = world.requests
    with pytest.raises(WrongAccount, match="another account") as caught:
        world.new(world.client(B), key="nightly")
    assert caught.value.job_id == job.id
    assert caught.value.submitted == "no"
    assert world.keys_since(before) <= {""}
    assert world.new(world.client(A), key="nightly").id == job.id
    declare_same(world.client(NEW).session, job.id)
    assert world.new(world.client(NEW), key="nightly").id == job.id


def test_a_key_that_changes_under_way_is_refused_at_the_call(world):
    """The account is checked together with the key that is sent, not before it."""
    env = {**world.double.variables(), world.hosted.key: A}
    with ftsdk.Client(home=world.home, clock=world.clock, env=env, horizon=HORIZON) as client:
        job = world.new(client)
        backend = client.session.backend_for(job.snapshot)
        env[world.hosted.key], before = B, world.requests
        with pytest.raises(WrongAccount):
            backend.get(job.provider_job_id)
        with pytest.raises(WrongAccount):
            backend.cancel(job.provider_job_id)
        assert world.requests == before
        assert list(client.backend(world.hosted.name).list()) == []  # the new account's


def test_a_key_that_changes_while_a_job_is_sent_sends_nothing(world, monkeypatch):
    env = {**world.double.variables(), world.hosted.key: A}
    with ftsdk.Client(home=world.home, clock=world.clock, env=env, horizon=HORIZON) as client:
        backend = client.backend(world.hosted.name)
        prepare = type(backend).prepare

        def prepare_and_change(self, request):
            prepare(self, request)
            env[world.hosted.key] = B

        monkeypatch.setattr(type(backend), "prepare", prepare_and_change)
        with pytest.raises(WrongAccount) as caught:
            world.new(client)
        assert caught.value.submitted == "no"
        assert client.get_job(caught.value.job_id).snapshot.was_refused
    assert len(world.jobs(A)) == len(world.jobs(B)) == 0


def test_a_job_that_was_never_sent_goes_where_it_is_created_now(world, caplog):
    mine = world.client(A)
    with world.double.down(), pytest.raises(FtsdkError) as caught:
        world.new(mine, key="k")
    assert mine.get_job(caught.value.job_id).status == "created"
    job = world.new(world.client(B), key="k")
    assert job.id == caught.value.job_id
    assert job.provider_job_id in world.jobs(B)
    assert len(world.jobs(A)) == 0
    assert "was never sent; it is sent to account" in caplog.text
    with pytest.raises(WrongAccount):
        mine.get_job(job.id).refresh()


def test_a_job_that_was_never_sent_is_not_sent_elsewhere_by_a_decision(world):
    mine = world.client(A)
    with world.double.down(), pytest.raises(FtsdkError) as caught:
        world.new(mine, key="k")
    with pytest.raises(WrongAccount):
        world.client(B).resolve(caught.value.job_id, send_again=True)
    assert mine.get_job(caught.value.job_id).status == "created"
    assert mine.resolve(caught.value.job_id, send_again=True).provider_job_id in world.jobs(A)


def test_a_corrected_address_is_taken_by_a_job_that_was_never_sent(world, caplog):
    """`create` with a key at a wrong address, refused there, and again after it was corrected."""
    wrong = world.client(A, **{world.hosted.url: "http://127.0.0.1:9/v1"})
    with pytest.raises(FtsdkError) as caught:
        world.new(wrong, key="k")
    assert wrong.get_job(caught.value.job_id).status == "created"
    job = world.new(world.client(A), key="k")
    assert job.id == caught.value.job_id
    assert job.provider_job_id in world.jobs(A)
    assert job.snapshot.dataset["base_url"].startswith(world.double.origin)
    assert f"it is sent to {job.snapshot.dataset['base_url']} now" in caplog.text
    assert "127.0.0.1:9" in caplog.text
    assert job.refresh().status.is_remote


def test_a_job_in_doubt_keeps_its_address(world):
    """It may exist where it was sent; the present address does not have it."""
    mine = world.client(A)
    job = world.lost(mine, key="k")
    with Lab(world.hosted.name, clock=world.clock, keys=[A]) as elsewhere:
        other = world.client(A, **{world.hosted.url: elsewhere[world.hosted.name].base_url})
        again = world.new(other, key="k")
        assert again.id == job.id
        assert again.provider_job_id in world.jobs(A)
        assert elsewhere[world.hosted.name].count("POST", world.hosted.create) == 0


def test_a_job_that_another_key_finds_by_its_tag_is_of_that_account(world):
    job = world.lost(world.client(A))
    (identity,) = world.jobs(A)
    adopted = world.client(NEW).adopt_job(world.hosted.name, identity)
    assert adopted.id == job.id
    assert adopted.provider_job_id == identity
    assert adopted.refresh().status.is_remote
    with contextlib.suppress(ftsdk.NotFound):
        world.client(B).adopt_job(world.hosted.name, "ftjob-000000000000")


def test_an_adopted_job_has_its_account(world):
    mine = world.client(A)
    identity = world.new(mine).provider_job_id
    elsewhere = ftsdk.Client(
        home=world.home / "other", clock=world.clock, env=mine.env, config=Config(env=mine.env)
    )
    world.clients.append(elsewhere)
    adopted = elsewhere.adopt_job(world.hosted.name, identity)
    assert adopted.snapshot.account is not None
    assert Accounts(elsewhere.journal).known() == [(world.hosted.name, adopted.snapshot.account)]


def test_a_missing_key_is_named_and_changes_nothing(world):
    job = world.lost(world.client(A))
    with pytest.raises(ConfigError, match="No key for"):
        world.client().reconcile(job.id)
    assert world.client(A).get_job(job.id).status == "in_doubt"


def test_each_account_is_asked_when_models_retire(world):
    if world.hosted.name != "openai":
        pytest.skip("only OpenAI lists the models of an account")
    client = world.side_by_side("account-a")
    world.new(client, rows=ROWS)
    world.new(world.side_by_side("account-b"), rows=ROWS)
    before = world.requests
    retirements(client.session, live=True)
    assert world.keys_since(before) == {A, B}


def test_a_deployment_is_ended_only_with_a_key_of_its_account(world):
    if world.hosted.name != "together":
        pytest.skip("only Together's models are deployed")
    mine = world.client(A)
    job = world.new(mine)
    world.clock.advance(3600)
    assert job.wait().status == "succeeded"
    job.deploy(hours=1)
    other, before = world.client(B), world.requests
    with pytest.raises(WrongAccount):
        other.get_job(job.id).undeploy()
    with pytest.raises(WrongAccount):
        other.get_job(job.id).deploy(hours=2)
    world.clock.advance(7200)
    (notice,) = enforce(other.session)
    assert "may STILL COST" in notice.text
    assert world.requests == before
    assert len(world.double.in_account(A)["endpoints"]) == 1
    (ended,) = enforce(mine.session)
    assert ended.kind == "ended"
    assert world.double.in_account(A)["endpoints"] == {}


def test_the_names_of_files_do_not_let_a_key_be_guessed(world):
    """A hash without a secret could be compared with hashes of likely keys."""
    world.new(world.client(A))
    names = {path.stem.rpartition("-")[2] for path in (world.home / "uploads").glob("*.json")}
    (world.home / "account.secret").unlink()
    world.new(world.client(A), seed=7)
    again = {path.stem.rpartition("-")[2] for path in (world.home / "uploads").glob("*.json")}
    if names:  # Replicate keeps no record
        assert len(again - names) == 1


def test_jobs_in_doubt_of_both_accounts_are_looked_for(world):
    """The one whose key is missing comes first, and does not keep the other from being found."""
    mine = world.lost(world.client(A))
    world.clock.advance(1)
    other = world.client(B)
    world.double.faults.add("close", method="POST", path=world.hosted.create, acted=True)
    world.double.lists_before_visible = 99
    with pytest.raises(FtsdkError) as caught:
        world.new(other, seed=2)
    for made in world.jobs(B).values():
        made.visible_after_lists = 0
    theirs = caught.value.job_id
    with pytest.raises(WrongAccount) as caught:
        world.client(A).reconcile()
    assert caught.value.job_id == theirs
    assert world.client(A).get_job(mine.id).provider_job_id in world.jobs(A)
    assert world.client(A).get_job(theirs).status == "in_doubt"


def test_a_list_that_cannot_be_read_says_nothing_about_a_job(world):
    """The time to look is over, and the provider is down: nobody may say "not found, send again"."""
    client = world.client(A)
    job = world.lost(client)
    world.clock.advance(3600)
    with world.double.down():
        for ask in (
            lambda: client.reconcile(job.id),
            lambda: client.get_job(job.id).refresh(),
            lambda: client.get_job(job.id).wait(timeout=1),
        ):
            with pytest.raises((Unavailable, ftsdk.WaitTimeout)) as caught:
                ask()
            assert "--send-again" not in caught.value.hint
    with contextlib.closing(client):
        assert client.get_job(job.id).refresh().provider_job_id in world.jobs(A)


def test_a_named_account_keeps_its_jobs_when_its_key_is_replaced(world):
    """Keys that last an hour, as some gateways have them: each would be a new account."""
    profiles = {"p": {"provider": world.hosted.name, "account": "acme"}}
    job = world.new(world.client(A, profile="p", config={"profiles": profiles}))
    assert job.snapshot.account == "named:acme"
    renewed = world.client(NEW, profile="p", config={"profiles": profiles})
    assert renewed.get_job(job.id).refresh().provider_job_id in world.jobs(A)
    without = world.client(NEW, config={"profiles": profiles})
    assert without.get_job(job.id).refresh().status.is_remote  # found through the profile
    with pytest.raises(WrongAccount):
        world.client(NEW).get_job(job.id).refresh()


def test_a_job_whose_account_was_not_recorded_is_not_found_with_a_question(world):
    """As of an older version: nobody knows whose it is, so the key may be the wrong one."""
    job = world.lost(world.client(A))
    other = world.client(B)
    other.journal.change(job.id, now=world.clock.now(), why="as before accounts", account=None)
    world.clock.advance(3600)
    with pytest.raises(NeedsDecision, match="is the key in use the one that it was sent with"):
        other.get_job(job.id).refresh()
    assert world.client(A).get_job(job.id).refresh().provider_job_id in world.jobs(A)


def test_the_same_job_may_be_created_in_both_accounts(world):
    """Without a key, too: another account is another job, and a new key of one is not."""
    mine = world.new(world.client(A))
    theirs = world.new(world.client(B))
    assert theirs.id != mine.id
    assert len(world.jobs(A)) == len(world.jobs(B)) == 1
    declare_same(world.client(NEW).session, mine.id)
    assert world.new(world.client(NEW)).id == mine.id
    assert len(world.jobs(A)) == 1
