#!/usr/bin/env bash
# The paper's systems and ablations in hours of a laptop, from a sentence encoder and text.
#
#     TEXT="wiki.txt.xz books.txt.xz" DATA=glue DIRECTORY=small runs/glue_small.sh
#
# ENCODER   pre-trained encoder (default: the one of `tinybert demo`, 6 layers x 384)
# TEXT      files, or a Hub dataset (wikimedia/wikipedia:20231101.en, streamed)
# DATA      GLUE's files (nyu-mll/glue, from the Hub), TASKS ("sts-b mrpc"), SEEDS (3)
# DIRECTORY where everything goes (glue-small), JOBS cells at a time (2)
# HEAD_STEPS, MLM_STEPS of batches of 64 for the encoder's output head (200, 400)
# CORPUS_FLOPS (100T), TASK_FLOPS (20T), CORPUS_BATCH and TASK_BATCH (16), HEAD (teacher): for
#           each system, see docs/how-to/reproduce.md
# ABLATIONS ("start losses mapping stages"), on the teacher's start but for `start` itself
# Further flags of `tinybert reproduce` may follow: --dry-run, ...
#
# What it costs: operations are systems with their starts (15) x (100T + tasks x seeds x 20T) =
# 3.3e15, ablations half as much. A core with AVX2 makes 45 to 75 GFLOP/s, one with AVX-512 about
# 100, with bfloat16 several times that. Stopped or killed, it goes on with the same command.
set -euo pipefail

PYTHON="${PYTHON:-python}"
ENCODER="${ENCODER:-$("$PYTHON" -c 'from tinybert.demo_teacher import demo_teacher_path
print(demo_teacher_path())')}"
TEXT="${TEXT:-wikimedia/wikipedia:20231101.en}"
DATA="${DATA:-nyu-mll/glue}"
TASKS="${TASKS:-sts-b mrpc}"
SEEDS="${SEEDS:-3}"
DIRECTORY="${DIRECTORY:-glue-small}"
JOBS="${JOBS:-2}"
HEAD_STEPS="${HEAD_STEPS:-200}"
MLM_STEPS="${MLM_STEPS:-400}"
CORPUS_FLOPS="${CORPUS_FLOPS:-100T}"
TASK_FLOPS="${TASK_FLOPS:-20T}"
CORPUS_BATCH="${CORPUS_BATCH:-16}"
TASK_BATCH="${TASK_BATCH:-16}"
HEAD="${HEAD:-teacher}"
ABLATIONS="${ABLATIONS-start losses mapping stages}"

CORPUS="$DIRECTORY/corpus"
TEACHER="$DIRECTORY/teacher"
TABLE="$DIRECTORY/table"
dry=()
case " $* " in *" --dry-run "*) dry=(--dry-run) ;; esac
# The lists of names and files are meant to be split.
# shellcheck disable=SC2086
if [ ! -e "$CORPUS" ]; then
    "$PYTHON" -m tinybert corpus build --teacher "$ENCODER" --corpus $TEXT --output "$CORPUS" \
        --resume ${dry[@]+"${dry[@]}"}
fi
if [ ! -e "$TEACHER" ]; then
    if [ ! -e "$CORPUS" ]; then CORPUS="$TEXT"; fi # a dry run, of raw text
    # shellcheck disable=SC2086
    "$PYTHON" -m tinybert mlm --model "$ENCODER" --corpus $CORPUS --head-steps "$HEAD_STEPS" \
        --steps "$MLM_STEPS" --learning-rate 3e-4 --evaluations 2 --output "$TEACHER" --resume \
        ${dry[@]+"${dry[@]}"}
    if [ -n "${dry[*]-}" ]; then
        echo "the table's plan needs this teacher: ask for it again when $TEACHER is there"
        exit
    fi
fi

reproduce() {
    # shellcheck disable=SC2086
    "$PYTHON" -m tinybert reproduce --teacher "$TEACHER" --corpus "$CORPUS" --data "$DATA" \
        --tasks $TASKS --seeds "$SEEDS" --teacher-learning-rate 1e-4 --jobs "$JOBS" \
        --corpus-flops "$CORPUS_FLOPS" --task-flops "$TASK_FLOPS" --corpus-batch "$CORPUS_BATCH" \
        --task-batch "$TASK_BATCH" --head "$HEAD" --output "$TABLE" "$@"
}

reproduce --starts both "$@"
for ablation in $ABLATIONS; do
    starts=teacher
    if [ "$ablation" = start ]; then starts=own; fi
    reproduce --ablation "$ablation" --starts "$starts" "$@"
done
