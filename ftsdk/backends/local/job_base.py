"""What a job starts from: its base model, the tokenizer, and the adapter that it continues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ftsdk.backends.local.adapter_names import beside_of, variant_of
from ftsdk.backends.local.fault import Fault
from ftsdk.backends.local.models.chat_templates import lost_tokens
from ftsdk.backends.local.models.hub import fetch_config, is_hub_id
from ftsdk.backends.local.models.pull import facts_cache
from ftsdk.backends.local.models.resolve import (
    ResolvedModel,
    is_pulled,
    local_folder,
    resolve_model,
)
from ftsdk.backends.local.models.tokenizer_files import TokenIds, changed_tokenizer, token_ids
from ftsdk.backends.local.options import LocalOptions
from ftsdk.backends.local.parent import Parent
from ftsdk.backends.local.runs.run_spec import ParentRef
from ftsdk.backends.local.trainability import Trainability, trainability
from ftsdk.errors import AuthError, MissingExtra, Unavailable, UnknownModel, Unsupported
from ftsdk.types.spec import JobSpec
from ftsdk.util.files import sha256_file


@dataclass(frozen=True)
class JobBase:
    """The starting point of one job in one home."""

    spec: JobSpec
    options: LocalOptions
    home: Path

    def resolve(self) -> ResolvedModel:
        """The base model, pulled first where the job allows it. Raises what `resolve_model` raises."""
        return resolve_model(self.spec.model, home=self.home, allow_pull=self.options.pull)

    @property
    def is_here(self) -> bool:
        """Whether the base model is on this machine."""
        return is_pulled(self.spec.model, home=self.home)

    def faults(self) -> Iterator[Fault]:
        """Why the job cannot be trained on its base model; without weights, where it can be pulled."""
        if self.is_here:
            found = self.trainability()
            yield from self._parent_faults()
        elif self.options.pull and is_hub_id(self.spec.model):
            found = self._trainability_on_hub()
        else:
            return
        for what, hint in found.faults:
            yield Fault(f"{self.spec.model}: {what}", hint)

    def trainability(self) -> Trainability:
        """Whether the model that is here can be trained; nothing is known of one that is not."""
        folder = local_folder(self.spec.model, self.home)
        if folder is None:  # `resolve` says how to get it
            return Trainability(())
        cache, tokens = facts_cache(self.home), self.token_ids(folder)
        return trainability(folder, self.spec.adapter, cache=cache, tokens=tokens)

    def _trainability_on_hub(self) -> Trainability:
        """What the config of a model that is not here yet says; nothing where it cannot be read."""
        cache = facts_cache(self.home)
        try:
            folder = fetch_config(self.spec.model, cache / "configs")
        except (Unavailable, MissingExtra, AuthError, UnknownModel, Unsupported):
            return Trainability(())  # the pull itself reports it
        if folder is None:
            return Trainability(())
        return trainability(folder, self.spec.adapter, cache=cache, config_only=True)

    # --- its tokenizer ---

    def tokenizer(self, folder: Path) -> Path:
        """The folder of the job's tokenizer: that of its base model, or a changed copy."""
        return changed_tokenizer(
            folder,
            facts_cache(self.home) / "tokenizers",
            template=self.options.chat_template,
            add_tokens=self.options.add_tokens,
        )

    def token_ids(self, folder: Path) -> TokenIds:
        """The tokens whose embedding the job trains. Raises `Unsupported` for unknown ones."""
        adapter = self.spec.adapter
        trained = () if adapter is None else adapter.trainable_token_indices
        where = f"backend local, the tokenizer of {self.spec.model}"
        return token_ids(self.tokenizer(folder), trained, self.options.add_tokens, where=where)

    # --- the adapter that it continues ---

    def parent(self) -> Parent | None:
        """The adapter that the job continues. Raises `Unsupported` where there is none."""
        asked = self.options.init_adapter
        return None if asked is None else Parent.find(asked, self.home / "runs")

    def parent_ref(self) -> ParentRef | None:
        """What the run directory keeps about it."""
        parent = self.parent()
        if parent is None:
            return None
        return ParentRef(job_id=parent.job_id, sha256=sha256_file(parent.weights))

    def _parent_faults(self) -> Iterator[Fault]:
        parent = self.parent()
        if parent is not None:
            tokens = self.options.add_tokens
            yield from parent.faults(self.spec.adapter, self.resolve().sha256, tokens)

    # --- for the plan ---

    def notes(self, folder: Path, adapted: str | None) -> Iterator[str]:
        """What is trained, one line each; `adapted` is what the adapter is put on."""
        parent, adapter = self.parent(), self.spec.adapter
        if parent is not None:
            yield f"continues the adapter of {parent.name}"
        if adapted is not None and adapter is not None:
            rows = self.token_ids(folder)
            beside = beside_of(adapter, len({*rows.known, *rows.new}))
            yield f"{variant_of(adapter)} of rank {adapter.rank} on {adapted}{beside}"

    def warnings(self, folder: Path) -> Iterator[str]:
        """What may not be meant: tokens of the chat template that the tokenizer spells in pieces."""
        if self.options.chat_template is not None:
            lost = lost_tokens(self.options.chat_template, self.tokenizer(folder))
            if lost:
                yield (
                    f"the chat template writes {', '.join(lost)}, which the tokenizer spells in "
                    f"pieces; add_tokens={list(lost)!r} makes each one token"
                )
