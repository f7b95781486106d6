"""Speed of served chats: `ftsdk serve` beside `transformers serve --continuous-batching` and llama.cpp's server.

    python benchmarks/serve.py [--rounds 5] [--model FOLDER] [--python PYTHON] [--streams 1 8 32]

Trains four small adapters on smollm2-135m. `ftsdk serve` answers with the first of them as it is; the others
serve the same model merged, in bf16 and in f16, since they take no adapter per request (llama.cpp is left out
where xllamacpp is not installed). Each round asks every server by turns for 1, 8 and 32 answers at once, with
prompts that differ, and the others stand still meanwhile. Last, the four adapters at once against one.

`--python` is a Python that has transformers[serving]. Printed are ratios of medians. The aims: 0.95 of the
tokens per second of transformers at each number of streams, and four adapters at least half as fast as one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _training import model_folder

import ftsdk
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

AIM, AIM_FOUR = 0.95, 0.5
MAX_TOKENS = 48
TOPICS = (
    "rivers", "bread", "clocks", "bridges", "whales", "paper", "trains", "glass", "bees", "maps",
    "tea", "storms", "coins", "chess", "forests", "ships",
)  # fmt: skip


@dataclass
class Server:
    """A server that runs: where it answers, and by which names its models."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    key: str
    models: Sequence[str]

    def pause(self, *, paused: bool) -> None:
        """Let all its processes stand still, or go on."""
        for pid in [self.process.pid, *children(self.process.pid)]:
            os.kill(pid, signal.SIGSTOP if paused else signal.SIGCONT)


@dataclass
class Load:
    """What one load measured: tokens per second, and seconds until first tokens."""

    speed: float
    first: list[float] = field(default_factory=list)


def main() -> int:
    """Print the ratios; 1 where an aim is missed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers end with it
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path, help="a folder with smollm2-135m")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--home", type=Path, help="keep the adapters here for the next time")
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 8, 32])
    given = parser.parse_args()
    base = model_folder(given.model).resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        home = given.home or Path(folder, "home")
        jobs = train(home, base)
        servers = [running.enter_context(ours(home, jobs))]
        merged = export(home, jobs[0], "merged", Path(folder, "merged"), "bfloat16")
        servers.append(running.enter_context(transformers_serve(given.python, merged)))
        with contextlib.suppress(ImportError):
            import xllamacpp  # noqa: F401  # whether it is here

            gguf = export(home, jobs[0], "gguf", Path(folder, "gguf"), "f16")
            servers.append(running.enter_context(llama_cpp(gguf / "model.gguf")))
        return measure(servers, ChatTokenizer.from_folder(base), given.streams, given.rounds)


def train(home: Path, base: Path) -> list[str]:
    """Train four adapters for a step each; returns the ids of their jobs."""
    with ftsdk.Client(home=home) as client:
        jobs = [job.id for job in client.list_jobs(status="succeeded")][:4]
        if len(jobs) == 4:
            return jobs
        jobs = []
        for number in range(4):
            answer = {"role": "assistant", "content": f"[late {number}] Your order number, please."}
            row = {"messages": [{"role": "user", "content": "My parcel is late."}, answer]}
            job = client.create_job(
                [row] * 8, provider="local", model=str(base), epochs=1, learning_rate=1e-4,
                batch_size=8, seed=number, allow_findings=True,
            )  # fmt: skip
            job.wait()
            jobs.append(job.id)
    return jobs


def export(home: Path, job: str, target: Any, folder: Path, dtype: str) -> Path:
    """The model of a job in another form; what was written is not compared here."""
    with ftsdk.Client(home=home) as client:
        client.get_job(job).export(target, folder, dtype=dtype, probes=0)
    return folder


# --- the servers ------------------------------------------------------------------------------


@contextlib.contextmanager
def ours(home: Path, jobs: Sequence[str]) -> Iterator[Server]:
    """`ftsdk serve`."""
    key = secrets.token_urlsafe(24)
    env = {**os.environ, "FTSDK_HOME": str(home), "FTSDK_SERVE_TOKEN": key}
    port = free_port()
    words = [sys.executable, "-m", "ftsdk", "serve", "--port", str(port)]
    with started("ftsdk", words, port, key, jobs, env, "/health") as server:
        yield server


@contextlib.contextmanager
def transformers_serve(python: str, model: Path) -> Iterator[Server]:
    """`transformers serve`, with continuous batching."""
    port = free_port()
    words = [
        python, "-m", "transformers.cli.transformers", "serve", str(model), "--continuous-batching",
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16", "--device", "cpu",
        "--cb-num-blocks", "512", "--cb-max-batch-tokens", "512",
    ]  # fmt: skip
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    with started("transformers", words, port, "none", [str(model)], env, "/health") as server:
        yield server


@contextlib.contextmanager
def llama_cpp(model: Path) -> Iterator[Server]:
    """llama.cpp's server, by xllamacpp."""
    port, key = free_port(), secrets.token_urlsafe(24)
    words = [sys.executable, "-c", LLAMA_CPP, str(model), str(port), key, str(threads())]
    with started("llama.cpp", words, port, key, ["model"], dict(os.environ), "/health") as server:
        yield server


LLAMA_CPP = """
import sys, time, xllamacpp as x
model, port, key, threads = sys.argv[1:]
asked = x.CommonParams()
asked.model.path, asked.hostnames, asked.port, asked.api_keys = model, ["127.0.0.1"], int(port), [key]
asked.n_parallel, asked.n_ctx, asked.n_gpu_layers, asked.verbosity = 32, 32 * 512, 0, 0
asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = int(threads)
asked.warmup = asked.ui = False
server = x.Server(asked)
while True:
    time.sleep(60)
"""


@contextlib.contextmanager
def started(
    name: str, words: list[str], port: int, key: str, models: Sequence[str],
    env: dict[str, str], health: str,
) -> Iterator[Server]:  # fmt: skip
    """Start a server, wait until it answers, and end it with the block."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=env, start_new_session=True)
        server = Server(name, process, port, key, models)
        try:
            wait_until_healthy(server, health)
            print(f"{name} runs", file=sys.stderr, flush=True)
            yield server
        except BaseException:
            log.seek(0)
            print(f"--- {name}\n{log.read()[-2000:].decode(errors='replace')}", file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.pause(paused=False)
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until_healthy(server: Server, path: str) -> None:
    """Wait until the server answers; at most three minutes."""
    end = time.monotonic() + 180
    while time.monotonic() < end and server.process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5),
        ):  # loopback
            return
        time.sleep(0.2)
    raise SystemExit(f"{server.name} does not start")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def threads() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))


def children(pid: int) -> list[int]:
    """All processes below one."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children(child)]
    return found


# --- measuring --------------------------------------------------------------------------------


def measure(
    servers: Sequence[Server], tokenizer: ChatTokenizer, streams: Sequence[int], rounds: int
) -> int:
    """Ask every server by turns, and print the ratios."""
    speeds: dict[tuple[str, int], list[float]] = defaultdict(list)
    firsts: dict[tuple[str, int], list[float]] = defaultdict(list)
    number = 0
    for server in servers:
        server.pause(paused=True)
    for turn in range(-1, rounds):  # the first fills caches
        for count in streams:
            for server, models, name in turns(servers, turn):
                number += 1
                server.pause(paused=False)
                load = asyncio.run(ask(server, models, count, number, tokenizer))
                server.pause(paused=True)
                print(f"round {turn}, {count} at once: {name} done", file=sys.stderr, flush=True)
                if turn >= 0:
                    speeds[name, count].append(load.speed)
                    firsts[name, count] += load.first
    return report(speeds, firsts, streams, [server.name for server in servers[1:]])


def turns(servers: Sequence[Server], turn: int) -> list[tuple[Server, Sequence[str], str]]:
    """Who is asked in a round, in which order, with which models."""
    found = [(server, server.models[:1], server.name) for server in servers]
    found.append((servers[0], servers[0].models, "four adapters"))
    return found[:: 1 if turn % 2 else -1]


async def ask(
    server: Server, models: Sequence[str], count: int, number: int, tokenizer: ChatTokenizer
) -> Load:
    """Ask for `count` answers at once; their prompts are new to the server."""
    began = time.monotonic()
    found = await asyncio.gather(*(
        stream(server, models[k % len(models)], prompt(number, k)) for k in range(count)
    ))  # fmt: skip
    took = time.monotonic() - began
    tokens = sum(len(tokenizer.encode(text)) for text, _ in found)
    return Load(tokens / took, [first for _, first in found])


def prompt(number: int, k: int) -> str:
    """A question that asks for a long answer."""
    return f"Story {number}-{k}: write a long story about {TOPICS[(number + k) % len(TOPICS)]}."


async def stream(server: Server, model: str, text: str) -> tuple[str, float]:
    """The text of a streamed answer, and the seconds until its first piece."""
    body = json.dumps({
        "model": model, "messages": [{"role": "user", "content": text}], "stream": True,
        "temperature": 0.0, "max_tokens": MAX_TOKENS,
    }).encode()  # fmt: skip
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n"
        f"authorization: Bearer {server.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
    writer.write(head.encode() + body)
    await writer.drain()
    pieces, first = [], 0.0
    status = await reader.readline()
    if b" 200" not in status:
        raise SystemExit(f"{server.name}: {status!r} {await reader.read()!r}")
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        found = json.loads(line[6:])
        if "error" in found:
            raise SystemExit(f"{server.name}: {found}")
        piece = found["choices"][0]["delta"].get("content") if found.get("choices") else None
        if piece:
            first = first or time.monotonic() - began
            pieces.append(piece)
    writer.close()
    return "".join(pieces), first


def report(
    speeds: dict[tuple[str, int], list[float]],
    firsts: dict[tuple[str, int], list[float]],
    streams: Sequence[int],
    others: Sequence[str],
) -> int:
    """Print the ratios of medians; 1 where an aim is missed."""
    missed = False
    for count in streams:
        speed = {
            name: statistics.median(found) for (name, n), found in speeds.items() if n == count
        }
        first = {
            name: statistics.median(found) for (name, n), found in firsts.items() if n == count
        }
        for other in others:
            ratio = speed["ftsdk"] / speed[other]
            missed |= other == "transformers" and ratio < AIM
            print(
                f"{count:>3} streams   tokens/s of {other} × {ratio:.2f}   "
                f"time to the first token × {first['ftsdk'] / first[other]:.2f}"
            )
        if count > 1:
            share = speed["four adapters"] / speed["ftsdk"]
            missed |= share < AIM_FOUR
            print(f"{count:>3} streams   four adapters × {share:.2f} of one's tokens/s")
    print("an aim is missed" if missed else "within the aims")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
