"""Run benchmarks: `python -m bench` for all, `python -m bench training startup` for some; then write RESULTS.md.

`compression:fashion` and `loop:fashion` run one task of those two; the rest of the table is kept.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

from bench.record import Table

FOLDER = Path(__file__).parent
HEAD = """# What was measured

Written by `make bench` (`python -m bench NAME` runs one) from bench/results/; what each measures stands in its file.
Machine of the last run: 2 cores, 24 GiB, no GPU, shared with other work, so read the ratios: each peer ran in the same
run, interleaved. No figure here was taken on a GPU.
"""


def main(names: list[str]) -> int:
    """Run the named benchmarks, print and keep their tables."""
    known = sorted(file.stem.removeprefix("bench_") for file in FOLDER.glob("bench_*.py"))
    unknown = [name for name in names if name.partition(":")[0] not in known]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        print(f"{name} ...", flush=True)
        name, _, part = name.partition(":")
        module = importlib.import_module(f"bench.bench_{name}")
        if part and part not in getattr(module, "TASKS", ()):
            print(f"{name} has no part '{part}'; it has: {', '.join(getattr(module, 'TASKS', ()))}", file=sys.stderr)
            return 2
        measure = module.main
        table: Table = measure(part) if part else measure()
        table.save()
        print("\n" + table.markdown(), flush=True)
    write_results(known)
    return 0


def write_results(names: list[str]) -> None:
    """Write RESULTS.md from the kept tables."""
    parts = [HEAD]
    for name in names:
        table = Table.load(name)
        if table is not None:
            tree = ast.parse((FOLDER / f"bench_{name}.py").read_text())
            said = (ast.get_docstring(tree) or "").replace("\n\n", "\n")
            parts.append(f"## {name}\n\n{said}\n\n{table.markdown()}")
            notes = FOLDER / "results" / f"{name}.md"
            if notes.is_file():
                parts.append(notes.read_text())
    (FOLDER / "RESULTS.md").write_text("\n".join(parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
