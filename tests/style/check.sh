#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh - rules of the house that a machine can see; run in the root of the source tree.
set -u
bad=0
say() { echo "style: $1"; bad=1; }
sources() { find "$@" \( -name '*.c' -o -name '*.h' -o -name '*.def' \) 2>/dev/null; }
compiler="runtime ir passes codegen frontends"

# Includes point only to the folder itself or to those before it.
for folder in runtime ir passes codegen frontends; do
    case $folder in
    runtime) allowed="runtime" ;;
    ir) allowed="runtime|ir" ;;
    *) allowed="$allowed|$folder" ;;
    esac
    found=$(sources $folder | xargs grep -nE '^#include "' 2>/dev/null | grep -vE "#include \"($allowed)/")
    [ -z "$found" ] || say "an include of $folder/ points outside $allowed:
$found"
done
# Small files, licences.
for file in $(sources $compiler tests bench examples); do
    lines=$(wc -l < "$file")
    [ "$lines" -le 600 ] || say "$file has $lines lines, more than 600"
    head -3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || say "$file does not name its licence"
done
for file in plugins/*.lua examples/*.lua; do
    lines=$(wc -l < "$file")
    [ "$lines" -le 150 ] || say "$file has $lines lines, more than 150"
done

# Short functions: in C up to the first brace that closes in column 1, in Lua up to the `end` below the
# first letter of the line that opens it.
tracked() { git ls-files "$@" 2>/dev/null; }
found=$(tracked '*.c' '*.h' | xargs awk '
    FNR == 1 { start = 0 }
    /^\{/ { start = FNR }
    /^\}/ && start { if (FNR - start > 61) print FILENAME ":" start; start = 0 }')
[ -z "$found" ] || say "functions of more than 60 lines:
$found"
found=$(tracked '*.lua' | xargs awk '
    FNR == 1 { start = 0 }
    !start && /(^|[^a-z_])function[^a-z_]/ && !/[^a-z_]end[^a-z_]*$/ {
        start = FNR
        indent = match($0, /[^ ]/)
    }
    start && FNR > start && /^ *end([^a-z_]|$)/ && match($0, /[^ ]/) == indent {
        if (FNR - start > 61) print FILENAME ":" start
        start = 0
    }')
[ -z "$found" ] || say "functions of more than 60 lines:
$found"
# Narrow lines. Annotations of Lua (---@) are one line by their syntax; prose and recorded cases are no code.
code="*.c *.h *.def *.lua *.sh *.cmake *CMakeLists.txt *CMakePresets.json *Makefile"
found=$(set -f; tracked $code | xargs awk '
    length($0) > 110 && !/^---@/ { print FILENAME ":" FNR ": " length($0) " columns" }')
[ -z "$found" ] || say "lines of more than 110 columns:
$found"

# Papers are Lua: no pattern's name in C (attention and soft are everyday words).
slugs=$(ls plugins/*.lua | sed 's|plugins/||; s|\.lua$||' | grep -vxE "attention|soft" | paste -sd'|' -)
found=$(sources $compiler | xargs grep -nwiE "$slugs" 2>/dev/null)
[ -z "$found" ] || say "C names a pattern:
$found"

# The table of patterns has each of them, and nothing else.
listed=$(sed -n 's/^| `\([a-z0-9_]*\)` .*/\1/p' docs/patterns.md | sort)
there=$(ls plugins/*.lua | sed 's|plugins/||; s|\.lua$||' | grep -vx attention | sort)
[ "$listed" = "$there" ] || say "docs/patterns.md is not in step with plugins/: run scripts/patterns.sh"

# Finished work only, and nothing that belongs to one machine.
found=$(git ls-files 2>/dev/null | grep -vE '^(tests/style/check\.sh|LICENSE)$' |
    xargs grep -nIE 'TODO|FIXME|XXX:|^(<<<<<<<|>>>>>>>) |/home/[a-z]|/work/|/Users/' 2>/dev/null)
[ -z "$found" ] || say "unfinished work or a machine's path:
$found"

# No calls that cannot bound what they write, no output or exit from inside the compiler.
found=$(sources $compiler | xargs grep -nE '\b(strcpy|strcat|sprintf|gets)\(' 2>/dev/null)
[ -z "$found" ] || say "an unbounded call:
$found"

# Each folder says what it is.
for folder in . ir ir/base passes codegen codegen/llvm codegen/spirv codegen/aot runtime \
    runtime/vk frontends frontends/lua frontends/compiler \
    frontends/tune frontends/cli plugins examples examples/foreign examples/sentence-encoder tests bench \
    docs; do
    [ ! -d "$folder" ] || [ -f "$folder/README.md" ] || say "$folder has no README.md"
done
[ $bad = 0 ] && echo "style: good"
exit $bad
