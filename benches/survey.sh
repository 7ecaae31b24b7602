#!/usr/bin/env bash
# How many programs of Debian run from scratch with what `--closure auto` finds: every line of survey.txt is done in the whole system and in
# an image of its program alone, both read-only, without a network, as 65532; what is printed and the exit code must be the same.
#
#   RBUILD_BIN=PROGRAM benches/survey.sh [PATTERN [OPTION...]]   lines that match, and options of the builds, as --closure-rules DIR; survey.tsv
#   is written into the current directory
#
# It installs some 2 GB of packages into an image, once for each list of them: the store is kept in /var/tmp/rbuild-survey.
set -euo pipefail
benches=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/host.sh
source "$benches/../tests/lib/host.sh"
[ -x "${RBUILD_BIN:-}" ] || die "RBUILD_BIN must name the rbuild to survey"

ensure_packages uidmap passt mmdebstrap python3
ensure_test_users
debian=$("$benches/../tests/lib/base-image.sh" debian)
place=/var/tmp/rbuild-survey
as_root install -d -o "$TEST_USER" -m 0755 "$place" "$place/context"
as_root install -m 0755 "$RBUILD_BIN" "$place/rbuild"
as_root install -m 0644 "$benches/survey.txt" "$benches/survey.py" "$place/"

VISIBLE="$place:$debian" as_user "$TEST_USER" -C "$place" RBUILD_ROOT="$place/store" \
    python3 "$place/survey.py" "$place/rbuild" "$debian" "$place/survey.txt" "${1:-.}" "${@:2}" | tee survey.tsv
