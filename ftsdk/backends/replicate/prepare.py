"""What precedes a training and spends nothing: its version and its destination."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ftsdk.backends.replicate.trainer import Options
from ftsdk.backends.replicate.transport import Transport
from ftsdk.errors import NotFound, UnknownModel, Unsupported
from ftsdk.types.spec import JobSpec

MODEL = re.compile(
    r"^([A-Za-z0-9][\w.-]{0,99})/([A-Za-z0-9][\w.-]{0,99})(?::([0-9A-Za-z]{6,128}))?$"
)


class Preparation:
    """The calls before a create, for one account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def version(self, spec: JobSpec) -> tuple[str, str, str]:
        """Return owner, name and version of the trainer; the latest version where none is given."""
        found = MODEL.match(spec.model)
        if found is None:  # `check` refuses it already
            raise UnknownModel(f"{spec.model!r} is not owner/name:version", submitted="no")
        owner, name, version = found.groups()
        if version is not None:
            return owner, name, version
        try:
            model = self._transport.get(f"/v1/models/{owner}/{name}")
        except NotFound as error:
            raise UnknownModel(
                f"Replicate has no model {owner}/{name}",
                where=f"Replicate, GET /v1/models/{owner}/{name}; {error.what}",
                hint="check the name; a private model needs its owner's key",
                submitted="no",
            ) from error
        latest = model.get("latest_version")
        identity = latest.get("id") if isinstance(latest, Mapping) else None
        if not isinstance(identity, str) or not re.fullmatch(r"[0-9A-Za-z]{6,128}", identity):
            raise UnknownModel(
                f"{owner}/{name} has no version that could be trained",
                where="Replicate",
                hint="name one: owner/name:version",
                submitted="no",
            )
        return owner, name, identity

    def destination(self, asked: Options) -> None:
        """Check that the destination model exists; create it only with `create_destination`."""
        try:
            self._transport.get(f"/v1/models/{asked.destination}")
        except NotFound as error:
            if not asked.create_destination:
                raise Unsupported(
                    f"The destination {asked.destination} does not exist",
                    where="provider_options.destination",
                    hint="create the model at Replicate, or let ftsdk create it, private: "
                    "--set create_destination=true "
                    "(in Python provider_options={…, 'create_destination': True})",
                    submitted="no",
                ) from error
            owner, _, name = str(asked.destination).partition("/")
            hardware = asked.hardware or "cpu"
            self._transport.post(
                "/v1/models",
                {"owner": owner, "name": name, "visibility": "private", "hardware": hardware},
            )
