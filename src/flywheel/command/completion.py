"""Completion in bash of `python -m flywheel.train`; Hydra's own completes programs and scripts, but no `python -m`.

Hydra finds the candidates: groups, their options, keys. `flywheel` itself is completed by Typer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from flywheel.project.errors import ConfigError

FLAGS = ("--shell-completion", "-sc")
INSTALL = """\
_flywheel_train() {
    local typed="${COMP_LINE:0:$COMP_POINT}"
    [[ $typed =~ ^[^[:space:]]*python[0-9.]*[[:space:]]+-m[[:space:]]+flywheel\\.train[[:space:]] ]] || return 0
    local words
    words=$(COMP_LINE="$typed" "${COMP_WORDS[0]}" -m flywheel.train --shell-completion query=bash 2>/dev/null)
    COMPREPLY=($(compgen -W "$words" -- "${typed##* }"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o bashdefault -o default -F _flywheel_train python python3"""
UNINSTALL = "complete -r python python3; unset -f _flywheel_train"


def script(words: Sequence[str]) -> str | None:
    """What `--shell-completion` prints to install or remove completion; None where candidates are asked for.

    Args:
        words: The arguments of the command line.

    Raises:
        ConfigError: Another shell or another word is asked for.
    """
    asked = [word for word in words if word not in FLAGS]
    if asked == ["query=bash"]:
        # Hydra takes one word for the program.
        line = re.sub(r"^\S+\s+-m\s+", "", os.environ.get("COMP_LINE", ""))
        os.environ["COMP_LINE"] = line
        return None
    if asked in (["install=bash"], ["uninstall=bash"]):
        return INSTALL if asked == ["install=bash"] else UNINSTALL
    hint = 'eval "$(python -m flywheel.train --shell-completion install=bash)"; for other shells there is none'
    raise ConfigError(
        f"{' '.join(asked) or 'nothing'} is not known", where="--shell-completion", fix=f"in bash: {hint}"
    )
