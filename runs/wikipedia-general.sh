#!/usr/bin/env bash
# A general student of BERT_BASE from English Wikipedia, on any number of machines.
#
# The same command on every machine; they share one disk (DIRECTORY):
#
#     NODES=4 NODE=0 MASTER=first-host DIRECTORY=/shared/tinybert runs/wikipedia-general.sh
#
# NODES     machines (1)                    NODE       number of this one, from 0 (0)
# MASTER    name of machine 0 (localhost)   PORT       free port there (29500)
# PROCESSES processes a machine; default: its GPUs, or 1
# TEACHER   (bert-base-uncased)             STUDENT    (4x312)
# TEXT      (wikimedia/wikipedia:20231101.en, streamed from the Hugging Face Hub)
# DIRECTORY where everything goes (wikipedia)
# Further flags of `tinybert general` may follow: --tokens 1G, --learning-rate 5e-4, …; without one
# that says how long, three epochs, the paper's.
#
# What it costs, for 3 epochs of 3.3 G tokens, blocks of 128 tokens:
#   operations = 9.9e9 / 128 x (22.35e9 teacher + 3 x 1.25e9 student) = 2.0e18
#   on GPUs that reach 300 TFLOP/s in bfloat16: 1.9 GPU-hours of arithmetic alone. Reading, small
#   kernels and the optimiser come on top: expect several times that. Measure before, on one GPU:
#       tinybert general --teacher bert-base-uncased --corpus wikipedia/corpus --student 4x312 \
#           --output wikipedia/general --dry-run
#   and divide its time by the number of GPUs.
#   Disk: 6.6 GB for the corpus (two bytes a token), 2 GB for checkpoints.
#   Building the corpus: 3.3e9 tokens at 300,000 a second on two cores, 3 hours; more cores, less.
#
# Stopped or killed, it goes on with the same command: finished parts are kept.
set -euo pipefail

NODES="${NODES:-1}"
NODE="${NODE:-0}"
MASTER="${MASTER:-localhost}"
PORT="${PORT:-29500}"
TEACHER="${TEACHER:-bert-base-uncased}"
STUDENT="${STUDENT:-4x312}"
TEXT="${TEXT:-wikimedia/wikipedia:20231101.en}"
DIRECTORY="${DIRECTORY:-wikipedia}"
PYTHON="${PYTHON:-python}"

if [ -z "${PROCESSES:-}" ]; then
    PROCESSES="$("$PYTHON" -c 'import torch; print(max(1, torch.cuda.device_count()))')"
fi

CORPUS="$DIRECTORY/corpus"
STUDENT_DIRECTORY="$DIRECTORY/general"
mkdir -p "$DIRECTORY"

# Machine 0 builds the corpus, the others wait for it. It appears when it is whole.
FAILED="$DIRECTORY/corpus.failed"
if [ "$NODE" = 0 ] && [ ! -e "$CORPUS" ]; then
    rm -f "$FAILED"
    trap 'touch "$FAILED"' ERR
    "$PYTHON" -m tinybert corpus build --teacher "$TEACHER" --corpus "$TEXT" --output "$CORPUS" \
        --resume
    trap - ERR
fi
while [ ! -e "$CORPUS/corpus.json" ]; do
    if [ -e "$FAILED" ]; then
        echo "machine 0 could not build the corpus" >&2
        exit 1
    fi
    sleep 10
done

if [ -e "$STUDENT_DIRECTORY" ]; then
    echo "$STUDENT_DIRECTORY is there already" >&2
    exit 0
fi

# The paper's batch of 256 blocks over all processes. At lambda 0.1 the attention term does not
# drown the others (docs/experiments.md); --attention-weight 1 is the paper's.
exec "$PYTHON" -m torch.distributed.run \
    --nnodes "$NODES" --node-rank "$NODE" --nproc-per-node "$PROCESSES" \
    --master-addr "$MASTER" --master-port "$PORT" \
    -m tinybert general --teacher "$TEACHER" --corpus "$CORPUS" --student "$STUDENT" \
    --attention-weight 0.1 --dropout 0 --batch-size 256 --learning-rate 6e-4 \
    --output "$STUDENT_DIRECTORY" --resume "$@"
