#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup.sh [demo|bench|fuzz] - installs the Debian packages that building, testing and the demo need.
#
# Looks first for what a package brings, so that a complete machine needs neither root nor a network.
set -eu

missing=""
need() {    # need PACKAGE COMMAND...: the package is there when the command succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has() { command -v "$1"; }
has_module() { has pkg-config && pkg-config --exists "$1"; }

need build-essential has cc
need build-essential has make
need cmake has cmake
need ninja-build has ninja
need pkg-config has pkg-config
need llvm-19-dev test -e /usr/lib/llvm-19/include/llvm-c/Core.h
need llvm-19 test -e /usr/lib/llvm-19/bin/llvm-objcopy
need lld-19 test -e /usr/lib/llvm-19/bin/ld.lld
need liblua5.4-dev has_module lua5.4
need libcmocka-dev has_module cmocka
need libcjson-dev has_module libcjson
need libvulkan-dev test -e /usr/include/vulkan/vulkan_core.h
need glslang-dev test -e /usr/include/glslang/Include/glslang_c_interface.h
need spirv-tools test -e /usr/include/spirv-tools/libspirv.h
need mesa-vulkan-drivers test -e /usr/share/vulkan/icd.d/lvp_icd."$(uname -m)".json
need vulkan-validationlayers test -e /usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json
need qemu-user has qemu-aarch64
need gcc-aarch64-linux-gnu has aarch64-linux-gnu-gcc
need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/lib/libc.so.6
case "${1:-}" in
demo)
    need libutf8proc-dev test -e /usr/include/utf8proc.h
    need python3-pip python3 -m pip --version
    ;;
bench)
    need python3-venv python3 -c "import ensurepip, venv"
    ;;
fuzz)
    need clang-19 has clang-19
    need libclang-rt-19-dev sh -c 'ls /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-x86_64.a'
    ;;
esac
[ -n "$missing" ] || exit 0

fail() {
    echo "setup: $1" >&2
    echo "setup: as root, run: apt-get install$missing" >&2
    exit 1
}
has apt-get >/dev/null || fail "these Debian packages are missing, and there is no apt-get:$missing"
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif has sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo"
elif has sudo >/dev/null && [ -t 0 ]; then
    as_root="sudo"
else
    fail "these Debian packages are missing, and neither root nor sudo is at hand:$missing"
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# An index that is there may be out of date: it is fetched when the first try fails.
install() { $as_root apt-get install -y -q --no-install-recommends $missing; }
install >/dev/null 2>&1 || { $as_root apt-get update -q && install; } ||
    fail "apt-get could not install$missing"
