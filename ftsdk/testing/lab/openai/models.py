"""Results of the OpenAI double: models, chat with a tuned model, and the webhook of a finished job."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import route
from ftsdk.testing.lab.chat_choices import last_text
from ftsdk.testing.lab.chats import Chats
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.testing.lab.openai.files import OpenAIFiles
from ftsdk.testing.lab.openai.jobs import FakeJob
from ftsdk.testing.lab.openai.request_checks import TUNABLE, UNTUNED, refuse
from ftsdk.util.clock import Clock

_BLOCKED = "[[block]]"
"""A prompt that Azure's filter refuses."""


class OpenAIModels(Chats, OpenAIFiles):
    """`/models` and `/chat/completions`, for base models and for the models that jobs made."""

    warmup_s = 0.0
    """Seconds after its job before a new model answers."""
    needs_deployments = False
    """True when a model answers only under the name of a deployment, as at Azure."""

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        super().__init__(clock=clock, port=port)
        self.webhook_secret = "whsec_" + base64.b64encode(b"lab webhook secret, no secret").decode()
        self.jobs: dict[str, FakeJob] = {}
        self.deleted_models: set[str] = set()
        self.deployments: dict[str, str] = {}
        """Azure deployments: model by deployment name."""
        self.shutdowns: dict[str, str] = {}
        """The day on which a model shuts down, by its id; `2027-01-14` for the others."""

    # --- models ---

    def _models(self) -> dict[str, dict[str, Any]]:
        now = self.now()
        found = {
            name: {"owned_by": "system", "created": 1_744_000_000, "shutdown_date": "2027-01-14"}
            for name in TUNABLE
        }
        for job in self.jobs.values():
            if job.succeeded(now) and job.model_id not in self.deleted_models:
                at = job.timeline.start_of("succeeded") or now
                found[job.model_id] = {
                    "owned_by": "org-lab",
                    "created": int(at.timestamp()),
                    "shutdown_date": "2027-01-14",
                }
        for name in found.keys() & self.shutdowns.keys():
            found[name]["shutdown_date"] = self.shutdowns[name]
        shown = {name: {"id": name, "object": "model", **facts} for name, facts in found.items()}
        if self.needs_deployments:
            return {name: _as_azure(one) for name, one in shown.items()}
        return shown

    @route("GET", "/models")
    def list_models(self, request: Request) -> Any:
        """Return the models of the account."""
        return {"object": "list", "data": list(self._models().values())}

    @route("GET", "/models/{model:path}")
    def get_model(self, request: Request, model: str) -> Any:
        """Return one model, with its `shutdown_date`."""
        found = self._models().get(model)
        if found is None:
            raise refuse(
                404, f"The model '{model}' does not exist", code="model_not_found", param="model"
            )
        return found

    @route("DELETE", "/models/{model:path}")
    def delete_model(self, request: Request, model: str) -> Any:
        """Delete a tuned model."""
        self.get_model(request, model)
        if model in TUNABLE or model in UNTUNED:
            raise refuse(403, "Only fine-tuned models can be deleted.", kind="permission_error")
        self.deleted_models.add(model)
        return {"id": model, "object": "model", "deleted": True}

    # --- chat ---

    @route("POST", "/chat/completions")
    def chat(self, request: Request) -> Any:
        """Return a chat completion of a tuned model or of a base model."""
        body = request.json()
        self._check_chat(body)
        self._check_pace(body)
        completion = self._completion(body)
        return _as_stream(body, completion) if body.get("stream") else completion

    def _check_chat(self, body: Any) -> None:
        for name in ("model", "messages"):
            if not isinstance(body, dict) or not body.get(name):
                raise refuse(400, f"Missing required parameter: '{name}'.", param=name)

    def _check_pace(self, body: dict[str, Any]) -> None:
        found = self._limited(body)
        if found is None:
            return
        what, bucket, wait = found
        raise refuse(
            429,
            f"Rate limit reached for {body['model']} in organization org-lab on {what} per min. "
            f"Limit: {bucket.limit:g}. Please try again in {wait:.3f}s.",
            code="rate_limit_exceeded",
            kind=what,
            headers={"retry-after": f"{math.ceil(wait)}", "retry-after-ms": f"{wait * 1000:.0f}"},
        )

    def headers(self, request: Request) -> Mapping[str, str]:
        limits = self.limiter.openai_headers() if self.is_chat(request) else {}
        return {**super().headers(request), **limits}

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        self._check_chat(body)
        if self.needs_deployments and _BLOCKED in last_text(body["messages"]):
            raise refuse(
                400,
                "The response was filtered due to the prompt triggering Azure OpenAI's content "
                "management policy.",
                code="content_filter",
                param="prompt",
            )
        text = self._answer_text(body["model"].split(":ckpt-step-")[0], body["messages"])
        choices, usage = self._choices(body, text)
        return {
            "id": self.new_id("chatcmpl-"),
            "object": "chat.completion",
            "created": self.stamp(),
            "model": body["model"],
            "system_fingerprint": self.fingerprint,
            "choices": choices,
            "usage": usage,
        }

    def _answer_text(self, model: str, messages: list[dict[str, Any]]) -> str:
        now = self.now()
        if self.needs_deployments:
            if model not in self.deployments:
                raise refuse(
                    404,
                    "The API deployment for this resource does not exist. If you created the "
                    "deployment within the last 5 minutes, please wait a moment and try again.",
                    code="DeploymentNotFound",
                )
            model = self.deployments[model]
        for job in self.jobs.values():
            if job.model_id == model and model not in self.deleted_models and job.succeeded(now):
                at = job.timeline.start_of("succeeded")
                if at is not None and (now - at).total_seconds() >= self.warmup_s:
                    return fake_training.nearest_answer(job.content, messages)
        if model in TUNABLE or model in UNTUNED:
            return f"(an untuned model's answer to: {messages[-1].get('content')})"
        raise refuse(
            404, f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
        )  # fmt: skip

    # --- webhooks ---

    def webhook(self, job_id: str, *, event_id: str | None = None) -> tuple[dict[str, str], bytes]:
        """Return headers and body of the webhook that OpenAI sends when a job ends."""
        status = self.jobs[job_id].status(self.now())
        event = {
            "id": event_id or self.new_id("evt_"),
            "object": "event",
            "created_at": self.stamp(),
            "type": f"fine_tuning.job.{status}",
            "data": {"id": job_id},
        }
        body = json.dumps(event).encode()
        stamp = str(self.stamp())
        secret = base64.b64decode(self.webhook_secret.removeprefix("whsec_"))
        signed = f"{event['id']}.{stamp}.".encode() + body
        signature = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
        return {
            "webhook-id": str(event["id"]),
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{signature}",
            "content-type": "application/json",
        }, body


def _as_azure(model: dict[str, Any]) -> dict[str, Any]:
    """Return a model as Azure's list shows it (data-plane authoring, 2024-10-21)."""
    base, is_tuned, tail = model["id"].partition(".ft-")
    end = dt.datetime(2027 if is_tuned else 2026, 10, 14, tzinfo=dt.UTC)
    shown = {
        "id": model["id"],
        "object": "model",
        "status": "succeeded",
        "created_at": model["created"],
        "lifecycle_status": "generally-available",
        "deprecation": {"inference": int(end.timestamp())},
        "capabilities": {"fine_tune": not is_tuned, "inference": True, "chat_completion": True},
    }
    return {**shown, "model": base, "fine_tune": f"ftjob-{tail}"} if is_tuned else shown


def _as_stream(body: dict[str, Any], whole: dict[str, Any]) -> Reply:
    """Return a completion as server-sent events: role, words, reason, and usage where it is wanted."""
    facts = {name: whole[name] for name in ("id", "created", "model", "system_fingerprint")}
    head = {**facts, "object": "chat.completion.chunk"}
    chunks: list[dict[str, Any]] = []
    for choice in whole["choices"]:
        message, at = choice["message"], {"index": choice["index"], "finish_reason": None}
        words = re.findall(r"\s*\S+", message.get("content") or "")
        calls = [{"index": n, **call} for n, call in enumerate(message.get("tool_calls") or ())]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in words]
        deltas += [{"tool_calls": [call]} for call in calls]
        chunks += [{**head, "choices": [{**at, "delta": delta}]} for delta in deltas]
        ending = {**at, "delta": {}, "finish_reason": choice["finish_reason"]}
        chunks.append({**head, "choices": [ending]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": whole["usage"]})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return Reply(200, text, {"content-type": "text/event-stream; charset=utf-8"})
