# shellcheck shell=bash
# What grows: contexts of many files with a large ignore file, long Containerfiles, and the memory that contexts of any size
# take. Sourced by run.sh. The floors: a bare walk of what is not ignored, and of everything.
# shellcheck disable=SC2154 # bench is run.sh's

scale=$bench/scale
mkdir "$scale"
# 100,000 files, half of them in ignored directories, of which every tenth has an exception below it; 1,000 patterns.
python3 - "$scale" <<'PYTHON'
import os, sys
place = sys.argv[1]
def tree(name, directories, files):
    for directory in range(directories):
        path = f"{place}/{name}/part-{directory % 10}/dir-{directory}"
        os.makedirs(path)
        for number in range(files):
            with open(f"{path}/file-{number}.txt", "w") as file:
                file.write(f"{directory} {number}\n")
tree("walk", 1000, 100)
patterns = [f"part-{n % 10}/dir-{n}" for n in range(1, 1000, 2)]
patterns += [f"!part-{n % 10}/dir-{n}/file-{n % 100}.txt" for n in range(1, 1000, 20)]
patterns += [f"**/*.tmp{n}" for n in range(200)]
patterns += [f"**/cache-{n}" for n in range(100)]
patterns += [f"build/out-{n}/**/*.o" for n in range(150)]
with open(f"{place}/walk/.dockerignore", "w") as file:
    file.write("".join(f"{pattern}\n" for pattern in patterns))
tree("many", 3000, 100)
os.makedirs(f"{place}/sparse")
with open(f"{place}/sparse/large", "wb") as file:
    file.truncate(2 << 30)
with open(f"{place}/lines", "w") as file:
    file.write("FROM scratch\n")
    for n in range(0, 100_000, 4):
        file.write(f"ENV STEP{n % 32}={n}\nRUN [\"/bin/make\", \"$STEP{n % 32}\"]\nCOPY src/{n} /dst/{n}\nLABEL l{n % 32}=$STEP4\n")
    file.write("USER 1:1\n")
with open(f"{place}/stages", "w") as file:
    file.write("FROM scratch AS s0\nCOPY a /a\n")
    for n in range(1, 50_000):
        base = "scratch" if n % 2 else f"s{n - 1}"
        file.write(f"FROM {base} AS s{n}\nCOPY --from=s{n - 1} /a /a\n")
    file.write("USER 1:1\n")
PYTHON
printf 'FROM scratch\nCOPY . /data\nUSER 65532:65532\n' >"$scale/Containerfile"
tar -cf "$scale/many.tar" -C "$scale/many" . -C "$scale" Containerfile
# What find leaves out, and does not enter.
cat >"$scale/find.sh" <<'FIND'
cd "$1" && find . -regex './part-[0-9]/dir-[0-9]*[13579]' -prune -o -printf '%p %s %T@ %C@ %i\n'
FIND
# A digest is remembered only of a file that is clearly older than the moment it was read.
sync -f "$scale"
sleep 3

measure floor.scale-walk-all -n 5 -w 1 find "$scale/walk" -printf '%p %s %T@ %C@ %i\n'
measure floor.scale-walk-cached -n 5 -w 1 sh "$scale/find.sh" "$scale/walk"
build=("$bench/rbuild" -f "$scale/Containerfile" -q -t scale)
measure rbuild.scale-walk -n 2 -m "${build[@]}" --root "$bench/mine/walk-{n}" "$scale/walk"
measure rbuild.scale-walk-cached -n 5 -w 1 -m "${build[@]}" --root "$bench/mine/walk-0" "$scale/walk"

plan=("$bench/rbuild" --dry-run --root "$bench/mine/plans" --user-policy off)
measure rbuild.scale-lines -n 3 -w 1 -m "${plan[@]}" -f "$scale/lines" "$scale/sparse"
measure rbuild.scale-stages -n 3 -w 1 -m "${plan[@]}" -f "$scale/stages" "$scale/sparse"

measure rbuild.scale-many -n 1 -m "${build[@]}" --root "$bench/mine/many-{n}" "$scale/many"
measure rbuild.scale-many-cached -n 2 -m "${build[@]}" --root "$bench/mine/many-0" "$scale/many"
measure rbuild.scale-tar -n 1 -m sh -c "'$bench/rbuild' -q -t scale --root '$bench/mine/tar-{n}' - <'$scale/many.tar'"
measure rbuild.scale-sparse -n 1 -m "${build[@]}" --root "$bench/mine/sparse-{n}" "$scale/sparse"
