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
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftsdk.backends.local.adapter_names import beside_of, variant_of
from ftsdk.backends.local.compute.hardware import Hardware, choose_hardware
from ftsdk.backends.local.device_options import device_faults
from ftsdk.backends.local.models.row_paths import auxiliary_loss_note
from ftsdk.backends.local.models.tokenizer_files import changed_tokenizer, token_ids
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.crash_report import HINT_DISK
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.outcome import (
    EXIT_INTERRUPTED,
    OUTCOME_FILE,
    ended,
    write_outcome,
)
from ftsdk.backends.local.runs.ranks import EXIT_AGAIN, EXIT_PEER_LOST
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
from ftsdk.backends.local.training.footprint.settle import asked_of_run, keep_tokens, settle
from ftsdk.backends.local.training.group import (
    SINGLE,
    Group,
    PeerLost,
    divided_by,
    events_of,
    rank_0_first,
)
from ftsdk.backends.local.training.group_checkpoints import checkpoints_of, require_equal
from ftsdk.backends.local.training.load_on_group import load_on_group
from ftsdk.backends.local.training.loop import (
    Loop,
    evaluation_is_due,
    token_budget,
)
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.choose import objective_of
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Untrained
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.outcome import (
    Failed,
    StartAgain,
    Stopped,
    failure,
    totals,
)
from ftsdk.backends.local.training.pace import CheckpointPace
from ftsdk.backends.local.training.process_group import group_of, is_peer_lost, own_device
from ftsdk.backends.local.training.reporting import Reporting
from ftsdk.backends.local.training.rows_at_once import rows_at_once
from ftsdk.backends.local.training.samples import Samples
from ftsdk.backends.local.training.selection import Selection
from ftsdk.backends.local.training.stop import stop_requests
from ftsdk.backends.local.training.verify import verify_save
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.util.files import sha256_file


def train(
    run: RunDir, events: EventWriter, state: TrainState, group: Group = SINGLE
) -> dict[str, Any]:
    """Train the run and return its outcome; with a `group` as one of its ranks.

    `state` is kept current for the caller. Raises `Stopped`, `Failed`, or what a library raises.
    """
    import torch

    stop = stop_requests(run.path, group)
    stop.check()
    events.write("status", status="validating", message="Reading the data.")

    # settings
    spec = run.spec
    hyperparameters, options = spec.hyperparameters, spec.options

    # data
    with rank_0_first(group):
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
    device = own_device(options.device, group, os.environ)
    unchecked = unchecked_on_apple_gpu(spec, group)
    hardware = choose_hardware(device, options.dtype, options.threads, unchecked=unchecked)
    require_device(options, hardware)
    where = f"Training on {hardware.why}{divided_by(group, options.sharding)}."
    events.write("log", message=where, device=str(hardware.device))
    events.write("status", status="validating", message="Loading the model.")
    torch.manual_seed(spec.seed)
    all_rows = [*train_rows, *(validation_rows or ())]
    asked = asked_of_run(spec, objective, train_rows, validation_rows or (), tokens, group.size)
    with rank_0_first(group):
        settled = settle(run.path, spec, hardware, asked)
        at_once = rows_at_once(run)
    settled.report(events)
    options = settled.options
    spec = spec.model_copy(update={"options": options})
    limits = MicroBatchLimits(at_once.rows, token_budget(options, hardware))
    batch = replace(objective.batch_size(all_rows, limits), alone=at_once.alone)
    model, optimizer = load_on_group(spec, hardware, batch, tokens, group)
    if spec.parent is not None:
        begin_with_parent(run, spec, optimizer)
        whose = spec.parent.job_id or "from elsewhere"
        events.write("log", message=f"Begins with the weights of the adapter {whose}.")
    events.write("log", message=describe(model, spec), **model.facts())
    if not model.path.flat:
        kind = "log" if model.path.together else "warning"
        events.write(kind, message=str(model.path))
    other_loss = auxiliary_loss_note(model.network.config.to_dict())
    if other_loss is not None:
        events.write("warning", message=f"{other_loss[0].upper()}{other_loss[1:]}.")
    order = RowOrder.of(len(train_rows), hyperparameters, spec.seed)
    require_disk_space(run, optimizer, model, spec)
    require_validation(spec)
    require_savable(run, model, spec)
    sizes = [len(row) for row in train_rows]
    with rank_0_first(group):
        if not model.is_sharded:
            model = with_pieces(run, model, order, sizes, hardware, events)

    # what the untrained model says
    limits = limits.along(model.path)

    def prepare(name: str, rows: list[Any]) -> list[Any]:
        def log(message: str) -> None:
            events.write("log", message=message)

        untrained = Untrained(run.path / name, model, limits, stop.check, log, group)
        return objective.prepare(rows, untrained)

    train_rows = prepare(spec.train, train_rows)
    if validation_rows is not None and spec.validation:
        validation_rows = prepare(spec.validation, validation_rows)

    # where to begin
    checkpoints = checkpoints_of(
        run.path / "checkpoints", identity_of(run, spec), options.keep_checkpoints, group
    )
    resume(checkpoints, optimizer, state, events, hardware, group)
    require_equal(group, optimizer)

    # loop
    def keep_fewer(tokens: int) -> None:
        keep_tokens(run.path, options, tokens)

    loop = Loop(
        objective,
        model,
        optimizer,
        hardware,
        limits,
        order,
        spec,
        events,
        state,
        stop,
        keep_fewer,
        group,
    )
    selection = Selection(options, state, events)
    samples = Samples(options, model, tokenizer, events, stop, group)
    pace = CheckpointPace(options, order, size_bytes=optimizer.saved_bytes)
    saved_step = state.step

    def save_checkpoint() -> None:
        nonlocal saved_step
        if state.step == 0:
            return
        require_equal(group, optimizer)
        with pace.saving():
            path = checkpoints.save(
                state,
                optimizer,
                lambda folder: save_config(model, spec, folder),
                weights_file(spec),
                checkpoint_facts(state, order, spec, hardware, group),
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
            if group.broadcast(pace.is_due(step)):
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
    save_result(run.result_path, model, optimizer, spec, tokenizer_folder, facts, group)
    steps = "1 step" if state.step == 1 else f"{state.step} steps"
    message = f"Trained {steps} on {state.trained_tokens:,} tokens.{selection.describe()}"
    cpu_s = round(time.process_time() - cpu_before, 3)
    known = {"loop_cpu_s": cpu_s, **selection.facts(), **totals(state)}
    return ended("succeeded", message, exit_code=0, **known)


# --- the steps of `train` ---------------------------------------------------------------------


def unchecked_on_apple_gpu(spec: RunSpec, group: Group) -> str | None:
    """What the run needs and is not checked on an Apple GPU, or None."""
    if spec.needs_bitsandbytes:
        return "bitsandbytes"
    return "more than one process" if group.size > 1 else None


def require_device(options: RunOptions, hardware: Hardware) -> None:
    """Raise `Failed` when an option cannot be used on the device, or without a package."""
    faults = list(device_faults(options, hardware.device.type))
    if faults:
        message = "; ".join(fault.what for fault in faults)
        raise Failed(f"{message[0].upper()}{message[1:]}.", "unsupported", faults[0].hint)


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
    weights = optimizer.count
    result = 4 * (weights if spec.adapter else model.size.parameters)
    kept = 3 if spec.options.keeps_best else 2
    needed = kept * optimizer.saved_bytes + result + (16 << 20)
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
    group: Group,
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
    processes = manifest.get("processes", 1)
    before = {**manifest["versions"], "threads": manifest["threads"], "processes": processes}
    now = {**versions(), "threads": hardware.threads, "processes": group.size}
    different = sorted(name for name in now if now[name] != before.get(name))
    if different:
        what = ", ".join(f"{name} {before.get(name)} → {now[name]}" for name in different)
        events.write("warning", message=f"Since the checkpoint {what}; the bits may differ.")


def checkpoint_facts(
    state: TrainState, order: RowOrder, spec: RunSpec, hardware: Hardware, group: Group
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
        "processes": group.size,
    }


# --- the process ------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Train the run directory named on the command line; returns the exit status.

    The environment says whether this is one rank of a group, as torchrun would.
    """
    run = RunDir(Path(argv[0]))
    try:
        group = group_of(os.environ)
    except PeerLost as lost:
        sys.stderr.write(f"{lost}\n")
        return EXIT_PEER_LOST
    events = events_of(group, run.path / "events.jsonl")
    reporting = Reporting(lambda: run.spec, run.path, events)
    try:
        outcome = attempt(run, events, group)
    except (PeerLost, StartAgain) as ended_here:
        sys.stderr.write(f"{ended_here}\n")
        reporting.close("interrupted")
        return EXIT_AGAIN if isinstance(ended_here, StartAgain) else EXIT_PEER_LOST
    reporting.close("interrupted" if outcome is None else outcome["outcome"])
    if outcome is None:
        return EXIT_INTERRUPTED
    failed = outcome["outcome"] == "failed"
    if group.rank == 0 or (failed and not (run.path / OUTCOME_FILE).exists()):
        write_outcome(run.path, outcome)
    return 1 if failed else 0


def attempt(run: RunDir, events: EventWriter, group: Group = SINGLE) -> dict[str, Any] | None:
    """Train, and return the outcome, whatever happens; None for a run that was interrupted.

    Raises `PeerLost` and `StartAgain`, after which the group starts again.
    """
    state = TrainState()
    try:
        return train(run, events, state, group)
    except Stopped as stopped:
        if not stopped.cancelled:
            return None
        message = f"Cancelled after step {state.step}; a checkpoint of it is kept."
        if state.step == 0:
            message = "Cancelled before the first step."
        return ended("cancelled", message, exit_code=0, **totals(state))
    except (PeerLost, StartAgain):
        raise
    except Exception as error:
        traceback.print_exc()
        if group.size > 1 and is_peer_lost(error):
            raise PeerLost(str(error).partition("\n")[0]) from error
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
