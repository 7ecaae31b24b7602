#!/usr/bin/env bash
# Makes the filesystem in which the tests' files lie: places.sh STAGE prints the image file's name, nothing where none is needed or possible.
#
# ext4 without a journal, as bare virtual machines have it, looks for an inode that was not freed in the last minute at each
# creation (recently_deleted in fs/ext4/ialloc.c): a test suite that makes and removes trees waits for that most of its time.
set -euo pipefail
# shellcheck source=tests/lib/host.sh
source "$(dirname "$0")/host.sh"

image=$1/places
truncate -s 20G "$image"
mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$image"
mkdir "$image.d"
if as_root unshare --mount mount -o loop,nobarrier,discard "$image" "$image.d" 2>/dev/null; then
    echo "$image"
else
    say "no loop devices: the tests' files lie in ${TMPDIR:-/tmp}"
    rm -r "$image" "$image.d"
fi
