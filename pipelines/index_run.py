"""The tuning of the index in MLflow: every point measured, what was chosen, the picture."""

from datetime import date

from matplotlib.figure import Figure

from pipelines.settings import Settings
from pipelines.tracking import client, experiment_id, plot_style
from pipelines.tuning import Tuning

LOGGED = ("recall", "one_ms", "batched", "bytes_per_item", "build_seconds")
COLOURS = ("#2a6f97", "#c46e28", "#5a8f3c", "#8e5aa8", "#b08d1e", "#787e86", "#3d9a94", "#a8455b")


def log_index(settings: Settings, ds: date, tuning: Tuning) -> str:
    """One MLflow run a tuning; its id."""
    tracker = client(settings)
    run = tracker.create_run(
        experiment_id(settings), run_name=f"index {ds}", tags={"ds": str(ds), "step": "index"}
    )
    run_id = str(run.info.run_id)
    for name, value in settings.index.model_dump().items():
        tracker.log_param(run_id, name, value)
    tracker.log_param(run_id, "chosen", str(tuning.chosen))
    for name in LOGGED:
        tracker.log_metric(run_id, name, getattr(tuning.chosen, name))
    columns = {name: [getattr(p, name) for p in tuning.points] for name in ("engine", *LOGGED)}
    columns["effort"] = [str(dict(point.effort)) for point in tuning.points]
    tracker.log_table(run_id, columns, "points.json")
    tracker.log_figure(run_id, draw_tuning(tuning), "tuning.png")
    tracker.set_terminated(run_id)
    return run_id


def draw_tuning(tuning: Tuning) -> Figure:
    """Time of a query over recall, a line an engine: its best efforts; the choice ringed."""
    with plot_style():
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        axes = figure.subplots()
        final = [point for point in tuning.points if point.items == tuning.chosen.items]
        engines = dict.fromkeys(point.engine for point in final)
        for engine, colour in zip(engines, COLOURS, strict=False):
            best = _frontier([(p.recall, p.one_ms) for p in final if p.engine == engine])
            recall, one_ms = zip(*best, strict=True)
            axes.plot(recall, one_ms, marker="o", ms=4, lw=1.5, color=colour, label=engine)
        chosen = tuning.chosen
        axes.plot(chosen.recall, chosen.one_ms, "o", ms=13, mfc="none", mec="black", mew=1.5)
        axes.axvline(tuning.goal.recall, color="black", lw=0.8, ls=":")
        axes.set(
            yscale="log",
            xlabel="recall@10 of the engine; dotted: the goal",
            ylabel="milliseconds a query",
            title=tuning.reason,
        )
        axes.title.set_fontsize(10)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other beats in both recall and time, by recall."""
    best: list[tuple[float, float]] = []
    for recall, one_ms in sorted(points, key=lambda point: (-point[0], point[1])):
        if not best or one_ms < best[-1][1]:
            best.append((recall, one_ms))
    return best[::-1]
