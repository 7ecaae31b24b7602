#!/usr/bin/env bash
# An ordinary user with sudo follows the README: a copy of the checkout, examples/quickstart.sh, then the README's first session
# word for word. The account is made for this and removed again: quickstart.sh RBUILD LAYOUT
#
# RBUILD is the program, so that nothing is compiled a second time; LAYOUT the base image debian-gcc, in its cache's directory.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/lib/host.sh
source "$repo/tests/lib/host.sh"
program=$1 layout=$2

user=rbuild-quick
sudoers=/etc/sudoers.d/$user

# Leaves the host as it was, but for packages.
forget_user() {
    as_root rm -f "$sudoers"
    id "$user" >/dev/null 2>&1 || return 0
    # A process that is just ending has two seconds to do so; what is only waiting to be reaped is not running.
    for _ in {1..10}; do
        pgrep -u "$user" -r D,R,S,T >/dev/null || break
        sleep 0.2
    done
    pgrep -u "$user" -r D,R,S,T -a >&2 && left=1
    as_root rm -rf "/run/user/$(id -u "$user")"
    as_root userdel --remove "$user" 2>/dev/null
    forget_sub_ids "$user"
}

left=0
ensure_packages sudo
forget_user
trap forget_user EXIT
ensure_user "$user"
printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$user" | as_root tee "$sudoers" >/dev/null
as_root chmod 0440 "$sudoers"
home=$(getent passwd "$user" | cut -d: -f6)

# What a clone would bring, and what is not committed yet. The base image lies where base-image.sh looks for it.
as_root install -d -o "$user" "$home/rbuild" "$home/bases"
git -C "$repo" ls-files -z | tar -C "$repo" --null --files-from=- -c | as_root tar -C "$home/rbuild" -x
key=$(basename "$(dirname "$layout")")
as_root install -d "$home/bases/$key"
as_root cp -r "$layout" "$home/bases/$key/"
as_root install -D -m 0755 "$program" "$home/bin/rbuild"
as_root chown -R "$user:" "$home"

say "the quickstart as $user, who has sudo and no sub-ids yet"
session() { as_user "$user" RBUILD_BIN="$home/bin/rbuild" RBUILD_BASES="$home/bases" "$@" </dev/null; }
session rbuild/examples/quickstart.sh
[ "$(sub_ids /etc/subuid "$user")" -ge 65536 ] || die "the quickstart gave $user no sub-ids"
[ -z "$(as_root find "$home" -maxdepth 1 -name 'rbuild-quickstart.*')" ] || die "the quickstart left its directory"

# The commands of the README's first session: the lines behind `$` of its first block.
mapfile -t commands < <(awk '/^```/ { block++ } block == 1 && sub(/^\$ /, "")' "$repo/README.md")
[ ${#commands[@]} -ge 3 ] || die "the README has no first session"
say "the README's first session"
script="set -e; cd ~/rbuild/examples/hello-static; mkdir data; PATH=~/bin:\$PATH"
for command in "${commands[@]}"; do
    script+="; echo '\$ $command'; ${command//\/srv\/bases\/debian-gcc/$home/bases/$key/debian-gcc}"
done
shown=$(session bash -c "$script")
printf '%s\n' "$shown"
grep -q "^-rw-r--r-- 1 $user $user .* proof$" <<<"$shown" ||
    die "the README's session did not end with a file of $user"
forget_user
trap - EXIT
[ "$left" = 0 ] || die "processes of $user were left running"
say "an ordinary user with sudo comes from the README to a running container"
