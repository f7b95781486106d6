"""What the loop asks of a training method: examples, micro-batches, and the loss of each.

The loop decides which rows a step takes, seeds it, and changes the weights. An `Objective` decides
what a row is and what its loss is. It keeps nothing between two steps, so that a resumed run
computes the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.row_path import BatchSize, RowPath
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class MicroBatchLimits:
    """The most that goes through the model at once: examples, and tokens.

    With `padded`, each row counts as long as the longest of its batch.
    """

    examples: int
    tokens: int
    padded: bool = False

    def along(self, path: RowPath) -> MicroBatchLimits:
        """The limits for a model whose rows go this way."""
        examples = self.examples if path.together else 1
        return MicroBatchLimits(examples, self.tokens, path.padded)


@dataclass(frozen=True, slots=True)
class Share:
    """What one micro-batch adds to the loss and the metrics of a step.

    Each is a part of a mean over all examples of the step, as a float32 scalar; only `loss` has a
    gradient.
    """

    loss: torch.Tensor
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Untrained:
    """The model before its first step, for what an objective has to ask it about the file `rows`.

    `check` raises `Stopped` when the run is asked to stop; `log` reports to the event log.
    """

    rows: Path
    model: LoadedModel
    limits: MicroBatchLimits
    check: Callable[[], None]
    log: Callable[[str], None]
    group: Group = SINGLE


class Example(Protocol):
    """One example of an objective; its length is in tokens."""

    def __len__(self) -> int: ...


E = TypeVar("E", bound=Example)


class Objective(Protocol[E]):
    """A training method."""

    def encode(self, path: Path, tokenizer: ChatTokenizer) -> list[E]:
        """Tokenize the rows of a JSON-lines file. Raises `Failed`, which names every faulty row."""

    def batch_size(self, examples: Sequence[E], limits: MicroBatchLimits) -> BatchSize:
        """The size of the micro-batches that these examples make."""

    def prepare(self, examples: list[E], untrained: Untrained) -> list[E]:
        """The examples with what the untrained model says about them, also for a resumed run."""

    def micro_batches(self, examples: Sequence[E], limits: MicroBatchLimits) -> Iterator[list[E]]:
        """Divide the examples of a step; how they are divided does not change the gradient."""

    def begin(
        self,
        model: LoadedModel,
        examples: Sequence[E],
        limits: MicroBatchLimits,
        group: Group = SINGLE,
    ) -> Any:
        """What the micro-batches of one step have in common, such as what a mean is divided by.

        `examples` are those of all ranks, and so is what is counted.
        """

    def loss_of(self, model: LoadedModel, micro: Sequence[E], common: Any) -> Share:
        """The share of a micro-batch in the loss of its step; `common` comes from `begin`."""
