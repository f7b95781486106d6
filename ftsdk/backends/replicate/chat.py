"""Call a version at Replicate: create a prediction and wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftsdk.backends.hosted import poll, refuse_stream
from ftsdk.backends.replicate.prompts import prompt_of
from ftsdk.backends.replicate.transport import Transport, known_id
from ftsdk.errors import Rejected, Unavailable, UnexpectedResponse, Unsupported
from ftsdk.types.model import ChatAnswer
from ftsdk.util.clock import Clock

_PATIENCE_S = 600.0
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "max_tokens": ("max_tokens", "max_new_tokens", "max_length"),
    "temperature": ("temperature",),
    "seed": ("seed",),
    "top_p": ("top_p",),
    "stop": ("stop", "stop_sequences"),
}
_UNASKED: Mapping[str, Any] = {"max_tokens": 256, "temperature": 0.0}
"""What `ModelHandle.chat` sends where the caller asked for nothing."""


class Predictions:
    """Predictions of one account."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport, self._clock = transport, clock

    def chat(
        self,
        version: str,
        record: Mapping[str, Any],
        messages: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> ChatAnswer:
        """Return the model's answer; the prompt is built as the training rows were.

        `max_tokens`, `temperature` and `seed` are sent under the version's own names. Raises
        `Unsupported` for an option that the version does not have and for `stream=True`, `Rejected`
        when the prediction fails, and `Unavailable` after ten minutes.
        """
        refuse_stream(options, "Replicate")
        model, _, identity = version.partition(":")
        reply = self._transport.get(f"/v1/models/{model}/versions/{known_id(identity, 'version')}")
        known = _properties(reply)
        inputs = _prompt(record, messages) | _options(options, known)
        prediction = self._transport.post("/v1/predictions", {"version": identity, "input": inputs})
        prediction = self._ended(prediction)
        text = _text(prediction.get("output"))
        return ChatAnswer(
            text=text,
            message={"role": "assistant", "content": text},
            usage=_usage(prediction),
            finish_reason="stop",
            raw=prediction,
        )

    def _ended(self, prediction: dict[str, Any]) -> dict[str, Any]:
        identity = str(prediction.get("id") or "?")
        path = f"/v1/predictions/{known_id(identity, 'prediction')}"
        for look in poll(self._clock, first_s=0.5, longest_s=5.0, patience_s=_PATIENCE_S):
            if look > 1:
                prediction = self._transport.get(path)
            word = prediction.get("status")
            if word == "succeeded":
                return prediction
            if word in ("failed", "canceled", "aborted"):
                raise Rejected(
                    f"The prediction {word}: {prediction.get('error') or 'no reason given'}",
                    where=f"Replicate, prediction {identity}",
                    hint="look at its logs at Replicate",
                )
        raise Unavailable(
            f"The prediction is still {prediction.get('status')} after ten minutes",
            where=f"Replicate, prediction {identity}",
            hint="try again: the model may have been starting",
        )


def _properties(version: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schemas: Any = version
    for step in ("openapi_schema", "components", "schemas", "Input", "properties"):
        schemas = schemas.get(step) if isinstance(schemas, Mapping) else None
    return schemas if isinstance(schemas, Mapping) else None


def _prompt(record: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    turns = list(messages)
    field, system_field = str(record.get("prompt") or "prompt"), record.get("system_prompt")
    inputs: dict[str, Any] = {}
    if system_field and turns and turns[0].get("role") == "system":
        inputs[str(system_field)] = str(turns.pop(0).get("content") or "")
    if not turns or turns[-1].get("role") != "user":
        raise Unsupported(
            "The last message must be a user's",
            where="Replicate takes one prompt",
            hint="end with a message of role user",
        )
    return inputs | {field: prompt_of(turns)}


def _options(options: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return our options under the version's names; an unknown one is passed through.

    A temperature below the version's minimum (many refuse 0) becomes that minimum. Raises
    `Unsupported` for options that were asked for and that the version does not have.
    """
    sent, missing = {}, []
    for name, value in options.items():
        if value is None:
            continue
        names = _SYNONYMS.get(name, (name,))
        if known is None:
            sent[names[0]] = value
            continue
        theirs = next((one for one in names if one in known), None)
        if theirs is None:
            if name not in _SYNONYMS:
                sent[name] = value
            elif value != _UNASKED.get(name):
                missing.append(name)
            continue
        minimum = known[theirs].get("minimum") if isinstance(known[theirs], Mapping) else None
        if name == "temperature" and isinstance(minimum, int | float) and value < minimum:
            value = minimum  # noqa: PLW2901  # the nearest that the model accepts
        sent[theirs] = value
    if missing:
        raise Unsupported(
            f"This version has no input for {', '.join(missing)}",
            where="Replicate, before anything was sent",
            hint=f"leave it out; the version takes {', '.join(sorted(known or ()))}",
            submitted="no",
        )
    return sent


def _text(output: Any) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, list) and all(isinstance(one, str) for one in output):
        return "".join(output)
    raise UnexpectedResponse(
        "The prediction's output is not text",
        where="Replicate, predictions",
        hint="this version is not a language model; run it at Replicate",
    )


def _usage(prediction: Mapping[str, Any]) -> dict[str, int]:
    metrics = prediction.get("metrics")
    found = metrics if isinstance(metrics, Mapping) else {}
    names = {"input_token_count": "prompt_tokens", "output_token_count": "completion_tokens"}
    return {
        ours: found[theirs] for theirs, ours in names.items() if isinstance(found.get(theirs), int)
    }
