"""The trainer: `python -m ftsdk.backends.local.training.train RUN_DIR`. Read it from top to bottom.

Settings, data, model, loop, result. It knows the run directory and nothing of the application that
created it. Everything that decides a number is a function of the spec: the order of rows, dropout,
the schedule. So a run that was killed and resumed ends in the same bits as one that was not (on the
same processor, with the same versions).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.backends.local.adapter_names import beside_of, variant_of
from ftsdk.backends.local.compute.hardware import Hardware, choose_hardware
from ftsdk.backends.local.models.row_paths import auxiliary_loss_note
from ftsdk.backends.local.models.tokenizer_files import changed_tokenizer, token_ids
from ftsdk.backends.local.runs.crash_report import HINT_DISK
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED, ended, write_outcome
from ftsdk.backends.local.runs.run_dir import PARENT_FILE, RunDir
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.backends.local.training.checkpoint import Checkpoints, TrainState, read_weights
from ftsdk.backends.local.training.compiling import with_pieces
from ftsdk.backends.local.training.encode_rows import fast_tokenizer_folder
from ftsdk.backends.local.training.export import (
    result_facts,
    save_config,
    save_result,
    versions,
    weights_file,
)
from ftsdk.backends.local.training.footprint.settle import keep_tokens, settle
from ftsdk.backends.local.training.loop import (
    Loop,
    evaluation_is_due,
    token_budget,
)
from ftsdk.backends.local.training.model import LoadedModel, load_for_training
from ftsdk.backends.local.training.noise import add_noise
from ftsdk.backends.local.training.objectives.choose import objective_of
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Untrained
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.outcome import Failed, Stopped, failure, totals
from ftsdk.backends.local.training.pace import CheckpointPace
from ftsdk.backends.local.training.reporting import Reporting
from ftsdk.backends.local.training.samples import Samples
from ftsdk.backends.local.training.selection import Selection
from ftsdk.backends.local.training.stop import StopRequests
from ftsdk.backends.local.training.verify import verify_save
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.util.files import sha256_file


def train(run: RunDir, events: EventWriter, state: TrainState) -> dict[str, Any]:
    """Train the run and return its outcome.

    `state` is kept current for the caller. Raises `Stopped`, `Failed`, or what a library raises.
    """
    import torch

    stop = StopRequests(run.path)
    stop.check()
    events.write("status", status="validating", message="Reading the data.")

    # settings
    spec = run.spec
    hyperparameters, options = spec.hyperparameters, spec.options

    # data
    tokenizer_folder = changed_tokenizer(
        fast_tokenizer_folder(spec.base_model.path, run.path / "tokenizer"),
        run.path / "tokenizers",
        template=options.chat_template,
        add_tokens=options.add_tokens,
    )
    trained = () if spec.adapter is None else spec.adapter.trainable_token_indices
    tokens = token_ids(tokenizer_folder, trained, options.add_tokens, where=str(run.path))
    tokenizer = ChatTokenizer.from_folder(tokenizer_folder, now=spec.created_at)
    objective = objective_of(spec)
    train_rows = objective.encode(run.path / spec.train, tokenizer)
    validation_rows = None
    if spec.validation:
        validation_rows = objective.encode(run.path / spec.validation, tokenizer)
    stop.check()

    # model
    hardware = choose_hardware(options.device, options.dtype, options.threads)
    events.write("log", message=f"Training on {hardware.why}.", device=str(hardware.device))
    events.write("status", status="validating", message="Loading the model.")
    torch.manual_seed(spec.seed)
    all_rows = [*train_rows, *(validation_rows or ())]
    longest = objective.batch_size(all_rows, MicroBatchLimits(1, 1)).tokens
    settled = settle(run.path, spec, hardware, longest)
    if (decided := settled.events()) is not None:
        events.write("log", **decided)
    options = settled.options
    spec = spec.model_copy(update={"options": options})
    limits = MicroBatchLimits(hyperparameters.batch_size, token_budget(options, hardware))
    batch = objective.batch_size(all_rows, limits)
    model = load_for_training(spec, hardware, batch, tokens)
    if options.neftune_alpha is not None:
        add_noise(model.network, options.neftune_alpha)
    optimizer = FlatAdamW(model.owner.named_parameters(), weight_decay=hyperparameters.weight_decay)
    if spec.parent is not None:
        begin_with_parent(run, spec, optimizer)
        whose = spec.parent.job_id or "from elsewhere"
        events.write("log", message=f"Begins with the weights of the adapter {whose}.")
    events.write("log", message=describe(model, spec), **model.facts())
    if not model.path.flat:
        events.write("warning", message=str(model.path))
    other_loss = auxiliary_loss_note(model.network.config.to_dict())
    if other_loss is not None:
        events.write("warning", message=f"{other_loss[0].upper()}{other_loss[1:]}.")
    order = RowOrder.of(len(train_rows), hyperparameters, spec.seed)
    require_disk_space(run, optimizer, model, spec)
    require_validation(spec)
    require_savable(run, model, spec)
    lengths = [len(row) for row in train_rows]
    model = with_pieces(run, model, order, lengths, hardware, events)

    # what the untrained model says
    size = hyperparameters.batch_size if model.path.flat else 1
    limits = MicroBatchLimits(size, token_budget(options, hardware))

    def prepare(name: str, rows: list[Any]) -> list[Any]:
        def log(message: str) -> None:
            events.write("log", message=message)

        return objective.prepare(rows, Untrained(run.path / name, model, limits, stop.check, log))

    train_rows = prepare(spec.train, train_rows)
    if validation_rows is not None and spec.validation:
        validation_rows = prepare(spec.validation, validation_rows)

    # where to begin
    checkpoints = Checkpoints(
        run.path / "checkpoints", identity_of(run, spec), options.keep_checkpoints
    )
    resume(checkpoints, optimizer, state, events, hardware)

    # loop
    def keep_fewer(tokens: int) -> None:
        keep_tokens(run.path, options, tokens)

    loop = Loop(objective, model, optimizer, hardware, order, spec, events, state, stop, keep_fewer)
    selection = Selection(options, state, events)
    samples = Samples(options, model, tokenizer, events, stop)
    pace = CheckpointPace(options, order, size_bytes=12 * optimizer.master.numel())
    saved_step = state.step

    def save_checkpoint() -> None:
        nonlocal saved_step
        if state.step == 0:
            return
        with pace.saving():
            path = checkpoints.save(
                state,
                optimizer,
                lambda folder: save_config(model, spec, folder),
                weights_file(spec),
                checkpoint_facts(state, order, spec, hardware),
                keep_best=selection.keeps_best,
            )
        if state.step != saved_step:
            events.write("checkpoint", step=state.step, path=str(path.relative_to(run.path)))
        saved_step = state.step
        events.sync()

    def evaluate_if_due() -> None:
        due = evaluation_is_due(state.step, order, options) and state.evaluated_step != state.step
        if validation_rows is not None and due:
            loop.evaluate(validation_rows)
            if selection.compare():
                save_checkpoint()

    stop.handle_sigterm()
    cpu_before = time.process_time()
    events.write("status", status="running", message="Training.")
    try:
        stop.check()
        evaluate_if_due()
        if state.step == 0:
            samples.take_if_due(0, order)
        for step, indices in order.steps_from(state.step):
            if selection.ends:
                break
            loop.step(step, [train_rows[i] for i in indices])
            evaluate_if_due()
            samples.take_if_due(step, order)
            if pace.is_due(step):
                save_checkpoint()
            stop.check()
    except Stopped:
        # An unfinished step is dropped; it has not changed the weights.
        save_checkpoint()
        raise

    # result
    events.write("status", status="finalizing", message="Writing the result.")
    if selection.result_step != state.step:
        checkpoints.load_weights(selection.result_step, optimizer)
    facts = {**result_facts(spec, tokenizer, model, state, order, hardware), **selection.facts()}
    save_result(run.result_path, model, optimizer, spec, tokenizer_folder, facts)
    steps = "1 step" if state.step == 1 else f"{state.step} steps"
    message = f"Trained {steps} on {state.trained_tokens:,} tokens.{selection.describe()}"
    cpu_s = round(time.process_time() - cpu_before, 3)
    known = {"loop_cpu_s": cpu_s, **selection.facts(), **totals(state)}
    return ended("succeeded", message, exit_code=0, **known)


# --- the steps of `train` ---------------------------------------------------------------------


def describe(model: LoadedModel, spec: RunSpec) -> str:
    """One line about what is trained."""
    size = model.size
    share = f"{size.trainable_parameters:,} of {size.parameters:,} weights"
    if spec.adapter is None:
        return f"Full fine-tuning: {share}."
    kind = variant_of(spec.adapter)
    if kind == "QLoRA":
        kind = "QLoRA on an NF4 base"
    parts = model.adapted["summary"] if model.adapted else "no part"
    beside = beside_of(spec.adapter, model.token_rows)
    return f"{kind}, rank {spec.adapter.rank}, on {parts}{beside}: {share}."


def begin_with_parent(run: RunDir, spec: RunSpec, optimizer: FlatAdamW) -> None:
    """Load the weights of the adapter that the run continues.

    Raises `Failed` for a file that was changed, and for other weights than the run's own.
    """
    path = run.path / PARENT_FILE
    if spec.parent is None or sha256_file(path) != spec.parent.sha256:
        raise Failed(f"{PARENT_FILE} was changed.", "adapter_mismatch", "create the job again")
    try:
        optimizer.load_weights(read_weights(path, optimizer))
    except (KeyError, RuntimeError) as error:
        raise Failed(
            f"The adapter that is continued has other weights: {error}.",
            "adapter_mismatch",
            "give the adapter the settings of the one that it continues",
        ) from error


def require_disk_space(
    run: RunDir, optimizer: FlatAdamW, model: LoadedModel, spec: RunSpec
) -> None:
    """Raise `Failed` when the disk has no room for the checkpoints and the result."""
    weights = optimizer.master.numel()
    result = 4 * (weights if spec.adapter else model.size.parameters)
    kept = 3 if spec.options.keeps_best else 2
    needed = kept * weights * 12 + result + (16 << 20)
    free = shutil.disk_usage(run.path).free
    if free < needed:
        message = (
            f"The disk has {free / 1e9:.2f} GB free; {kept} checkpoints and the result "
            f"need {needed / 1e9:.2f} GB."
        )
        raise Failed(message, "disk_full", HINT_DISK)


def require_validation(spec: RunSpec) -> None:
    """Raise `Failed` when the run would compare evaluations and has no rows to evaluate on."""
    if spec.options.needs_validation and spec.validation is None:
        raise Failed(
            "Without validation rows there is no best checkpoint and no early stopping.",
            "unsupported",
            "give validation rows, or leave keep_best and early_stopping_patience out",
        )


def require_savable(run: RunDir, model: LoadedModel, spec: RunSpec) -> None:
    """Raise `Failed` when an adapter saved now would not be loaded as the one that is trained."""
    if spec.adapter is not None:
        with tempfile.TemporaryDirectory(dir=run.path, prefix=".rehearsal-") as folder:
            save_config(model, spec, Path(folder))
            verify_save(model, Path(folder))


def identity_of(run: RunDir, spec: RunSpec) -> dict[str, str]:
    """The digests that a checkpoint must have to belong to this run: of its spec and its rows."""
    names = {"spec": "spec.json", "train": spec.train}
    return {key: sha256_file(run.path / name) for key, name in names.items()}


def resume(
    checkpoints: Checkpoints,
    optimizer: FlatAdamW,
    state: TrainState,
    events: EventWriter,
    hardware: Hardware,
) -> None:
    """Load the newest sound checkpoint, if there is one, and report those that are skipped."""
    folder, manifest, skipped = checkpoints.find()
    for reason in skipped:
        events.write("warning", message=f"Skipped a checkpoint that is not sound: {reason}.")
    if folder is None:
        if skipped:
            events.write("warning", message="No sound checkpoint is left; starting again.")
        return
    state.restore(checkpoints.load(folder, manifest, optimizer))
    events.write("log", message=f"Resumed from step {state.step}.", step=state.step)
    before = {**manifest["versions"], "threads": manifest["threads"]}
    now = {**versions(), "threads": hardware.threads}
    different = sorted(name for name in now if now[name] != before.get(name))
    if different:
        what = ", ".join(f"{name} {before.get(name)} → {now[name]}" for name in different)
        events.write("warning", message=f"Since the checkpoint {what}; the bits may differ.")


def checkpoint_facts(
    state: TrainState, order: RowOrder, spec: RunSpec, hardware: Hardware
) -> Mapping[str, Any]:
    """What the manifest of a checkpoint records besides its files."""
    return {
        "epoch": order.epoch_at(state.step),
        "data_position": {
            "epoch": state.step // order.steps_per_epoch,
            "row": (state.step % order.steps_per_epoch) * order.rows_per_step,
        },
        "rng": {"seed": spec.seed, "rule": "each step seeds from seed and step"},
        "versions": versions(),
        "threads": hardware.threads,
    }


# --- the process ------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Train the run directory named on the command line; returns the exit status."""
    run = RunDir(Path(argv[0]))
    events = EventWriter(run.path / "events.jsonl")
    reporting = Reporting(lambda: run.spec, run.path, events)
    outcome = attempt(run, events)
    reporting.close("interrupted" if outcome is None else outcome["outcome"])
    if outcome is None:
        return EXIT_INTERRUPTED
    write_outcome(run.path, outcome)
    return 1 if outcome["outcome"] == "failed" else 0


def attempt(run: RunDir, events: EventWriter) -> dict[str, Any] | None:
    """Train, and return the outcome, whatever happens; None for a run that was interrupted."""
    state = TrainState()
    try:
        return train(run, events, state)
    except Stopped as stopped:
        if not stopped.cancelled:
            return None
        message = f"Cancelled after step {state.step}; a checkpoint of it is kept."
        if state.step == 0:
            message = "Cancelled before the first step."
        return ended("cancelled", message, exit_code=0, **totals(state))
    except Exception as error:  # noqa: BLE001  # the process ends here, with an outcome
        traceback.print_exc()
        message, record = failure(error)
        facts = {"error": record, "exit_code": 1, "log_tail": run.log_tail(40), **totals(state)}
        return ended("failed", message, **facts)


def run_process() -> None:
    """Train and end this process at once.

    The outcome is on disk. Freeing gigabytes of tensors and thread pools one by one would take
    time, and a crash there would look like one of the training.
    """
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run_process()
