# shellcheck shell=bash
# The start of a static program in an image of 500 MB that all belongs to 65532, under keep-id, and in one of 25,000 files that
# COPY alone made. Sourced by run.sh. Three stores, so that there are three first starts. The floor is bwrap on a tree that is
# there already.
# shellcheck disable=SC2154 # bench, benches, rbuild and peers are run.sh's

tree=$bench/run-tree
mkdir "$tree" "$bench/run"
printf 'int main(void) { return 0; }\n' >"$bench/run/hello.c"
gcc -O2 -static -s -o "$tree/hello" "$bench/run/hello.c"
mkdir "$tree/data" "$tree/proc" "$tree/dev" "$tree/sys" "$tree/tmp"
for n in {1..500}; do head -c 1000000 /dev/urandom >"$tree/data/file-$n"; done
tar -C "$tree" --owner=65532 --group=65532 --numeric-owner -c . |
    python3 "$benches/../tests/lib/tar2oci.py" "$bench/run/base" --user 65532:65532 --cmd /hello
printf 'FROM base\nUSER 65532:65532\n' >"$bench/run/Containerfile"

measure floor.run-later -n 50 -w 3 bwrap --unshare-all --ro-bind "$tree" / /hello

for store in 1 2 3; do
    rooted=("$bench/rbuild" --root "$bench/mine/run-$store")
    once rbuild "${rooted[@]}" -f "$bench/run/Containerfile" -q -t run --build-context "base=oci-layout:$bench/run/base" \
        "$bench/run"
    measure rbuild.run-first -n 1 "${rooted[@]}" run --network none --userns keep-id run
    measure rbuild.run-later -n 20 -m "${rooted[@]}" run --network none --userns keep-id run
done

copied=$bench/run-copied
mkdir "$copied"
cp "$tree/hello" "$copied/"
python3 - "$copied/many" <<'PYTHON'
import os, sys
for directory in range(250):
    path = f"{sys.argv[1]}/dir-{directory}"
    os.makedirs(path)
    for number in range(100):
        with open(f"{path}/file-{number}", "w") as file:
            file.write(f"{number}\n" * 200)
PYTHON
printf 'FROM scratch\nCOPY . /\nUSER 65532:65532\nCMD ["/hello"]\n' >"$bench/run/Containerfile.copied"
for store in 1 2 3; do
    rooted=("$bench/rbuild" --root "$bench/mine/run-copied-$store")
    once rbuild "${rooted[@]}" -f "$bench/run/Containerfile.copied" -q -t copied "$copied"
    measure rbuild.run-copied-first -n 1 "${rooted[@]}" run --network none --userns keep-id copied
    measure rbuild.run-copied-later -n 20 "${rooted[@]}" run --network none --userns keep-id copied
done

load_peer "$bench/run/base" run
start=(podman run --rm --userns "keep-id:uid=65532,gid=65532" --network none localhost/run)
measure peer.run-first -n 1 "${start[@]}"
measure peer.run-later -n 10 "${start[@]}"
