#!/usr/bin/env bash
# Stages 4 and 5 at once, a device each where there are two:
#   tools/builtin_voice/train.sh DATA OUT T2S_MINUTES DECODER_MINUTES [T2S_DEVICE] [DECODER_DEVICE]
# First both are tried for seconds, so that a mistake costs no more than that.
set -euo pipefail
data=$1 out=$2 t2s_minutes=$3 decoder_minutes=$4 first=${5:-cuda:0} second=${6:-cuda:0}
here="$(cd "$(dirname "$0")/../.." && pwd)"
export PYTHONPATH="$here/src:$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"
try=$(mktemp -d)
"${PYTHON:-python3}" -m tools.builtin_voice.train_t2s --data "$data" --minutes 0.1 \
  --output "$try/t2s.pt" --device "$first" &
t2s=$!
"${PYTHON:-python3}" -m tools.builtin_voice.train_decoder --data "$data" --minutes 0.2 \
  --output "$try/decoder" --device "$second"
wait $t2s
"${PYTHON:-python3}" -m tools.builtin_voice.train_t2s --data "$data" --minutes "$t2s_minutes" \
  --output "$out/t2s.pt" --device "$first" &
t2s=$!
"${PYTHON:-python3}" -m tools.builtin_voice.train_decoder --data "$data" --minutes "$decoder_minutes" \
  --output "$out" --device "$second"
wait $t2s
