#!/usr/bin/env bash
# The paper's systems and its ablations on one GPU, from text and GLUE's files to tables.
#
#     DATA=glue TEXT=wiki.txt.xz DIRECTORY=paper runs/glue_gpu.sh
#
# TEACHER   pre-trained encoder with an output head (bert-base-uncased)
# TEXT      files, or a Hub dataset (wikimedia/wikipedia:20231101.en, streamed)
# DATA      GLUE's files (nyu-mll/glue, from the Hub)
# DIRECTORY where everything goes (glue-gpu)
# TASKS     ("mrpc sts-b rte cola sst-2 mnli"), SEEDS (5), ROWS of a task at most (50,000)
# CORPUS_FLOPS (2000T), TASK_FLOPS (200T), JOBS cells at a time (8)
# SYSTEMS   of the table (all eleven)
# ABLATIONS ("losses stages mapping start"); further flags of `tinybert reproduce` may follow.
#
# What it costs: the operations asked for, 10 x 2000T + tasks x seeds x 10 x 200T = 8.0e16 for the
# systems. Students this small do not fill a card: one H200 with 12 to 15 processes made 10 TFLOP/s
# in pre-training and 3 on tasks (docs/experiments.md), so half an hour and five hours. With
# CORPUS_FLOPS=200T TASK_FLOPS=12T SEEDS=3 ROWS=20000, --starts both and --head teacher it was half
# an hour for all. As many JOBS as cores; one after another they leave the card idle, and MPS
# (nvidia-cuda-mps-control -d) lets them use it at once. See the plan before it begins:
#     DATA=glue TEXT=wiki.txt.xz runs/glue_gpu.sh --dry-run
#
# Stopped or killed, it goes on with the same command: finished cells are kept, and a table that is
# cut off holds whole comparisons.
set -euo pipefail

TEACHER="${TEACHER:-bert-base-uncased}"
TEXT="${TEXT:-wikimedia/wikipedia:20231101.en}"
DATA="${DATA:-nyu-mll/glue}"
DIRECTORY="${DIRECTORY:-glue-gpu}"
TASKS="${TASKS:-mrpc sts-b rte cola sst-2 mnli}"
SEEDS="${SEEDS:-5}"
ROWS="${ROWS:-50000}"
CORPUS_FLOPS="${CORPUS_FLOPS:-2000T}"
TASK_FLOPS="${TASK_FLOPS:-200T}"
JOBS="${JOBS:-8}"
SYSTEMS="${SYSTEMS-}"
ABLATIONS="${ABLATIONS-losses stages mapping start}"
PYTHON="${PYTHON:-python}"

CORPUS="$DIRECTORY/corpus"
mkdir -p "$DIRECTORY"
if [ ! -e "$CORPUS" ]; then
    "$PYTHON" -m tinybert corpus build --teacher "$TEACHER" --corpus "$TEXT" --output "$CORPUS" \
        --resume
fi

reproduce() {
    # The lists of names are meant to be split.
    # shellcheck disable=SC2086
    "$PYTHON" -m tinybert reproduce --teacher "$TEACHER" --corpus "$CORPUS" --data "$DATA" \
        --tasks $TASKS --seeds "$SEEDS" --rows "$ROWS" --corpus-flops "$CORPUS_FLOPS" \
        --task-flops "$TASK_FLOPS" --jobs "$JOBS" "$@"
}

systems=()
# shellcheck disable=SC2206
if [ -n "$SYSTEMS" ]; then systems=(--systems $SYSTEMS); fi
reproduce --output "$DIRECTORY/systems" ${systems[@]+"${systems[@]}"} "$@"
# In the same directory: the whole method's cells are made once.
for ablation in $ABLATIONS; do
    reproduce --ablation "$ablation" --output "$DIRECTORY/systems" "$@"
done
