#!/usr/bin/env bash
# From a Rust toolchain to a running container, on Debian or Ubuntu, as root or as an ordinary user with sudo:
# installs what is missing, builds rbuild, makes a Debian base image, and builds and runs examples/hello-static rootless.
# RBUILD_BIN names an rbuild that is there already.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/lib/host.sh
source "$repo/tests/lib/host.sh"
# cargo looks for .cargo/config.toml from the current directory up.
cd "$repo"

ensure_packages uidmap passt mmdebstrap python3 gcc libc6-dev

# The build runs as an ordinary user: whoever calls this, or a test user when root does.
if [ "$(id -u)" = 0 ]; then
    ensure_test_users
    builder=$TEST_USER
    builder_home=$(getent passwd "$builder" | cut -d: -f6)
    as_builder() { VISIBLE=$repo as_user "$builder" "$@"; }
else
    builder=$(id -un)
    builder_home=$HOME
    ensure_sub_ids "$builder"
    as_builder() { env "$@"; }
fi

if [ -n "${RBUILD_BIN:-}" ]; then
    built=$RBUILD_BIN
else
    say "building rbuild"
    cargo build --release --locked --bin rbuild
    built=${CARGO_TARGET_DIR:-$repo/target}/$(host_triple)/release/rbuild
fi
work=$(as_builder mktemp -d "$builder_home/rbuild-quickstart.XXXXXX")
trap 'as_root rm -rf "$work"' EXIT
rbuild=$work/rbuild
as_root install -m 0755 "$built" "$rbuild"

say "a Debian base image from Debian's own packages"
debian=$("$repo/tests/lib/base-image.sh" debian-gcc)

# show COMMAND...: prints the command and runs it as the builder, in the example's directory.
show() {
    printf '\033[2m%s$\033[0m %s\n' "$builder" "${*/"$rbuild"/rbuild}"
    as_builder -C "$repo/examples/hello-static" "$@"
}

say "building examples/hello-static as $builder"
show "$rbuild" -f Containerfile --build-context "debian=oci-layout:$debian" -t hello .
show "$rbuild" images

say "running it under keep-id: 65532 inside is $builder outside"
as_builder mkdir "$work/data"
show "$rbuild" run --network none -v "$work/data:/data" hello /data/proof
show stat -c '%n belongs to %U (%u:%g) outside' "$work/data/proof"
show cat "$work/data/proof"

owner=$(stat -c %U "$work/data/proof")
[ "$owner" = "$builder" ] || die "the file belongs to $owner, not to $builder"
say "done: no daemon, no root in the build, and uid 65532 is $builder"
