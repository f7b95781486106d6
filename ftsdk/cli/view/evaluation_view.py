"""The plan and the result of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ftsdk.cli.view.formatting import clean, clean_line, cost_text, count, duration
from ftsdk.cli.view.output import command, emit, labelled, note, say
from ftsdk.evaluation.evaluate import EvaluationPlan
from ftsdk.evaluation.gate import GateResult
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.evaluation.report_parts import ModelResult
from ftsdk.util.names import plural

_COLOURS = {GateResult.PASSED: "green", GateResult.FAILED: "red"}
_SHOWN = 160


def plan(plan: EvaluationPlan, *, as_json: bool) -> None:
    """Print what an evaluation would ask, by which metrics it decides, and what it costs."""
    if as_json:
        emit({**vars(plan), "cost": plan.cost.model_dump(mode="json")})
        return
    say(("Plan  ", "bold"), f"{plural(plan.rows, 'row')} × {plural(len(plan.models), 'model')}")
    lines: list[tuple[str, Any]] = [("model", clean(one)) for one in plan.models]
    lines = [(label, f"{name}, the reference") if name == clean(plan.reference) else (label, name)
             for label, name in lines]  # fmt: skip
    for number, (name, why) in enumerate(plan.metrics.items()):
        lines.append(("metric" if number == 0 else "and", f"{clean(name)}: {clean(why)}"))
    margin = "none: nothing is called parity" if plan.margin is None else f"{plan.margin * 100:g} points"  # fmt: skip
    lines.append(("margin", margin))
    if plan.judge:
        lines.append(
            ("judge", f"{clean(plan.judge)}, in both orders; a verdict that flips is a tie")
        )
    if plan.left_out:
        shown = ", ".join(map(str, plan.left_out[:8])) + (", …" if len(plan.left_out) > 8 else "")
        words = f"{plural(len(plan.left_out), 'row')} of a training file: lines {shown}"
        lines.append(("left out", (words, "yellow")))
    if plan.stored:
        lines.append(("stored", f"{plural(plan.stored, 'answer')} from before, free"))
    if plan.to_ask:
        lines += [("ask", plural(plan.to_ask, "request")), ("cost", cost_text(plan.cost))]
    lines += [("note", clean(one)) for one in plan.notes]
    labelled(lines)


def report(found: EvaluationReport) -> None:
    """Print outcomes and cost, the table of each candidate, and the gate."""
    for one in found.models:
        say((clean(one.name), "bold"), f"  {_outcomes(one)}")
    say("")
    for line in found.lines_of_text():
        if line.startswith("Gate: "):
            colour = _COLOURS.get(found.result, "yellow")
            say((clean_line(line), colour))
        else:
            say(clean_line(line))
    for name, one in [(m.name, m) for m in found.models if m.noise]:
        metric, share = next(iter(one.noise.items()))
        note(f"  {clean(name)} disagrees with itself on {share:.1%} of its repeats, by {metric}")
    for name, said in found.judged.items():
        note(f"  judge of {clean(name)}: {_judged(said)}")
    flips = sum(one.flips for one in found.candidates)
    if flips:
        note("next  ", command(f"ftsdk evaluate {clean(found.data)} … --show flips"))


def _judged(said: Mapping[str, Any]) -> str:
    """What a judge said of one candidate: preferences, agreement and cost."""
    parts = [
        f"preferred it on {count(said['candidate'])} rows",
        f"the reference on {count(said['reference'])}",
        f"{count(said['tie'])} ties",
    ]
    if said["flip_rate"] is not None:
        parts.append(f"{said['flip_rate']:.1%} changed with the order")
    if said["kappa_with_metric"] is not None:
        parts.append(f"agreement with the metric (κ) {said['kappa_with_metric']:.2f}")
    if said["unanswered"]:
        parts.append(f"{count(said['unanswered'])} rows without a verdict")
    cost = "price unknown" if said["usd"] is None else f"${Decimal(said['usd']):.4f}"
    parts.append(f"{count(said['requests'])} requests, {cost}")
    return " · ".join(parts)


def _outcomes(one: ModelResult) -> str:
    kinds = one.outcomes
    parts = [f"{count(kinds['answered'])} answered"]
    for kind, words in (("cut_off", "cut off"), ("refused", "refused"), ("error", "errors")):
        if kinds[kind]:
            parts.append(f"{count(kinds[kind])} {words}")
    if one.usd:
        parts.append(f"${one.usd:.4f}")
    if one.latency_p50_s is not None:
        parts.append(f"{duration(one.latency_p50_s)} each (p95 {duration(one.latency_p95_s)})")
    return " · ".join(parts)


def flips(found: EvaluationReport) -> None:
    """Print each row on which a candidate differs from the reference, losses first."""
    for one in found.candidates:
        for flip in found.each_flip(one.name):
            mark = ("−", "red") if flip.candidate_score < flip.reference_score else ("+", "green")
            say(mark, f" line {flip.line}  ", (clean(flip.asked, _SHOWN), "dim"))
            labelled(
                [
                    ("expected", clean(flip.expected, _SHOWN)),
                    (clean(found.reference, 20), clean(flip.reference, _SHOWN)),
                    (clean(one.name, 20), clean(flip.candidate, _SHOWN)),
                ]
            )
