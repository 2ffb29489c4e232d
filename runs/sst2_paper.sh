#!/usr/bin/env bash
# One task of the paper on one GPU in hours: SST-2 from the authors' published general student.
#
#     VECTORS=glove.6B.300d.txt DATA=glue DIRECTORY=sst2 runs/sst2_paper.sh
#
# TEACHER   pre-trained encoder, fine-tuned here first (bert-base-uncased)
# STUDENT   general student: a Hub name, or a directory of your own
#           (huawei-noah/TinyBERT_General_4L_312D; 6L_768D is there too)
# MASKED_LM guesses words for the copies (bert-base-uncased), VECTORS word vectors for words of
#           several pieces, in GloVe's text format
# TASK      (sst-2), DATA GLUE's files (nyu-mll/glue, from the Hub), SEED (42)
# COPIES    of each row (20), LENGTH in tokens (64: single sentences; pairs 128)
# STATES    epochs on states (20; CoLA 50; MNLI, QQP and QNLI 10), PREDICTIONS on predictions (3)
# DIRECTORY where everything goes (TASK-paper)
# Further flags of `tinybert distill` may follow: --dry-run, --token-budget 32768, ...
#
# What it costs: 67,349 rows become some 1.4 million with their copies, of 13 tokens or so. 20 epochs
# on states are 3.7e8 tokens x (170e6 teacher + 3 x 9.5e6 student) = 7e16 operations, the copies
# 2e15: half an hour of arithmetic at 50 TFLOP/s, hours with small kernels, words and evaluations.
# See the plan before: runs/sst2_paper.sh --dry-run
#
# Stopped or killed, it goes on with the same command.
set -euo pipefail

TASK="${TASK:-sst-2}"
TEACHER="${TEACHER:-bert-base-uncased}"
STUDENT="${STUDENT:-huawei-noah/TinyBERT_General_4L_312D}"
MASKED_LM="${MASKED_LM:-bert-base-uncased}"
DATA="${DATA:-nyu-mll/glue}"
SEED="${SEED:-42}"
COPIES="${COPIES:-20}"
LENGTH="${LENGTH:-64}"
STATES="${STATES:-20}"
PREDICTIONS="${PREDICTIONS:-3}"
DIRECTORY="${DIRECTORY:-$TASK-paper}"
PYTHON="${PYTHON:-python}"

AUGMENTED="$DIRECTORY/copies"
copies() {
    words=()
    if [ -n "${VECTORS:-}" ]; then words=(--vectors "$VECTORS"); fi
    "$PYTHON" -m tinybert augment --task "$TASK" --data "$DATA" --seed "$SEED" \
        --masked-lm "$MASKED_LM" ${words[@]+"${words[@]}"} --copies "$COPIES" \
        --max-length "$LENGTH" --output "$AUGMENTED" "$@"
}

# The paper's values: λ of attention is 1, batches of 32, 5e-5 on states and 3e-5 on predictions.
distil() {
    "$PYTHON" -m tinybert distill --teacher "$TEACHER" --task "$TASK" --data "$DATA" \
        --seed "$SEED" --student "$STUDENT" --max-length "$LENGTH" --batch-size 32 \
        --intermediate-epochs "$STATES" --intermediate-learning-rate 5e-5 \
        --prediction-epochs "$PREDICTIONS" --prediction-learning-rate 3e-5 \
        --output "$DIRECTORY/student" --resume "$@"
}

case " $* " in
*" --dry-run "*)
    copies --dry-run
    echo "plan without copies: with $COPIES of each row the epochs are that much longer"
    distil "$@"
    exit
    ;;
esac

mkdir -p "$DIRECTORY"
if [ ! -e "$AUGMENTED" ]; then copies --resume; fi
distil --augment "$AUGMENTED" "$@"
