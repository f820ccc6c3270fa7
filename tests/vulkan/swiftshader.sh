#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# swiftshader.sh LAPPET FOLDER FILE... - case files on a second software device, SwiftShader.
#
# It comes with Debian's chromium-common, of which two files are kept in FOLDER. It has no 64-bit integers
# and no small storage: cases that need these must be refused by name, all others must pass. Without the
# driver and without a network the test is skipped (77), and says so.
set -eu
lappet=$1 folder=$2
shift 2
library=usr/lib/chromium/libvk_swiftshader.so manifest=usr/lib/chromium/vk_swiftshader_icd.json
if [ ! -e "$folder/$manifest" ]; then
    mkdir -p "$folder"
    if [ -e "/$manifest" ]; then
        folder=
    elif ! (cd "$folder" && timeout 200 apt-get download -q chromium-common >/dev/null 2>&1 &&
            dpkg-deb --fsys-tarfile chromium-common_*.deb | tar -x "./$library" "./$manifest" &&
            rm chromium-common_*.deb); then
        echo "swiftshader: skipped: no chromium-common here, and apt-get cannot download it"
        exit 77
    fi
fi
VK_DRIVER_FILES=$folder/$manifest VK_ICD_FILENAMES=$folder/$manifest
export VK_DRIVER_FILES VK_ICD_FILENAMES
report=$("$lappet" check "$@" --target vulkan --device SwiftShader 2>&1) || true
passed=$(echo "$report" | grep -c '^PASS ' || true)
refused=$(echo "$report" | grep -c '^FAIL .*SwiftShader Device.* lacks ' || true)
echo "$report" | grep '^FAIL ' | grep -v ' SwiftShader Device.* lacks ' && exit 1
echo "swiftshader: $passed passed, $refused refused for what the device lacks, of $#"
[ "$passed" -gt 0 ] && [ $((passed + refused)) -eq $# ]
