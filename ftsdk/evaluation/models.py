"""The model that is asked, by handle, job id or name, and the files that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftsdk.backends.base import Backend
from ftsdk.backends.registry import backend_names
from ftsdk.dataset import Dataset
from ftsdk.errors import BackendError, StoreError, UsageError
from ftsdk.evaluation.answers import Source
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.kept_rows import kept_dataset
from ftsdk.session import Session
from ftsdk.types.job import FileRole, JobSnapshot, RemoteJob
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.util.files import atomic_file, make_private_folder

_TUNED = "ft:"
_STEP = ":ckpt-step-"
_JOB = "ftj_"


@dataclass(frozen=True)
class Model:
    """A model that can be asked: its handle, the backend that asks it, and the job that made it.

    With `is_base` it is the untuned model of the handle that is asked.
    """

    handle: ModelHandle
    backend: Backend
    job: JobSnapshot | None = None
    is_base: bool = False

    @property
    def name(self) -> str:
        """The name of the model that answers."""
        return self.handle.base_model if self.is_base else self.handle.id

    @property
    def is_tuned(self) -> bool:
        """Whether it is known to be a fine-tune."""
        return self.job is not None or self.handle.id != self.handle.base_model

    @property
    def source(self) -> Source:
        """What distinguishes the answers of this model."""
        return Source(
            provider=self.backend.name,
            model=self.name,
            account=self.backend.account(),
            base_url=self.backend.base_url,
            revision=self.handle.base_revision,
            template=self.handle.chat_template_sha256,
        )

    def base(self) -> Model | None:
        """Return the untuned model that it was tuned from; None where it cannot be asked."""
        base = self.handle.base_model
        able = self.backend.implements("chat_base")
        if not self.is_tuned or base in ("", "unknown") or not able:
            return None
        if self.backend.capabilities.price == "free":  # on this machine it has no name of its own
            return Model(self.handle, self.backend, self.job, is_base=True)
        if self.handle.kind is not ModelKind.HOSTED:
            return None
        return Model(named_handle(self.backend, base, base), self.backend)


def model_of(session: Session, model: str | ModelHandle, provider: str | None = None) -> Model:
    """Return the model that `model` names: a handle, a job of the journal, or a name at a provider.

    Without `provider`, a name that starts with `ft:` is OpenAI's. Raises `UsageError` for another
    name without a provider, `UnknownJob` for a job that the journal does not have, and what
    `FineTuneJob.result` raises.
    """
    if isinstance(model, ModelHandle):
        job = None if model.job_id is None else session.journal.get(model.job_id)
        backend = session.backend(model.provider) if job is None else session.backend_for(job)
        return Model(model, backend, job)
    if model.startswith(_JOB):
        made = FineTuneJob(session, session.journal.get(model))
        handle = made.result()
        return Model(handle, session.backend_for(made.snapshot), made.snapshot)
    if provider is None and model.startswith(_TUNED):
        provider = "openai"
    if provider is None:
        raise UsageError(
            f"{model[:80]!r} is no job here, and its provider is not given",
            where="the model to ask; nothing was sent",
            hint="`ftsdk list` shows the jobs; for a provider's own model add --provider NAME (provider=)",
        )
    backend = session.backend(provider)
    return Model(named_handle(backend, model, _base_of(backend, model)), backend)


def place_of(name: str) -> tuple[str, str]:
    """Return the provider and the model of `PROVIDER:MODEL`; no provider for any other name."""
    provider, _, model = name.partition(":")
    return (provider, model) if model and provider in backend_names() else ("", name)


def named_handle(backend: Backend, name: str, base: str) -> ModelHandle:
    """Return the handle of a hosted model that is called by its name."""
    return ModelHandle(
        kind=ModelKind.HOSTED, provider=backend.name, id=name, base_model=base, callable_now=False
    ).bound_to(backend)


def _base_of(backend: Backend, model: str) -> str:
    if backend.capabilities.lists_models:
        found = backend.account_models()
        for name in (model, model.partition(_STEP)[0]):
            if found.get(name):
                return str(found[name])
    return model.split(":")[1] if model.startswith(_TUNED) and ":" in model[3:] else model


# --- what it was trained on ---


@dataclass(frozen=True)
class TrainingFiles:
    """The files that a model was trained and validated on, and why one could not be read."""

    training: tuple[tuple[str, Dataset], ...] = ()
    validation: tuple[tuple[str, Dataset], ...] = ()
    not_read: tuple[str, ...] = ()


def training_files_of(session: Session, model: Model, cache: Path) -> TrainingFiles:
    """Return the files of the job that made the model: from this machine, or from its provider.

    What the provider has is fetched into the folder `cache`, once.
    """
    if model.job is not None and model.job.dataset.get("kept"):
        return _kept_here(session, model.job)
    if not model.is_tuned:
        return TrainingFiles()
    backend = model.backend
    if not backend.capabilities.can_read_files:
        return TrainingFiles(not_read=(f"{backend.name} does not let files be read",))
    try:
        job = _job_of(model)
    except BackendError as error:
        return TrainingFiles(not_read=(error.what,))
    if job is None:
        return TrainingFiles(not_read=("no job of the account has this model as its result",))
    return _fetched(backend, job, cache)


def _kept_here(session: Session, job: JobSnapshot) -> TrainingFiles:
    found: dict[str, tuple[tuple[str, Dataset], ...]] = {"kept": (), "validation_kept": ()}
    not_read = []
    for name in found:
        kept = job.dataset.get(name)
        if not kept:
            continue
        try:
            found[name] = ((str(kept), kept_dataset(session.home, job, str(kept))),)
        except StoreError as error:
            not_read.append(error.what)
    return TrainingFiles(found["kept"], found["validation_kept"], tuple(not_read))


def _job_of(model: Model) -> RemoteJob | None:
    if model.job is not None and model.job.provider_job_id is not None:
        return model.backend.get(model.job.provider_job_id)
    wanted = model.handle.id.partition(_STEP)[0]
    return next((job for job in model.backend.list() if job.result_model == wanted), None)


def _fetched(backend: Backend, job: RemoteJob, cache: Path) -> TrainingFiles:
    found: dict[FileRole, list[tuple[str, Dataset]]] = {"training": [], "validation": []}
    not_read = []
    for file_id, role in backend.job_files(job).items():
        if role not in found:
            continue
        try:
            path = fetch_file(backend, file_id, cache)
        except (BackendError, StoreError) as error:
            not_read.append(f"{role} file {file_id}: {error.what}")
            continue
        found[role].append((file_id, Dataset.load(path)))
    return TrainingFiles(tuple(found["training"]), tuple(found["validation"]), tuple(not_read))


def fetch_file(backend: Backend, file_id: str, folder: Path) -> Path:
    """Fetch a file of the account into `folder`, once, and return its path.

    Raises the errors of `Backend.read_file`, and `StoreError` where it cannot be written.
    """
    if not file_id.replace("-", "").replace("_", "").isalnum():
        raise StoreError(
            "The provider uses an id that cannot be the name of a file", where=repr(file_id[:60])
        )
    path = make_private_folder(folder) / f"{file_id}.jsonl"
    if not path.is_file():
        with atomic_file(path) as handle:
            handle.writelines(backend.read_file(file_id))
    return path
