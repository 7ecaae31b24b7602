# shellcheck shell=bash
# A context of 20,000 small files and one of 500 MB copied into scratch, into a new store and fully cached. Sourced by run.sh.
# The floors: one pass of tar and SHA-256 over the context, and one bare walk of it.
# shellcheck disable=SC2154 # bench is run.sh's

context=$bench/context
python3 - "$context" <<'PYTHON'
import os, random, sys
random.seed(1)
for directory in range(200):
    path = f"{sys.argv[1]}/dir-{directory}"
    os.makedirs(path)
    for number in range(100):
        with open(f"{path}/file-{number}", "wb") as file:
            file.write(random.randbytes(random.randint(100, 4000)))
with open(f"{sys.argv[1]}/large", "wb") as file:
    for _ in range(500):
        file.write(random.randbytes(1_000_000))
PYTHON
printf 'FROM scratch\nCOPY . /data\nUSER 65532:65532\n' >"$bench/Containerfile.context"
# A digest is remembered only of a file that is clearly older than the moment it was read.
sync -f "$context"
sleep 3

measure floor.context -n 3 -w 1 sh -c "tar -C '$context' -cf - . | sha256sum"
measure floor.context-cached -n 10 -w 1 find "$context" -printf '%p %s %T@ %C@ %i\n'

build=("$bench/rbuild" -f "$bench/Containerfile.context" -q -t context)
measure rbuild.context -n 3 -m "${build[@]}" --root "$bench/mine/context-{n}" "$context"
# The first rebuild may still have contents to hash, once.
measure rbuild.context-cached -n 10 -w 2 -m "${build[@]}" --root "$bench/mine/context-0" "$context"

build=(buildah build --layers -q -f "$bench/Containerfile.context" -t context)
measure peer.context -n 1 "${build[@]}" --no-cache "$context"
measure peer.context-cached -n 2 "${build[@]}" "$context"
