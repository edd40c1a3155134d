"""What `init-task` takes for a table that is told by its columns."""

from __future__ import annotations

from flywheel.init_task.guess import CLASS, NUMBER, Recipe

IN_TABLES = True
WHY = "of 16 tables, above the best of three usual models on 4 and below on 1 (bench tables)"
# bench/RESULTS.md, "tables", compares the models. AdamW's rate is for whoever takes a network instead.
RECIPES = {
    CLASS: Recipe("tabular", "boosted_trees", "tabular", optimizer={"lr": 5e-3}, why=WHY),
    NUMBER: Recipe("tabular_number", "boosted_trees", "regression", optimizer={"lr": 5e-3}, why=WHY),
}
