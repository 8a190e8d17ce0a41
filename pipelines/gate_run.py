"""The gate's verdict in MLflow: metrics, the table, the picture; also when it says no."""

from datetime import date
from typing import Any

from matplotlib.figure import Figure

from pipelines.settings import Settings
from pipelines.tracking import client, experiment_id, plot_style

LOGGED = ("recall", "lower_bound", "reducer_loss", "precision_loss", "engine_loss")
GOOD, BAD, PALE = "#2a6f97", "#c1121f", "#a9c6d9"


def log_gate(settings: Settings, ds: date, verdict: dict[str, Any], page: str) -> None:
    """One MLflow run a verdict, with the gate's `page` of HTML."""
    tracker = client(settings)
    run = tracker.create_run(
        experiment_id(settings),
        run_name=f"gate {ds}",
        tags={
            "ds": str(ds),
            "step": "gate",
            "passed": str(verdict["passed"]),
            "precision": verdict["precision"],
        },
    )
    for row in verdict["slices"]:
        name = "".join(c if c.isalnum() or c in " _-." else "_" for c in row["slice"])
        for figure in LOGGED:
            tracker.log_metric(run.info.run_id, f"{figure}/{name}", row[figure])
    for row in verdict["precisions"]:
        for figure in ("photos_per_second", "cosine"):
            if row[figure] is not None:
                tracker.log_metric(run.info.run_id, f"{figure}/{row['precision']}", row[figure])
    for name in ("coverage", "self_match"):
        tracker.log_metric(run.info.run_id, name, verdict[name])
    for name, value in verdict["latency_ms"].items():
        tracker.log_metric(run.info.run_id, f"latency_ms_{name}", value)
    for name, value in verdict["wild_photos"].items():
        tracker.log_metric(run.info.run_id, f"wild_{name.replace('@', '_at_')}", value)
    for name, value in verdict["churn"].items():
        if value is not None:
            tracker.log_metric(run.info.run_id, f"churn_{name}", value)
    tracker.log_metric(run.info.run_id, "bytes_per_item", verdict["bytes_per_item"])
    tracker.log_dict(run.info.run_id, verdict, "verdict.json")
    tracker.log_text(run.info.run_id, page, "gate.html")
    if verdict["slices"]:
        columns = {name: [row[name] for row in verdict["slices"]] for name in verdict["slices"][0]}
        tracker.log_table(run.info.run_id, columns, "slices.json")
        tracker.log_figure(run.info.run_id, draw_gate(verdict), "gate.png")
    tracker.set_terminated(run.info.run_id)


def draw_gate(verdict: dict[str, Any]) -> Figure:
    """A bar a slice: its recall, the lower bound as a notch, the threshold as a line."""
    rows = verdict["slices"][::-1]
    with plot_style():
        figure = Figure(figsize=(8, 1.2 + 0.32 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            failed = row["judged"] and row["lower_bound"] < row["bound"]
            colour = BAD if failed else GOOD if row["judged"] else PALE
            axes.barh(place, row["recall"], color=colour, height=0.62)
            axes.plot([row["lower_bound"]] * 2, [place - 0.31, place + 0.31], color="white", lw=2)
            axes.plot([row["bound"]] * 2, [place - 0.42, place + 0.42], color="black", lw=1)
            axes.text(1.005, place, f"{row['recall']:.3f}", va="center")
        axes.set_yticks(range(len(rows)), [f"{row['slice']}  ({row['queries']})" for row in rows])
        lowest = min(min(row["lower_bound"], row["bound"]) for row in rows)
        axes.set(
            xlim=(max(0.0, lowest - 0.1), 1.0),
            xlabel="white: lower 95 % bound    black: threshold    pale: too few queries to judge",
            title=f"recall@{verdict['k']} of {verdict['precision']} against full-space truth: "
            f"{'passed' if verdict['passed'] else 'refused'}",
        )
    return figure
