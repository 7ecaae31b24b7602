# shellcheck shell=bash
# A context of 200,000 small files into scratch and every kind of output: what is measured is memory. Sourced by run.sh.
# shellcheck disable=SC2154 # bench is run.sh's

context=$bench/outputs
python3 - "$context" <<'PYTHON'
import os, sys
for directory in range(1000):
    path = f"{sys.argv[1]}/dir-{directory}"
    os.makedirs(path)
    for number in range(200):
        with open(f"{path}/file-{number}", "w") as file:
            file.write(f"{directory} {number}\n")
PYTHON
printf 'FROM scratch\nCOPY . /data\nUSER 65532:65532\n' >"$bench/Containerfile.outputs"
build=("$bench/rbuild" -f "$bench/Containerfile.outputs" -q)
as_root install -d -o "$TEST_USER" "$bench/mine/outputs"
measure rbuild.outputs-store -n 1 -m "${build[@]}" --root "$bench/mine/outputs/store-{n}" -t outputs "$context"
for kind in oci docker tar local; do
    measure "rbuild.outputs-$kind" -n 1 -m "${build[@]}" --root "$bench/mine/outputs/store-0" \
        -o "type=$kind,dest=$bench/mine/outputs/$kind-{n}" "$context"
done
