"""Silhouettes of shoes and boots, seen from the side."""

from __future__ import annotations

from pipelines.sample.sketch import Sketch, box, curve, rounded


def trainer(s: Sketch) -> None:
    sole = s.vary(0.06, 0.09)
    upper = [
        (0.08, 0.40),
        (0.10, 0.38),
        (0.16, 0.44),
        (0.27, 0.42),
        (0.35, 0.34),
        (0.42, 0.33),
        (0.62, 0.50),
    ]
    upper += [
        (0.80, 0.545),
        (0.92, 0.61),
        (0.95, 0.70),
        (0.95, 0.70),
        (0.08, 0.70),
        (0.08, 0.70),
        (0.09, 0.55),
    ]
    s.fill(curve(upper, closed=True), depth=0.045)
    toe = [
        (0.95, 0.71),
        (0.95, 0.68),
        (0.91, 0.60),
        (0.80, 0.55),
        (0.76, 0.63),
        (0.74, 0.71),
        (0.74, 0.71),
    ]
    s.fill(curve(toe, closed=True), role="accent", depth=0.03)
    s.fill(
        curve([(0.07, 0.70), (0.08, 0.50), (0.17, 0.53), (0.22, 0.70)], closed=True),
        role="accent",
        depth=0.02,
    )
    s.fill(
        curve([(0.33, 0.36), (0.42, 0.32), (0.63, 0.50), (0.56, 0.55)], closed=True),
        role="trim",
        depth=0.02,
    )
    laces = [
        [(0.36 + 0.055 * i, 0.40 + 0.042 * i), (0.43 + 0.055 * i, 0.345 + 0.045 * i)]
        for i in range(4)
    ]
    s.line(*laces, width=0.016, role="accent", depth=0.01)
    s.fill(
        rounded([(0.05, 0.68), (0.97, 0.68), (0.97, 0.69 + sole), (0.07, 0.69 + sole)], 0.035),
        role="trim",
        depth=0.025,
    )
    s.mark(0.44, 0.60, 0.11)


def heel(s: Sketch) -> None:
    tall = s.vary(0.0, 0.10)
    rise = 0.30 - tall
    s.fill(
        rounded([(0.09, rise + 0.16), (0.20, rise + 0.20), (0.15, 0.80), (0.11, 0.80)], 0.01),
        role="accent",
        depth=0.02,
    )
    upper = [
        (0.07, rise + 0.10),
        (0.11, rise),
        (0.20, rise + 0.06),
        (0.34, 0.42),
        (0.52, 0.58),
        (0.70, 0.60),
    ]
    upper += [
        (0.90, 0.72),
        (0.95, 0.80),
        (0.95, 0.80),
        (0.66, 0.80),
        (0.48, 0.72),
        (0.30, 0.52),
        (0.17, rise + 0.20),
    ]
    s.fill(curve(upper, closed=True), depth=0.035)
    sole = [
        (0.08, rise + 0.17),
        (0.17, rise + 0.215),
        (0.30, 0.535),
        (0.48, 0.735),
        (0.66, 0.81),
        (0.95, 0.81),
    ]
    s.line(curve(sole), width=0.022, role="trim", depth=0.012)


def ankle_boot(s: Sketch) -> None:
    top = s.vary(0.20, 0.27)
    shaft = [
        (0.15, top),
        (0.15, top),
        (0.45, top),
        (0.45, top),
        (0.47, 0.46),
        (0.60, 0.56),
        (0.83, 0.61),
        (0.92, 0.72),
    ]
    s.fill(
        curve(
            [*shaft, (0.92, 0.76), (0.92, 0.76), (0.13, 0.76), (0.13, 0.76), (0.14, 0.5)],
            closed=True,
        ),
        depth=0.045,
    )
    gusset = [(0.26, top + 0.03), (0.36, top + 0.03), (0.37, 0.50), (0.31, 0.55), (0.25, 0.50)]
    s.fill(rounded(gusset, 0.02), role="accent", depth=0.015)
    s.line([(0.14, top + 0.05), (0.135, top - 0.045)], width=0.03, role="trim", depth=0.012)
    s.fill(box(0.10, 0.75, 0.94, 0.795, radius=0.02), role="trim", depth=0.015)
    s.fill(
        rounded([(0.11, 0.785), (0.34, 0.785), (0.32, 0.87), (0.13, 0.87)], 0.012),
        role="trim",
        depth=0.02,
    )


def wellington(s: Sketch) -> None:
    width = s.vary(0.35, 0.40)
    edge = 0.18 + width
    boot = [
        (0.18, 0.06),
        (0.18, 0.06),
        (edge, 0.06),
        (edge, 0.06),
        (edge - 0.03, 0.45),
        (edge - 0.02, 0.64),
    ]
    boot += [
        (0.68, 0.72),
        (0.84, 0.78),
        (0.89, 0.90),
        (0.89, 0.90),
        (0.17, 0.90),
        (0.17, 0.90),
        (0.20, 0.70),
        (0.21, 0.45),
    ]
    s.fill(curve(boot, closed=True), depth=0.06)
    s.fill(box(0.17, 0.04, edge + 0.01, 0.105, radius=0.015), role="accent", depth=0.02)
    s.line(
        curve([(0.19, 0.80), (0.40, 0.78), (0.60, 0.76), (0.74, 0.745)]),
        width=0.018,
        role="accent",
        depth=0.01,
    )
    s.fill(box(0.15, 0.885, 0.91, 0.945, radius=0.025), role="trim", depth=0.02)
    s.mark(0.36, 0.24, 0.11)
