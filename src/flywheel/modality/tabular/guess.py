"""What `init-task` takes for a table that is told by its columns."""

from __future__ import annotations

from flywheel.init_task.guess import CLASS, NUMBER, Recipe

IN_TABLES = True
RECIPES = {
    CLASS: Recipe("tabular", "mlp_tabular", "tabular", optimizer={"lr": 5e-3}),
    NUMBER: Recipe("tabular_number", "mlp_tabular", "regression", optimizer={"lr": 5e-3}),
}
