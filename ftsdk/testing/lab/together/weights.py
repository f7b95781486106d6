"""Weights of the Together double: the whole archive, a byte range, or a redirect to storage."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import struct
import tarfile
from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.testing.lab.together.jobs import FakeJob
from ftsdk.testing.lab.together.request_checks import refuse


class TogetherWeights(Double):
    """Downloads; a mixin of `TogetherDouble`."""

    download_redirects = False

    def _job(self, job_id: str) -> FakeJob:
        raise NotImplementedError

    @route("GET", "/v1/finetune/download")
    def download(self, request: Request) -> Any:
        """Return the weights as tar.zst, whole or a byte range; or redirect to storage."""
        job = self._job(request.first("ft_id") or "")
        if not job.completed(self.now()):
            raise refuse(400, "The job is not completed")
        kind = request.first("checkpoint") or ("merged" if job.is_lora else "model_output_path")
        allowed = ("merged", "adapter") if job.is_lora else ("model_output_path",)
        if kind not in allowed:
            raise refuse(400, f"checkpoint must be one of {', '.join(allowed)}", param="checkpoint")
        if self.download_redirects:
            # A different origin, so that tests see whether a client sends its key there.
            storage = self.origin.replace("127.0.0.1", "localhost")
            url = f"{storage}/storage/get/{job.id}/{kind}?X-Amz-Signature=lab"
            return Reply(302, b"", {"Location": url})
        return self._weights(request, job, kind)

    @route("GET", "/storage/get/{job_id}/{kind}")
    def stored(self, request: Request, job_id: str, kind: str) -> Any:
        """Return the weights from storage; requests here have no API key."""
        if request.first("X-Amz-Signature") != "lab":
            return Reply(403, "<Error><Code>AccessDenied</Code></Error>")
        return self._weights(request, self._job(job_id), kind)

    def _weights(self, request: Request, job: FakeJob, kind: str) -> Reply:
        rank = int(job.training_type.get("lora_r", 16)) if kind == "adapter" else None
        content, media = _packed(archive_of(base_model=job.model, rank=rank))
        headers = {
            "Content-Type": media,
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
            "Accept-Ranges": "bytes",
        }
        byte_range = request.headers.get("range", "")
        if not byte_range.startswith("bytes="):
            return Reply(200, content, headers)
        first, _, last = byte_range.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
        return Reply(206, content[begin : end + 1], headers)


def _packed(content: bytes) -> tuple[bytes, str]:
    """Return the compressed tar and its media type: zstd, or gzip where zstd is not installed."""
    try:
        import zstandard
    except ImportError:
        return gzip.compress(content, mtime=0), "application/x-tar"
    return zstandard.ZstdCompressor().compress(content), "application/octet-stream"


def _safetensors(tensors: Mapping[str, tuple[int, ...]]) -> bytes:
    """Return a valid safetensors file of zeros (format of 2023: header length, header, bytes)."""
    header: dict[str, Any] = {}
    offset = 0
    for name, shape in tensors.items():
        size = 4 * math.prod(shape)
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def archive_of(*, base_model: str, rank: int | None) -> bytes:
    """Return a tar of weights: a PEFT adapter of `rank`, or a full (tiny) model when it is None."""
    if rank is None:
        files = {
            "config.json": json.dumps({"model_type": "llama", "hidden_size": 8}).encode(),
            "model.safetensors": _safetensors({"model.embed_tokens.weight": (16, 8)}),
        }
    else:
        config = {
            "peft_type": "LORA",
            "base_model_name_or_path": base_model,
            "r": rank,
            "lora_alpha": 2 * rank,
            "target_modules": ["q_proj"],
            "task_type": "CAUSAL_LM",
        }
        layer = "base_model.model.model.layers.0.self_attn.q_proj"
        files = {
            "adapter_config.json": json.dumps(config).encode(),
            "adapter_model.safetensors": _safetensors(
                {f"{layer}.lora_A.weight": (rank, 8), f"{layer}.lora_B.weight": (8, rank)}
            ),
        }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
