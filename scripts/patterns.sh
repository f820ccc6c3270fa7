#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# patterns.sh - writes docs/patterns.md: every mechanism, what it is, and what it compiles to.
#
# LAPPET names the command. One processor level, and counts instead of times: the same on every machine. What
# bench/patterns.sh measured stands behind it and stays.
set -eu
cd "$(dirname "$0")/.."
lappet=${LAPPET:-build/lappet}
export LAPPET_PLUGINS="$PWD/plugins"
cpu=x86-64-v3
out=docs/patterns.md
rows=$(mktemp)
trap 'rm -f "$rows" "$rows.one" "$rows.measured"' EXIT
sed -n '/^## Beside plain PyTorch/,$p' $out > "$rows.measured"

field() { sed -n "s/^$1: //p" "$rows.one" | sed 's/|/\\|/g'; }

for file in plugins/*.lua; do
    slug=$(basename "$file" .lua)
    [ "$slug" != attention ] || continue      # the built-in one
    "$lappet" info "$slug" > "$rows.one"
    paper=$(field paper) doc=$(field doc) family=$(field family) authors=$(field authors) year=$(field year)
    by=${authors:+ ($authors${year:+ $year})}
    parameters=$(awk '/^[^ ]/ { inside = $1 == "parameters" } inside && /^  / { n++ }
        END { print n + 0 }' "$rows.one")
    "$lappet" dump "$slug" --stage fused --cpu $cpu > "$rows.one"
    launches=$(wc -l < "$rows.one")
    kernels=$(cut -d' ' -f1 "$rows.one" | sort -u | wc -l)
    echo "| \`$slug\` | $paper$by: $doc | $family | $parameters | $kernels | $launches |" >> "$rows"
done

{
    cat <<TEXT
# Patterns

The $(wc -l < "$rows") mechanisms of \`plugins/\`, beside the built-in \`attention\`. Written by
\`scripts/patterns.sh\`; do not edit.

- Kernels: different ones after fusion, at the default parameters. Equal layers share theirs.
- Launches: lines of \`lappet dump SLUG --stage fused --cpu $cpu\`. Packing of weights counts, though it runs
  once; steps inside a loop count once.

| slug | paper, and what of it | family | parameters | kernels | launches |
|---|---|---|---:|---:|---:|
TEXT
    cat "$rows"
    if [ -s "$rows.measured" ]; then
        echo
        cat "$rows.measured"
    fi
} > $out.new
mv $out.new $out
