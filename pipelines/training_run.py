"""The MLflow run of a training: parameters, curves, accuracy, what each space is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from model.loop import Epoch
from model.retrieval import Vectors
from pipelines.evaluation import Evaluation
from pipelines.evaluation_figures import draw_evaluation, draw_spaces
from pipelines.exam import Exam
from pipelines.settings import Settings
from pipelines.tracking import client, experiment_id, plot_style

RUN_FILE = "mlflow_run.txt"
EMBEDDED, BEFORE_METRIC = "embedding", "before the metric stage"  # spaces that are compared

Spaces = Mapping[str, Vectors]  # of the exam's photos, by name


@dataclass(frozen=True)
class TrainingRun:
    """The MLflow run of one training; a resumed training goes on in the same run."""

    settings: Settings
    run_id: str

    @classmethod
    def start(cls, settings: Settings, ds: date, checkpoints: Path) -> "TrainingRun":
        """Open the run that `checkpoints` names, or a new one."""
        tracker = client(settings)
        file = checkpoints / RUN_FILE
        if file.is_file():
            return cls(settings, file.read_text())
        run = tracker.create_run(
            experiment_id(settings), run_name=f"train {ds}", tags={"ds": str(ds), "step": "train"}
        )
        for name, value in settings.train.model_dump().items():
            tracker.log_param(run.info.run_id, name, value)
        tracker.log_param(run.info.run_id, "pixel_spec", settings.preprocess.pixel_spec)
        checkpoints.mkdir(parents=True, exist_ok=True)
        file.write_text(run.info.run_id)
        return cls(settings, run.info.run_id)

    def log_epoch(self, epoch: Epoch) -> None:
        tracker = client(self.settings)
        values = {
            "loss": epoch.loss,
            "images_per_second": epoch.images_per_second,
            **{f"val_{level}": value for level, value in epoch.validation.items()},
        }
        for name, value in values.items():
            tracker.log_metric(self.run_id, name, value, step=epoch.epoch)

    def log_evaluation(self, evaluation: Evaluation, exam: Exam, vectors: Spaces) -> None:
        """The table of all spaces, its plot, and what each space finds, as a picture."""
        tracker = client(self.settings)
        for name, value in evaluation.metrics(EMBEDDED).items():
            tracker.log_metric(self.run_id, name, value)
        titles, rows = evaluation.rows()
        if not rows:
            return  # a shop without photos to ask with
        columns = {title: [row[n] for row in rows] for n, title in enumerate(titles)}
        tracker.log_table(self.run_id, columns, "evaluation.json")
        tracker.log_figure(self.run_id, draw_evaluation(evaluation), "evaluation.png")
        by_layer = {name: found for name, found in vectors.items() if name != BEFORE_METRIC}
        sheet = draw_spaces(exam, by_layer, title="Neighbours by layer")
        tracker.log_image(self.run_id, sheet, "neighbours_by_layer.png")
        if BEFORE_METRIC in vectors:
            pair = {name: vectors[name] for name in (BEFORE_METRIC, EMBEDDED)}
            sheet = draw_spaces(exam, pair, title="Neighbours before and after the metric stage")
            tracker.log_image(self.run_id, sheet, "neighbours_metric_stage.png")

    def finish(
        self,
        history: list[Epoch],
        accuracy: dict[str, float],
        confusion: npt.NDArray[np.int64],
    ) -> None:
        tracker = client(self.settings)
        logged = {point.step for point in tracker.get_metric_history(self.run_id, "loss")}
        for epoch in history:
            if epoch.epoch not in logged:  # killed between its checkpoint and here
                self.log_epoch(epoch)
        for level, value in accuracy.items():
            tracker.log_metric(self.run_id, f"test_{level}", value)
        tracker.log_figure(self.run_id, draw_curves(history), "curves.png")
        tracker.log_figure(self.run_id, draw_confusion(confusion), "confusion.png")
        tracker.set_terminated(self.run_id)


def draw_curves(history: list[Epoch]) -> Figure:
    """Loss beside the validation accuracy of every level."""
    with plot_style():
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        epochs = [epoch.epoch + 1 for epoch in history]
        left.plot(epochs, [epoch.loss for epoch in history], color="#2a6f97")
        left.set(title="training loss", xlabel="epoch")
        for level in history[-1].validation:
            right.plot(epochs, [epoch.validation[level] for epoch in history], label=level)
        right.set(title="validation accuracy", xlabel="epoch", ylim=(0, 1))
        if history[-1].validation:
            right.legend(frameon=False)
    return figure


def draw_confusion(confusion: npt.NDArray[np.int64]) -> Figure:
    """Rows are true leaves, columns predicted ones, each row as shares."""
    with plot_style():
        figure = Figure(figsize=(6, 5.4), layout="constrained")
        axes = figure.subplots()
        shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="magma_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set(title="leaf confusion, test split", xlabel="predicted", ylabel="true")
        figure.colorbar(image, label="share of the true leaf")
    return figure
