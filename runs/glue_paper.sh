#!/usr/bin/env bash
# The whole paper, from bert-base-uncased: general distillation of Wikipedia, copies of the rows,
# both stages on every task, beside the baselines asked for; dev sets, five seeds.
#
#     VECTORS=glove.6B.300d.txt DIRECTORY=paper runs/glue_paper.sh
#
# TEACHER   pre-trained encoder with an output head (bert-base-uncased)
# TEXT      files, or a Hub dataset (wikimedia/wikipedia:20231101.en, streamed)
# DATA      GLUE's files (nyu-mll/glue, from the Hub)
# VECTORS   word vectors in GloVe's text format, for words of several pieces
# SYSTEMS   ("TinyBERT_4 TinyBERT_6"; all eleven: SYSTEMS="")
# TASKS     ("cola mrpc rte sts-b sst-2 qnli qqp mnli"), SEEDS (5), SEED the first (42)
# COPIES    of each row (20), JOBS cells at a time (1), DIRECTORY where everything goes (glue-paper)
# ROWS      of a task at most (all)
# Further flags of `tinybert reproduce` may follow: --dry-run, --grid (the paper's batches and
# learning rates of the last stage), ...
#
# What it costs with the defaults: general distillation of 3 epochs is 2.0e18 operations for four
# layers and 4.3e18 for six (the authors: 2,240 and 2,880 V100-hours with their code); the task
# stages of both some 5e18 a seed, MNLI and QQP most of it. Weeks on one GPU, days on several: one
# machine a task works, each with its own TASKS and DIRECTORY. The plan with its times first:
#     runs/glue_paper.sh --dry-run
# Rows are cut at 128 tokens in all tasks; the paper cuts single sentences at 64, which few reach.
#
# Stopped or killed, it goes on with the same command: finished cells are kept.
set -euo pipefail

TEACHER="${TEACHER:-bert-base-uncased}"
TEXT="${TEXT:-wikimedia/wikipedia:20231101.en}"
DATA="${DATA:-nyu-mll/glue}"
SYSTEMS="${SYSTEMS-TinyBERT_4 TinyBERT_6}"
TASKS="${TASKS:-cola mrpc rte sts-b sst-2 qnli qqp mnli}"
SEEDS="${SEEDS:-5}"
SEED="${SEED:-42}"
COPIES="${COPIES:-20}"
JOBS="${JOBS:-1}"
DIRECTORY="${DIRECTORY:-glue-paper}"
PYTHON="${PYTHON:-python}"

CORPUS="$DIRECTORY/corpus"
rows=()
if [ -n "${ROWS:-}" ]; then rows=(--rows "$ROWS"); fi
systems=()
# The lists of names are meant to be split.
# shellcheck disable=SC2206
if [ -n "$SYSTEMS" ]; then systems=(--systems $SYSTEMS); fi

reproduce() {
    # shellcheck disable=SC2086
    "$PYTHON" -m tinybert reproduce --scale paper --teacher "$TEACHER" --data "$DATA" \
        --tasks $TASKS --seeds "$SEEDS" --seed "$SEED" --jobs "$JOBS" \
        ${rows[@]+"${rows[@]}"} ${systems[@]+"${systems[@]}"} --output "$DIRECTORY/table" "$@"
}

case " $* " in
*" --dry-run "*)
    # Of raw text, and of the rows without copies, which make the stages about COPIES times as long.
    if [ -e "$CORPUS" ]; then TEXT="$CORPUS"; fi
    echo "plan without copies: with $COPIES of each row the stages on tasks are that much longer"
    reproduce --corpus "$TEXT" "$@"
    exit
    ;;
esac

mkdir -p "$DIRECTORY"
if [ ! -e "$CORPUS" ]; then
    "$PYTHON" -m tinybert corpus build --teacher "$TEACHER" --corpus "$TEXT" --output "$CORPUS" \
        --resume
fi

words=()
if [ -n "${VECTORS:-}" ]; then words=(--vectors "$VECTORS"); fi
for task in $TASKS; do
    for ((seed = SEED; seed < SEED + SEEDS; seed++)); do
        copies="$DIRECTORY/copies/$task-$seed"
        if [ ! -e "$copies" ]; then
            "$PYTHON" -m tinybert augment --task "$task" --data "$DATA" --seed "$seed" \
                --masked-lm "$TEACHER" ${words[@]+"${words[@]}"} --copies "$COPIES" \
                ${rows[@]+"${rows[@]}"} --max-length 128 --output "$copies" --resume
        fi
    done
done

reproduce --corpus "$CORPUS" --augment "$DIRECTORY/copies/{task}-{seed}" "$@"
