#!/bin/sh
# Builds a static binary for Linux (musl) and packs it with the man pages, completions and units.
#
#   packaging/build-static.sh [x86_64|aarch64]
#
# Needs the target of rustup and a C compiler for musl (Debian: musl-tools). The result is in dist/:
# clacks-VERSION-ARCH-linux.tar.gz, its SHA-256 and SHA-512, and the folder root/ for the image.
set -eu

cd "$(dirname "$0")/.."
machine=${1:-$(uname -m)}
target=$machine-unknown-linux-musl
version=$(cargo pkgid -p clacks-cli | sed 's/.*[#@]//')
name=clacks-$version-$machine-linux

if ! rustc --print target-libdir --target "$target" | xargs test -d; then
    echo "The standard library for $target is missing: rustup target add $target" >&2
    exit 1
fi
compiler=CC_$(echo "$target" | tr - _)
if eval "test -z \"\${$compiler:-}\""; then
    if ! command -v musl-gcc >/dev/null; then
        echo "musl-gcc is missing: install musl-tools, or set $compiler." >&2
        exit 1
    fi
    export "$compiler=musl-gcc"
fi

cargo build --locked --profile dist -p clacks-cli --target "$target"
binary=${CARGO_TARGET_DIR:-target}/$target/dist/clacks
if ldd "$binary" 2>&1 | grep -q '=>'; then
    echo "$binary is not static:" >&2
    ldd "$binary" >&2
    exit 1
fi

rm -rf dist
mkdir -p "dist/$name/man" "dist/$name/completions"
# Debug information stays with the build.
strip -o "dist/$name/clacks" "$binary"
clacks=dist/$name/clacks
if [ "$machine" = "$(uname -m)" ]; then
    "$clacks" man "dist/$name/man"
    for shell in bash zsh fish; do
        "$clacks" completions "$shell" >"dist/$name/completions/clacks.$shell"
    done
fi
cp packaging/clacks.service packaging/tower.toml LICENSE-* "dist/$name/"

# The same files give the same archive, whenever and by whom it is packed.
tar --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime="@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}" \
    -C dist -cf - "$name" | gzip -n -9 >"dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
(cd dist && sha512sum "$name.tar.gz" >"$name.tar.gz.sha512")

# The file system of the image, whose folders must exist and belong to its user.
mkdir -p dist/root/usr/bin dist/owned/etc/clacks dist/owned/var/lib/clacks dist/owned/run/clacks
cp "$clacks" dist/root/usr/bin/clacks
chmod 700 dist/owned/var/lib/clacks dist/owned/run/clacks

ls -l "dist/$name.tar.gz" "$clacks"
cat "dist/$name.tar.gz.sha256"
