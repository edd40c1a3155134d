#!/bin/sh
# Runs one stage for dvc.yaml: stage.sh VERB [TASK], from the project's root.
#
# DVC runs stages also in copies of the project (.dvc/tmp/exps), where an editable install would import the main
# checkout's code: PYTHONPATH makes each copy use its own src/. DVC_ROOT is the main checkout, where .venv is, so that
# `.venv/bin/dvc repro` works without the environment being activated.
verb=$1 task=$2
python="${DVC_ROOT:-.}/.venv/bin/python"
[ -x "$python" ] || python=python3
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m "flywheel.$verb" ${task:+--task "$task"}
