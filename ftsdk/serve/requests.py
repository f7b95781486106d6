"""Read the bodies and parameters of requests; a field that means nothing here is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from ftsdk.serve.problems import Problem


def _as_whole(value: object) -> object:
    """JSON has one kind of number: 3.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Auto = Literal["auto"]
_WHOLE = BeforeValidator(_as_whole)
_Body = TypeVar("_Body", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


class HyperparameterBody(_Strict):
    """The hyperparameters of a job, as OpenAI names them."""

    n_epochs: Annotated[int, Field(ge=1, le=50), _WHOLE] | _Auto = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256), _WHOLE] | _Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, allow_inf_nan=False)] | _Auto = "auto"
    beta: Annotated[float, Field(gt=0, le=2, allow_inf_nan=False)] | _Auto = "auto"


class _Hyperparameters(_Strict):
    hyperparameters: HyperparameterBody = Field(default_factory=HyperparameterBody)


class MethodBody(_Strict):
    """How the model learns."""

    type: Literal["supervised", "dpo"]
    supervised: _Hyperparameters | None = None
    dpo: _Hyperparameters | None = None


class JobBody(_Strict):
    """The body of `POST /v1/fine_tuning/jobs`."""

    model: Annotated[str, Field(min_length=1)]
    training_file: Annotated[str, Field(min_length=1)]
    validation_file: str | None = None
    hyperparameters: HyperparameterBody | None = None
    method: MethodBody | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2147483647), _WHOLE] | None = None
    metadata: dict[str, str] | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None

    @property
    def method_name(self) -> str:
        """The method in our words."""
        return "sft" if self.method is None or self.method.type == "supervised" else "dpo"

    def settings(self) -> HyperparameterBody:
        """The hyperparameters, of the method or of the older field."""
        if self.method is not None:
            found = self.method.supervised if self.method.type == "supervised" else self.method.dpo
            if found is not None:
                return found.hyperparameters
        return self.hyperparameters or HyperparameterBody()


class ChatBody(BaseModel):
    """The body of `POST /v1/chat/completions`; further fields go to the model's backend."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=1), _WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), _WHOLE] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63), _WHOLE] | None = None

    @property
    def user_name(self) -> str | None:
        """Whom the answer is for, where the request says so."""
        given = self.model_extra or {}
        found = given.get("safety_identifier") or given.get("user")
        return found if isinstance(found, str) else None

    @property
    def answer_type(self) -> str | None:
        """The type of answer that `response_format` asks for, such as `json_object`."""
        wanted = (self.model_extra or {}).get("response_format")
        return str(wanted.get("type")) if isinstance(wanted, Mapping) else None

    def options(self, most_tokens: int) -> dict[str, Any]:
        """What is passed to `ModelHandle.chat`, without what asks for the usual."""
        wanted = self.max_completion_tokens or self.max_tokens
        given = {
            name: value
            for name, value in (self.model_extra or {}).items()
            if value is not None and value != _USUAL.get(name)
        }
        for name in _FOR_OTHERS:
            given.pop(name, None)
        if wanted is not None:
            if wanted > most_tokens:
                raise Problem(400, f"max_tokens may be {most_tokens:,} here.", param="max_tokens")
            given["max_tokens"] = wanted
        given["temperature"] = 1.0 if self.temperature is None else self.temperature
        if self.seed is not None:
            given["seed"] = self.seed
        if self.top_p is not None and self.top_p < 1:
            given["top_p"] = self.top_p
        if self.stop:
            given["stop"] = self.stop
        return given


_USUAL: Mapping[str, Any] = {
    "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False,
    "response_format": {"type": "text"}, "tool_choice": "auto", "parallel_tool_calls": True,
    "logit_bias": {}, "tools": [],
}  # fmt: skip
_FOR_OTHERS = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier")
"""Fields that change no answer."""


async def body_of(request: Request, shape: type[_Body]) -> _Body:
    """The body of a request. Raises `Problem`, which names the first field that is wrong."""
    try:
        found = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}.", code="invalid_json") from error
    if not isinstance(found, dict):
        raise Problem(400, "The body is not a JSON object.", code="invalid_json")
    try:
        return shape.model_validate(found)
    except ValidationError as error:
        faults = [_fault(one) for one in error.errors()]
        names = [name for name, _ in faults]
        message = "; ".join(f"{name}: {words}" for name, words in faults)
        raise Problem(400, message, code="invalid_request", param=names[0]) from error


def _fault(error: Any) -> tuple[str, str]:
    # A part with a bracket is the kind of value that was tried, not the name of a field.
    parts = [str(part) for part in error["loc"] if "[" not in str(part)]
    name = ".".join(parts) or "body"
    if error["type"] == "extra_forbidden":
        return name, "ftsdk does not know this field"
    return name, str(error["msg"])


def whole_number(
    request: Request, name: str, default: int, *, low: int = 1, high: int = 100
) -> int:
    """A number of the query string. Raises `Problem` for another value."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text[:10]) <= high:
        raise Problem(400, f"{name} is a number from {low} to {high}.", param=name)
    return int(text)


def known_query(request: Request, *names: str) -> None:
    """Raise `Problem` for a parameter of the query string that means nothing here."""
    for name in request.query_params:
        if name.partition("[")[0] not in names:
            raise Problem(400, f"ftsdk does not know the parameter {name!r} here.", param=name)


def metadata_filter(request: Request) -> dict[str, str]:
    """The metadata that jobs must have: `metadata[name]=value` in the query string.

    Raises `Problem` for another form, which would list jobs that are not meant.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if not name.startswith("metadata"):
            continue
        inside = name.removeprefix("metadata[").removesuffix("]")
        if name != f"metadata[{inside}]" or not inside or inside in found:
            raise Problem(400, "Filter by metadata[name]=value, once a name.", param="metadata")
        found[inside] = value
    return found
