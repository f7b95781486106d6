"""The whole workflow: validate rows, train on this machine, compare answers before and after.

`make demo` runs it after the installation. It leaves the adapter on disk, and a page with the loss
curve and the answers in `.demo/`.

    python examples/demo.py [--provider fake] [--epochs 3] [--questions 8] [--out .demo]
"""

from __future__ import annotations

import argparse
import html
import itertools
import json
import sys
import time
from pathlib import Path

import ftsdk
from ftsdk.backends.local.models.pull_progress import PullProgress
from ftsdk.backends.local.models.resolve import pull_model
from ftsdk.config import default_home

DATA = Path(__file__).parent / "data"
MODEL = "smollm2-135m"
BARS = "▁▂▃▄▅▆▇█"
Answer = tuple[str, str, str, str]
"""A held-out question, the answers of the base and the tuned model, and the expected answer."""


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--provider", default="local", help="local (default) or fake")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--questions", type=int, default=8, help="held-out questions to ask")
    parser.add_argument("--out", type=Path, default=Path(".demo"))
    given = parser.parse_args()
    try:
        return demo(given.provider, given.epochs, given.questions, given.out)
    except ftsdk.FtsdkError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nStopped. A job that was started continues: ftsdk list", file=sys.stderr)
        return 130


def demo(provider: str, epochs: float, questions: int, out: Path) -> int:
    """All steps in order."""
    client = ftsdk.Client()
    if provider == "local":
        pull()

    heading("The rows")
    report = client.validate(DATA / "support.jsonl", provider=provider, model=MODEL)
    print(f"support.jsonl   {report.rows} rows   {len(report.faults)} faults")

    heading("The job")
    job = client.create_job(
        DATA / "support.jsonl",
        model=MODEL,
        provider=provider,
        hyperparameters={"epochs": epochs, "learning_rate": 1e-3, "batch_size": 8},
        name="support-demo",
    )
    print(f"{job.id}   {job.provider} · {job.model} · LoRA r16 · {epochs:g} epochs")
    watch(job)
    model = job.result()  # raises JobFailed with the reason when there is none

    losses = [(p.step, p.train_loss) for p in job.metrics() if p.train_loss is not None]
    heading("The loss")
    print(curve(losses))

    heading("The same questions, not in the training rows, before and after")
    answers = ask(client, model, questions)
    before = sum(base == expected for _, base, _, expected in answers)
    after = sum(tuned == expected for _, _, tuned, expected in answers)
    print(f"\nexactly the expected answer: {before} of {len(answers)} before, {after} after")

    heading("What you have now")
    out.mkdir(parents=True, exist_ok=True)
    page = out / "index.html"
    (out / "loss.svg").write_text(svg(losses), encoding="utf-8")
    page.write_text(html_page(job, losses, answers), encoding="utf-8")
    print(f"the curve and the answers   {page.resolve()}")
    if model.path is not None:
        print(f"the adapter                 {model.path}")
        for path in sorted(model.path.iterdir()):
            print(f"  {path.stat().st_size:>11,} bytes   {path.name}")
    print(f"next                        ftsdk chat {job.id}   ·   ftsdk show {job.id}")
    return 0


def heading(title: str) -> None:
    """Print a heading."""
    print(f"\n{title}\n{'─' * len(title)}", flush=True)


def pull() -> None:
    """Fetch the small base model once; later runs find it."""
    heading(f"The base model {MODEL}")
    shown = [""]

    def report(progress: PullProgress) -> None:
        tenth = ""
        if progress.total_bytes and progress.stage == "download":
            tenth = f" {progress.done_bytes * 10 // progress.total_bytes * 10} %"
        line = f"{progress.stage}{tenth}"
        if line != shown[0]:
            shown[0] = line
            print(line, flush=True)

    found = pull_model(MODEL, home=default_home(), on_progress=report)
    print(f"{found.path}   {found.license}   sha256 {found.sha256[:12]}…")


def watch(job: ftsdk.FineTuneJob, every_s: float = 5.0) -> None:
    """Print a line when the status changes, and one every few seconds while it trains."""
    last, loss = 0.0, None
    for event in job.stream():
        loss = event.data.get("train_loss", loss)
        if event.kind in ("status", "warning"):
            print(event.message, flush=True)
        if event.kind != "progress" or time.monotonic() - last < every_s:
            continue
        last = time.monotonic()
        now = event.data
        parts = [f"step {now.get('step')}/{now.get('total_steps')}"]
        parts += [f"loss {loss:.3f}"] if loss is not None else []
        parts += [f"{now['tokens_per_s']:,.0f} tokens/s"] if now.get("tokens_per_s") else []
        parts += [f"{now['eta_s']:.0f} s left"] if now.get("eta_s") else []
        print("  " + "   ".join(parts), flush=True)
    print(f"{job.status}   cost {job.cost}")


def ask(client: ftsdk.Client, model: ftsdk.ModelHandle, questions: int) -> list[Answer]:
    """Ask both models the held-out questions, and print the answers."""
    lines = (DATA / "support_heldout.jsonl").read_bytes().removesuffix(b"\n").split(b"\n")
    rows = [json.loads(line)["messages"] for line in lines[:questions]]
    backend = client.backend(model.provider)
    options = {"max_tokens": 40, "temperature": 0.0}
    answers = []
    for user, expected in rows:
        base = backend.chat_base(model, [user], options).text
        tuned = model.chat([user], max_tokens=40).text
        answers.append((user["content"], base, tuned, expected["content"]))
        print(
            f"\nquestion   {user['content']}\nbase       {one_line(base)}\ntuned      {one_line(tuned)}"
        )
    return answers


def one_line(text: str, width: int = 100) -> str:
    """A text as one line of at most `width` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def thinned(losses: list[tuple[int, float]], columns: int) -> list[float]:
    """Means of the losses over `columns` equal parts (fewer when there are fewer steps)."""
    count = min(columns, len(losses))
    edges = [round(i * len(losses) / count) for i in range(count + 1)]
    parts = [losses[a:b] for a, b in itertools.pairwise(edges)]
    return [sum(loss for _, loss in part) / len(part) for part in parts]


def curve(losses: list[tuple[int, float]], width: int = 64, height: int = 8) -> str:
    """The loss over the steps, drawn with block characters; a notch is an eighth of a row."""
    if not losses:
        return "(no metrics)"
    values = thinned(losses, width)
    top = max(values)
    notches = [max(1, round(value / top * height * 8)) for value in values]
    rows = []
    for level in range(height - 1, -1, -1):
        cells = [min(max(notch - level * 8, 0), 8) for notch in notches]
        label = f"{top * (level + 1) / height:6.2f} │"
        rows.append(label + "".join(BARS[cell - 1] if cell else " " for cell in cells))
    rows.append("       └" + "─" * len(values))
    rows.append(
        f"        step {losses[0][0]} to {losses[-1][0]}: {values[0]:.2f} → {values[-1]:.3f}"
    )
    return "\n".join(rows)


def svg(losses: list[tuple[int, float]], width: int = 640, height: int = 240) -> str:
    """The same curve as an SVG image."""
    values = [loss for _, loss in losses] or [0.0]
    top, right = max(values) or 1.0, max(len(values) - 1, 1)
    points = " ".join(
        f"{40 + i * (width - 50) / right:.1f},{10 + (1 - value / top) * (height - 40):.1f}"
        for i, value in enumerate(values)
    )
    first, last = (losses[0][0], losses[-1][0]) if losses else (0, 0)
    text = 'font-family="sans-serif" font-size="12" fill="currentColor"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'color="#444">\n'
        f"<title>Training loss, {values[0]:.2f} to {values[-1]:.3f}</title>\n"
        f'<path d="M40 10V{height - 30}H{width - 10}" fill="none" stroke="currentColor"/>\n'
        f'<polyline points="{points}" fill="none" stroke="#2563eb" stroke-width="2"/>\n'
        f'<text x="4" y="16" {text}>{top:.2f}</text>'
        f'<text x="14" y="{height - 28}" {text}>0</text>\n'
        f'<text x="40" y="{height - 10}" {text}>step {first}</text>'
        f'<text x="{width - 10}" y="{height - 10}" text-anchor="end" {text}>step {last}</text>\n'
        "</svg>\n"
    )


def html_page(
    job: ftsdk.FineTuneJob, losses: list[tuple[int, float]], answers: list[Answer]
) -> str:
    """One self-contained page with the curve, and the answers side by side."""
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in answer[:3]) + "</tr>"
        for answer in answers
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>ftsdk demo: {html.escape(job.id)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
td, th {{ text-align: left; vertical-align: top; padding: .4rem 1rem .4rem 0 }}
td {{ border-top: 1px solid #ddd }}
</style>
<h1>{html.escape(job.name or job.id)}</h1>
<p>{html.escape(job.id)} · {html.escape(job.provider)} · {html.escape(job.model)}</p>
{svg(losses)}
<table><thead><tr><th>question</th><th>base</th><th>tuned</th></tr></thead><tbody>
{rows}
</tbody></table>
</html>
"""


if __name__ == "__main__":
    sys.exit(main())
