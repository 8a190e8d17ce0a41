"""The reducer's curve in MLflow: the table, the metrics of the choice, the picture."""

from collections.abc import Callable
from datetime import date

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.curve import Curve, Point
from pipelines.settings import Settings
from pipelines.tracking import client, experiment_id, plot_style

COLOURS = {"pca": "#2a6f97", "whiten": "#c46e28", "truncate": "#787e86"}
LOWEST = 0.5  # of the axes: what is worse than this is of no use


def log_curve(settings: Settings, ds: date, curve: Curve, chosen: str) -> str:
    """One MLflow run a curve; its id. `chosen` is the text of a point, such as `pca 96`."""
    tracker = client(settings)
    run = tracker.create_run(
        experiment_id(settings), run_name=f"reduce {ds}", tags={"ds": str(ds), "step": "reduce"}
    )
    for name, value in settings.reduce.model_dump().items():
        tracker.log_param(run.info.run_id, name, value)
    tracker.log_param(run.info.run_id, "chosen", chosen)
    for point in curve.points:
        if str(point) == chosen:
            tracker.log_metric(run.info.run_id, "dimensions", point.dimensions)
            tracker.log_metric(run.info.run_id, "compression", curve.width / point.dimensions)
            tracker.log_metric(run.info.run_id, "loss", point.loss)
            tracker.log_metric(run.info.run_id, "recall", point.recall)
    table = curve.to_json()["points"]
    columns = {name: [row[name] for row in table] for name in table[0]}
    tracker.log_table(run.info.run_id, columns, "curve.json")
    tracker.log_figure(run.info.run_id, draw_curve(settings, curve, chosen), "curve.png")
    tracker.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def draw_curve(settings: Settings, curve: Curve, chosen: str) -> Figure:
    """Quality beside the neighbours kept, over the dimensions; each with its bound as a line."""
    with plot_style():
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw(left, curve, chosen, lambda point: 1 - point.loss)
        left.axhline(1 - curve.bounds.max_loss, color="black", lw=0.8, ls=":")
        left.set_title("quality, as a share of the full space's")
        _draw(right, curve, chosen, lambda point: point.floor)
        right.axhline(curve.bounds.min_recall, color="black", lw=0.8, ls=":")
        right.set_title(f"recall@{settings.gate.k} kept, less twice its 95 % margin")
        left.legend(frameon=False, loc="lower right")
        figure.suptitle(
            f"{chosen} of {curve.width} dimensions, by {curve.queries} queries among "
            f"{curve.items} items; dotted: the least that passes"
        )
    return figure


def _draw(axes: Axes, curve: Curve, chosen: str, height: Callable[[Point], float]) -> None:
    """A line a method, and a ring around the choice."""
    for method in dict.fromkeys(point.method for point in curve.points):
        own = [point for point in curve.points if point.method == method]
        widths, heights = [p.dimensions for p in own], [height(p) for p in own]
        axes.plot(widths, heights, ".-", color=COLOURS[method], label=method)
    for point in curve.points:
        if str(point) == chosen:
            axes.plot(point.dimensions, height(point), "o", ms=11, mfc="none", mec="black")
    ticks = sorted({point.dimensions for point in curve.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    lowest = min(height(point) for point in curve.points)
    axes.set(xlabel="dimensions", ylim=(max(LOWEST, lowest - 0.02), None))
