"""What runs before a command that acts on jobs: overdue deployments end, jobs at their cap stop.

The client is imported only where something may cost money, so that other commands start quickly.
"""

from __future__ import annotations

from collections.abc import Iterable

from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import note
from ftsdk.config import default_home
from ftsdk.errors import FtsdkError
from ftsdk.store.journal import Journal, has_journal
from ftsdk.store.open_costs import profiles_with_costs

_URGENT = ("not_ended", "stopped", "near_cap")


def enforce_limits() -> None:
    """End overdue deployments, stop jobs at their spending cap, and print what costs money now.

    Each profile is checked with its own configuration, which has the base URL it was used with.
    """
    try:
        if not has_journal(default_home()):
            return
        profiles = profiles_with_costs(Journal(default_home()))
    except FtsdkError:
        return  # the command itself opens the same journal, and reports what is wrong with it
    if profiles:
        _enforce(profiles)


def _enforce(profiles: Iterable[str | None]) -> None:
    from ftsdk.cli.context import open_client
    from ftsdk.jobs.spending_guard import enforce

    notices = []
    for profile in profiles:
        try:
            notices += enforce(open_client(profile).session, own_profile=True)
        except FtsdkError as error:
            _report_unchecked(profile, error)
    for notice in notices:
        urgent = notice.kind in _URGENT
        colour, weight = ("red", "bold") if urgent else ("yellow", "")
        note(("! ", colour), (clean(notice.text), weight))


def _report_unchecked(profile: str | None, error: FtsdkError) -> None:
    if profile is None:
        whose, hint = "Running jobs and deployments", ""
    else:
        whose = f"Running jobs and deployments of profile {profile}"
        hint = "; run `ftsdk deployments` in the folder of its ftsdk.toml"
    what = clean(error.what)
    note(("! ", "red"), f"{whose} could not be checked and may cost money: {what}{hint}")
