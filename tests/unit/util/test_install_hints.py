"""A missing dependency is answered with a command that exists, for our backends and for others'."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import distribution

import pytest
from typer.testing import CliRunner

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import HostedTransport, Service
from ftsdk.backends.registry import backend_names, install_hint, load_backend
from ftsdk.cli.app import app
from ftsdk.errors import MissingExtra
from ftsdk.util.install_hints import install_command

METADATA = """Metadata-Version: 2.1
Name: acme-ftsdk
Version: 1.0
Requires-Dist: ftsdk
Requires-Dist: Acme.SDK>=2
Requires-Dist: acme-fast>=1; extra == "fast"
Requires-Dist: acme-files[x]; python_version > "3" and extra == 'files'
Requires-Dist: acme-files; extra == "acme"
Provides-Extra: fast
Provides-Extra: files
Provides-Extra: acme
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package with a backend whose module needs what the test says."""
    info = tmp_path / "acme_ftsdk-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("[ftsdk.backends]\nacme = acme_backend_module:Backend\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("acme_sdk", "acme", "pip install acme-ftsdk"),
        ("acme_fast.inner", "acme", "pip install 'acme-ftsdk[fast]'"),
        ("acme_files", "acme", "pip install 'acme-ftsdk[acme]'"),
        ("acme_files", "nope", "pip install 'acme-ftsdk[files]'"),
        ("another_module", "nope", "pip install another_module"),
        ("another_module", "acme", "pip install 'acme-ftsdk[acme]'"),
        (None, "", "pip install acme-ftsdk"),
    ],
)
def test_the_command_names_only_what_the_package_declares(package, module, extra, command):
    assert install_command("acme-ftsdk", module, extra=extra) == command


def test_without_a_package_the_module_is_named():
    assert install_command("never-installed-package", "thing.inner") == "pip install thing"


def test_a_third_party_backend_names_its_own_package(package):
    (package / "acme_backend_module.py").write_text("import acme_fast\n")
    with pytest.raises(MissingExtra) as caught:
        load_backend("acme")
    assert caught.value.hint == "pip install 'acme-ftsdk[fast]'"


def test_a_third_party_transport_names_no_extra_of_ours(tmp_path):
    class Transport(HostedTransport):
        def _new_client(self, key, timeout_s, connect_s):
            raise ModuleNotFoundError("No module named 'acme_sdk'", name="acme_sdk")

    service = Service(
        name="acme", title="Acme", keys=("ACME_KEY",), url_variables=("ACME_URL",),
        url="https://acme.test", extra="acme",
    )  # fmt: skip
    context = Context(home=tmp_path, env={"ACME_KEY": "key-0123456789"})
    with pytest.raises(MissingExtra) as caught:
        Transport(context, service).client()
    assert caught.value.hint == "pip install acme_sdk"


@pytest.mark.parametrize("name", backend_names())
def test_our_backends_name_an_extra_that_exists(name):
    declared = distribution("ftsdk").metadata.get_all("Provides-Extra")
    able = load_backend(name).capabilities
    assert able.extra is None or able.extra in declared
    for module in able.packages:
        command = install_command("ftsdk", module, extra=name)
        for extra in re.findall(r"\[(.+)\]", command):
            assert extra in declared
    if able.extra and able.packages:
        command = install_command("ftsdk", able.packages[0], extra=name)
        assert command == f"pip install 'ftsdk[{able.extra}]'"


BACKEND = """
from dataclasses import replace
from ftsdk.backends.fake import FakeBackend
class Backend(FakeBackend):
    name = "acme"
    capabilities = replace(
        FakeBackend.capabilities, extra={extra!r}, packages=({package!r},), note="acme"
    )
"""


@pytest.mark.parametrize(
    ("extra", "needed", "command"),
    [
        ("fast", "acme-fast", "pip install 'acme-ftsdk[fast]'"),
        ("together", "acme-fast", "pip install 'acme-ftsdk[fast]'"),
        ("together", "another", "pip install another"),
        ("sdk", "acme_sdk", "pip install acme-ftsdk"),
    ],
)
def test_doctor_and_backends_name_an_extra_of_the_package_that_has_the_backend(
    package, monkeypatch, capsys, extra, needed, command
):
    (package / "acme_backend_module.py").write_text(BACKEND.format(extra=extra, package=needed))
    monkeypatch.delitem(sys.modules, "acme_backend_module", raising=False)
    assert install_hint("acme") == command
    runner = CliRunner()
    shown = runner.invoke(app, ["backends", "acme"]).stdout
    assert command in shown
    assert "ftsdk[together]" not in shown
    checks = json.loads(runner.invoke(app, ["doctor", "--json"]).stdout)["checks"]
    hints = {check["hint"] for check in checks if check["name"] == f"extra {extra}"}
    assert command in hints


def test_our_own_backends_name_our_extras():
    for name in backend_names():
        extra = load_backend(name).capabilities.extra
        assert install_hint(name) == (f"pip install 'ftsdk[{extra}]'" if extra else "")
