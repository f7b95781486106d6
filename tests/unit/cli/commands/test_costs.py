"""`estimate --compare`, `costs`, `retirements`, `deployments`, `deploy`, `undeploy`, as a person meets them."""

from __future__ import annotations

import csv
import datetime as dt
import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.cli.commands.deployments import hours_of
from ftsdk.cli.commands.retirements import write_text
from ftsdk.errors import UsageError
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.store.reservations import Reservations
from ftsdk.types.cost import Cost


@pytest.fixture
def priced(monkeypatch):
    """`fake` costs $1 a job and $6 an hour of deployment."""

    class Paid(FakeBackend):
        capabilities = replace(FakeBackend.capabilities, price="catalogue", can_deploy=True)

        def estimate(self, spec, train=None):
            return Cost(basis="estimated", low=Decimal("0.5"), high=Decimal(1), source="a test")

        def _job(self, data):
            return super()._job(data).model_copy(update={"cost": None})

        def model(self, provider_job_id):
            cost = Cost(basis="quoted", hosting_usd_per_hour=Decimal(6))
            return super().model(provider_job_id).model_copy(update={"running_cost": cost})

        def deploy(self, handle, **_):
            return handle.model_copy(update={"callable_now": True})

        def undeploy(self, handle):
            return handle

    monkeypatch.setattr("ftsdk.session.load_backend", lambda _: Paid)


# --- estimate ----------------------------------------------------------------------------------------


def test_estimate_compares_places(cli, data):
    ran = cli.ok(
        "estimate", data, "--epochs", "3", "--with", "together:Qwen/Qwen3.5-9B",
        "--with", "openai:gpt-4.1-nano", "--with", "local:smollm2-135m",
    )  # fmt: skip
    lines = ran.out.splitlines()
    assert lines[0].split() == ["where", "train", "serve", "ends", "note"]
    assert lines[1].split("  ")[1].startswith("local")
    for word in ("$0.00", "your machine"):
        assert word in lines[1]
    for word in ("$4.00", "from $5.49/h", "$4 minimum per job"):
        assert word in lines[3]
    assert lines[-1].startswith("Prices as of 2026-11-23")
    assert "Nothing" not in ran.err


def test_a_comparison_names_unsupported_settings(cli, data):
    places = ("--with", "openai:gpt-4.1-mini-2025-04-14", "--with", "together:Qwen/Qwen3-8B")
    asked = ("--set", "weight_decay=0.1", "--set", "rank=8")
    document = cli.ok("estimate", data, *places, *asked, "--json").json["options"]
    said = {one["provider"]: " ".join(one["unsupported"]) for one in document}
    assert "weight_decay=0.1" in said["openai"]
    assert "rank=8" in said["openai"]
    assert said["together"] == ""


def test_an_option_of_one_provider_is_not_compared(cli, data):
    error = cli.error(2, "estimate", data, "--compare", "--set", "hardware=gpu-l40s")
    assert "hardware" in error["what"]


def test_a_model_in_two_spellings_is_one_option(cli, data):
    def models(*asked):
        options = cli.ok("estimate", data, *asked, "--json").json["options"]
        return [one["model"] for one in options if one["provider"] == "together"]

    places = ("--with", "together:Qwen/Qwen3-8B", "--with", "together:qwen3-8b")
    assert models(*places) == ["Qwen/Qwen3-8B"]
    Path("ftsdk.toml").write_text('provider = "together"\nmodel = "Qwen/Qwen3.5-0.8B"\n')
    found = models("--compare")
    assert "Qwen/Qwen3.5-0.8B" in found  # as the configuration spells it
    assert "Qwen3.5-0.8B" not in found


def test_compare_as_json(cli, data, clock):
    clock.advance(400 * 24 * 3600)  # after the end of OpenAI's tuning
    document = cli.ok(
        "estimate", data, "--with", "openai:gpt-4.1-mini", "--epochs", "1", "--json"
    ).json
    option = document["options"][0]
    assert option["closed"].startswith("gpt-4.1-mini-2025-04-14 ended at OpenAI on 2027-01-14")
    assert option["ends_on"] == "2027-01-14"
    assert option["training"]["basis"] == "estimated"
    assert document["rows"] == 12


def test_explain_prints_sources_and_assumptions(cli, data):
    out = cli.ok("estimate", data, "--with", "together:Qwen3.5-9B", "--explain").out
    assert "A third-party note with Together's price matrix, as of 2026-09-09" in out
    assert "$0.48 per 1M tokens" in out


def test_compare_without_places_shows_every_installed_provider(cli, data):
    document = cli.ok("estimate", data, "--compare", "--epochs", "1", "--json").json
    providers = {option["provider"] for option in document["options"]}
    assert "local" in providers
    assert "fake" not in providers


def test_estimate_of_one_provider(cli, data):
    assert cli.ok("estimate", data, "--json").json["cost"]["high"] == "0"


# --- costs -----------------------------------------------------------------------------------------


def test_nothing_was_spent(cli):
    assert "Nothing was spent." in cli.ok("costs").out


def test_costs_by_day_and_tag(cli, data, priced):
    cli.ok("create", data, "--yes", "-d", "--tag", "team=cx")
    cli.ok("create", data, "--yes", "-d", "--tag", "team=ml", "--key", "k")
    document = cli.ok("costs", "--by", "tag:team", "--json").json
    assert [(t["key"], t["counted"]) for t in document["totals"]] == [("cx", "1"), ("ml", "1")]
    assert document["month"] == [{"scope": "all", "counted": "2", "unknown": 0, "limit": None}]
    out = cli.ok("costs").out
    assert "$1.00 – 2.00" in out
    assert "This month: $2.00" in out


def test_a_month_over_its_budget_is_6(cli, data, priced):
    Path("ftsdk.toml").write_text('[budget]\nmonth = "1.50"\n')
    cli.ok("create", data, "--yes", "-d", "--key", "one")
    error = cli.error(6, "create", data, "--yes", "-d", "--key", "two")
    assert error["code"] == "budget"
    assert error["submitted"] == "no"
    assert "$0.50 of $1.50 a month is left" in error["what"]
    assert "$1.00 of $1.50" in cli.ok("costs").out


def test_settling(cli, data, priced, home):
    job = cli.ok("create", data, "--yes", "-d", "--json").json["id"]
    ran = cli.ok("costs", "--settle", job, "--usd", "$0.42", "--json")
    assert ran.json["lines"][0]["actual"] == "0.42"
    assert Reservations(Journal(home)).get(job).settled == Decimal("0.42")
    for wrong in ("much", "-1", "nan"):
        assert cli.error(2, "costs", "--settle", job, "--usd", wrong)["where"] == "--usd"
    cli.error(2, "costs", "--usd", "1")


def test_csv_to_a_file_and_to_the_screen(cli, data, priced):
    cli.ok("create", data, "--yes", "-d", "--name", "=HYPERLINK(1)")
    rows = list(csv.DictReader(io.StringIO(cli.ok("costs", "--csv", "-").out)))
    assert rows[0]["name"] == "'=HYPERLINK(1)"
    assert rows[0]["estimate_high_usd"] == "1"
    assert "1 line in costs.csv" in cli.ok("costs", "--csv", "costs.csv").out
    assert Path("costs.csv").read_bytes().count(b"\r\n") == 2
    cli.error(2, "costs", "--csv", "nowhere/costs.csv")
    cli.error(2, "costs", "--since", "soon")
    cli.error(2, "costs", "--by", "colour")


def test_costs_of_chosen_days(cli, data, priced, clock):
    cli.ok("create", data, "--yes", "-d")
    clock.advance(3 * 24 * 3600)
    cli.ok("create", data, "--yes", "-d", "--key", "later")
    day = clock.now().date()
    assert len(cli.ok("costs", "--since", day, "--json").json["lines"]) == 1
    before = day - dt.timedelta(days=1)
    assert len(cli.ok("costs", "--until", before, "--json").json["lines"]) == 1


# --- retirements -----------------------------------------------------------------------------------------


@pytest.fixture
def retiring(home, clock):
    """`fake` retires in 30 days."""
    home.mkdir(parents=True, exist_ok=True)
    end = clock.now().date() + dt.timedelta(days=30)
    (home / "prices.toml").write_text(
        f"as_of = 2025-12-01\n[providers.fake]\nends_on = {{ day = {end} }}\n"
    )
    return end


def test_retirements_fail_ci_until_acknowledged(cli, done, retiring):
    ran = cli("retirements")
    assert ran.code == 7
    assert "in 30 days" in ran.out
    assert "2 need a decision" in ran.out
    document = cli("retirements", "--json").json
    assert document["exit_code"] == 7
    assert {row["kind"] for row in document["retirements"]} == {"fine-tune", "base"}
    assert document["retirements"][0]["retires_on"] == retiring.isoformat()
    assert cli("retirements", "--ack", "first").code == 7
    assert cli("retirements", "--ack", "smollm2-135m").code == 0
    assert "acknowledged" in cli.ok("retirements").out


def test_retirements_name_the_nearest_right_name(cli, done, retiring):
    assert "No retirement is called" in cli.error(2, "retirements", "--ack", "frist")["what"]


def test_retirements_without_a_fine_tune(cli):
    assert "no fine-tune" in cli.ok("retirements").out


def test_radar_prints_the_json_it_always_printed(cli, done, retiring):
    new, former = cli("retirements", "--json"), cli("radar", "--json")
    assert (new.code, former.code) == (7, 7)
    rows = [
        {"dies_on" if name == "retires_on" else name: value for name, value in row.items()}
        for row in new.json["retirements"]
    ]
    assert list(former.json) == ["today", "within_days", "endings", "exit_code", "not_asked"]
    assert former.json["endings"] == rows
    assert list(former.json["endings"][0]) == [
        "kind", "provider", "model", "subject", "name", "state", "dies_on", "retrain_by",
        "days_left", "source", "as_of", "confirmed", "note", "acknowledged",
    ]  # fmt: skip
    assert cli("radar", "--ack", "first", "--ack", "smollm2-135m").code == 0


def test_retirements_as_a_calendar(cli, done, retiring):
    assert "3 days in ends.ics" in cli.ok("retirements", "--ics", "ends.ics").out
    text = Path("ends.ics").read_bytes().decode()
    assert f"DTSTART;VALUE=DATE:{retiring:%Y%m%d}\r\n" in text
    assert cli.ok("retirements", "--ics", "-").out.startswith("BEGIN:VCALENDAR\n")


def test_a_calendar_names_the_providers_that_it_lacks(cli, done, retiring, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ran = cli.ok("retirements", "--live", "--ics", "ends.ics")
    assert "not asked  openai at 127.0.0.1: " in ran.err


def test_a_file_that_is_printed_has_the_line_ends_of_its_format(capsysbinary):
    write_text("-", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "2 lines", "--ics")
    assert capsysbinary.readouterr().out == b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"


# --- deployments ----------------------------------------------------------------------------------------


def test_a_lease_from_deploy_to_its_end(cli, data, priced, clock, home):
    job = cli.ok("create", data, "--yes", "--json").json["id"]
    assert cli.error(7, "deploy", job)["what"].endswith("(at $6.00 an hour, at most $12.00)")
    assert cli("deploy", job, stdin="n\n").code == 1
    assert Leases(Journal(home)).list() == []
    ran = cli.ok("deploy", job, "--for", "90m", stdin="y\n")
    assert "for 1.5 h at $6.00 an hour, at most $9.00?" in ran.err
    assert "callable now" in ran.out
    clock.advance(3600)
    ran = cli.ok("deployments")
    assert "$6.00/h" in ran.out
    assert "costs $6.00 an hour; 30 min left" in ran.err
    assert cli.ok("deployments", "--json").json["deployments"][0]["cost_usd"] == "6.000000"
    clock.advance(1801)
    ran = cli.ok("list")  # the next command ends it
    assert "is undeployed: its lease was over, about $9.00 in all" in ran.err
    assert "Nothing is deployed." in cli.ok("deployments").out
    assert "closed: the lease was over" in cli.ok("deployments", "--all").out
    assert "hosting" in cli.ok("costs", "--by", "kind").out


@pytest.mark.parametrize("name", ["leases", "deployments"])
def test_listing_deployments_from_a_timer_ends_what_is_overdue(
    cli, data, priced, clock, home, name
):
    """A cron job runs this line, under the former name too: it must end what is over."""
    job = cli.ok("create", data, "--yes", "--json").json["id"]
    lease = cli.ok("deploy", job, "--for", "1h", "--yes", "--json").json["lease"]
    [row] = cli.ok(name, "--json").json[name]
    assert list(row) == [
        "id", "provider", "model", "started_at", "ends_at", "state", "job_id", "profile",
        "deployment_id", "usd_per_hour", "closed_at", "why", "cost_usd",
    ]  # fmt: skip
    clock.advance(3601)
    ran = cli.ok(name, "--json")
    assert ran.json == {name: []}
    assert "is undeployed: its lease was over" in ran.err
    assert Leases(Journal(home)).list(running=True) == []
    [closed] = cli.ok(name, "--all", "--json").json[name]
    assert (closed["id"], closed["state"]) == (lease["id"], "closed")


def test_the_former_names_are_hidden_from_the_help(cli):
    shown = cli.ok("--help").out
    assert "deployments" in shown
    assert "retirements" in shown
    assert "leases" not in shown
    assert "radar" not in shown


def test_a_deployment_of_a_missing_profile_is_reported(cli, data, priced):
    file = Path("ftsdk.toml")
    file.write_text('[profiles.prod]\nprovider = "fake"\n')
    job = cli.ok("create", data, "--profile", "prod", "--yes", "--json").json["id"]
    cli.ok("deploy", job, "--profile", "prod", "--yes")
    file.unlink()
    document = cli.ok("list").err
    assert (
        "Running jobs and deployments of profile prod could not be checked and may cost money"
        in document
    )
    assert "run `ftsdk deployments` in the folder of its ftsdk.toml" in document


def test_undeploy_by_job_and_by_lease(cli, data, priced):
    job = cli.ok("create", data, "--yes", "--json").json["id"]
    lease = cli.ok("deploy", job, "--yes", "--json").json["lease"]
    assert lease["state"] == "open"
    assert "ended" in cli.ok("undeploy", job).out
    assert cli.ok("undeploy", lease["id"], "--json").json["lease"]["state"] == "closed"
    cli.error(2, "undeploy", "lease_0")


def test_deploying_at_a_provider_that_cannot(cli, done):
    assert cli.error(2, "deploy", done, "--yes")["code"] == "unsupported"


@pytest.mark.parametrize(
    ("word", "hours"), [("90m", 1.5), ("2h", 2), ("1.5 h", 1.5), ("3D", 72), (None, None)]
)
def test_time_spans(word, hours):
    assert hours_of(word) == hours


@pytest.mark.parametrize("word", ["2", "h", "-1h", "two hours", "1h30m", "٣h٣"])
def test_invalid_time_spans(word):
    with pytest.raises(UsageError):
        hours_of(word)


def test_plan_and_create_show_what_is_left_of_the_budget(cli, data, priced):
    Path("ftsdk.toml").write_text('[budget]\nmonth = "1.50"\njob = "20"\n')
    out = cli.ok("plan", data).out
    assert "limit of $20.00 for this job · fits" in out
    assert "month: $0.00 spent + $0.00 reserved of $1.50 · $1.50 left · fits" in out
    cli.ok("create", data, "--yes", "-d", "--key", "one")
    out = cli.ok("plan", data).out
    assert "month: $0.00 spent + $1.00 reserved of $1.50 · $0.50 left · DOES NOT FIT" in out
    [_, month] = cli.ok("plan", data, "--json").json["budget"]
    assert (month["reserved"], month["left"], month["fits"]) == ("1", "0.50", False)


def test_adopting_asks_to_record_an_unknown_cost(cli, data, priced, monkeypatch, tmp_path):
    theirs = cli.ok("create", data, "--yes", "-d", "--json").json["provider_job_id"]
    runs = tmp_path / "home" / "fake"
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    runs.rename(tmp_path / "other" / "fake")
    ran = cli.ok("adopt", "fake", theirs)
    assert "its cost is not known" in ran.err
    job = cli.ok("list", "--json").json["jobs"][0]["id"]
    assert "unknown cost" in cli.ok("costs").out
    assert "unknown" not in cli.ok("costs", "--settle", job, "--usd", "0.75").out


@pytest.mark.parametrize(
    "command", [["list"], ["show"], ["logs"], ["events"], ["costs"], ["cancel", "JOB"]]
)
def test_the_next_command_stops_a_job_at_its_cap(cli, data, monkeypatch, command):
    """A job billed by the hour that started three hours ago and has a cap of two is cancelled."""

    class Hourly(FakeBackend):
        capabilities = replace(FakeBackend.capabilities, price="catalogue")

        def estimate(self, spec, train=None):
            return Cost(basis="estimated", low=Decimal(1), high=Decimal(1), source="a test")

        def training_usd_per_hour(self, spec):
            return Decimal(10)

        def get(self, provider_job_id):
            began = self.clock.now() - dt.timedelta(hours=3)
            return super().get(provider_job_id).model_copy(update={"started_at": began})

    monkeypatch.setattr("ftsdk.session.load_backend", lambda _: Hourly)
    runs = ("--set", 'timeline=[["running", 0]]')
    job = cli.ok("create", data, "--yes", "-d", "--json", "--max-cost", "20", *runs).json["id"]
    monkeypatch.setenv("FTSDK_FORBID_SPENDING", "1")
    ran = cli.ok(*(job if word == "JOB" else word for word in command))
    assert "has cost about $30.00 and its cap is $20.00: cancelled" in ran.err
    assert cli.ok("list", "--json").json["jobs"][0]["status"] == "cancelled"
