#!/usr/bin/env python3
"""Turns the lines of measure.py into the table of benches/run.sh: rbuild beside its floor, its peers and its targets."""

import sys

# What is measured; the limit in seconds; times the floor at most; times faster than buildah or podman at least.
LINES = [
    ("steps-none", "20 RUN steps, no cache, --network none", 0.240, None, 40),
    ("steps-pasta", "20 RUN steps, no cache, pasta", 0.500, None, None),
    ("steps-cached", "the same, fully cached", 0.015, None, 25),
    ("context", "20,000 files and 500 MB into scratch", None, 2, None),
    ("context-cached", "the same, fully cached", None, 3, None),
    ("parallel", "4 stages that sleep 2 s", 2.3, None, None),
    ("run-first", "run, first start of a 500 MB image", None, 2, None),
    ("run-later", "run, later starts", None, 2, None),
    ("lint-one", "lint of one file, beside hadolint", None, None, 20),
    ("lint-many", "of 1,000 files", 1, None, 20),
    ("lint-lines", "of one of 100,000 lines", 1, None, None),
    ("scale-walk", "100,000 files, half of them ignored by 1,000 patterns", None, None, None),
    ("scale-walk-cached", "the same, fully cached", None, 3, None),
    ("scale-walk-all", "a bare walk of all of them", None, None, None),
    ("scale-lines", "100,000 lines planned", 1, None, None),
    ("scale-stages", "50,000 stages planned", 1, None, None),
    ("scale-many", "a context of 300,000 files", None, None, None),
    ("scale-many-cached", "the same, fully cached", None, None, None),
    ("scale-tar", "the same as a tar from standard input", None, None, None),
    ("scale-sparse", "a context of one sparse file of 2 GB", None, None, None),
    ("run-copied-first", "run, first start of 25,000 files that COPY made", None, 2, None),
    ("run-copied-later", "run, later starts", None, 2, None),
    ("outputs-store", "200,000 files into scratch and the store", None, None, None),
    ("outputs-oci", "the same, cached, as type=oci", None, None, None),
    ("outputs-docker", "as type=docker", None, None, None),
    ("outputs-tar", "as type=tar", None, None, None),
    ("outputs-local", "as type=local", None, None, None),
    ("closure", "closure of a program with 200 libraries", 0.020, None, None),
    ("closure-root", "closures of 3,000 ELF files", 2, None, None),
    ("check-off", "a build of it into scratch, fully cached, --closure off", None, None, None),
    ("check-noted", "with --closure check, when it is known to start", None, None, None),
    ("check-first", "with --closure check, which looks", None, None, None),
    ("push-fresh", "push of a fresh image of 200 MB", None, None, 2),
    ("push-again", "push of which nothing is new", 0.1, None, None),
    ("pull", "pull of 200 MB with unpacking", None, None, 2),
]
# A first start has to keep up with bwrap too, for which no start is special.
FLOORS = {"run-first": "run-later", "run-copied-first": "run-later", "run-copied-later": "run-later"}
MEMORY_LIMIT = 100
# Contexts of any size.
SCALE_LIMIT = 200


def show(seconds):
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main():
    results = {}
    for line in sys.stdin:
        key, *numbers = line.rstrip("\n").split("\t")
        # A key that comes several times was measured once in each of several places: the median of the medians.
        results.setdefault(key, []).append(tuple(map(float, numbers)))

    def median(kind, key, column=0):
        values = sorted(value[column] for value in results.get(f"{kind}.{key}", []))
        return values[len(values) // 2] if values else None

    failed = False
    print("| what | rbuild | floor | x floor | peer | x faster | target | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |")
    for key, title, limit, times_floor, times_peer in LINES:
        ours, peer = median("rbuild", key), median("peer", key)
        floor = median("floor", FLOORS.get(key, key))
        targets, good = [], []
        if limit:
            targets.append(f"< {show(limit)}")
            good.append(ours is not None and ours < limit)
        if times_floor:
            targets.append(f"<= {times_floor}x floor")
            good.append(bool(ours and floor and ours <= times_floor * floor))
        if times_peer:
            targets.append(f">= {times_peer}x faster")
            # Without peers there is nothing to compare with.
            good.append(peer is None or bool(ours and peer >= times_peer * ours))
        verdict = "-" if ours is None else "pass" if all(good) else "FAIL"
        failed |= verdict == "FAIL"
        ratio = f"{ours / floor:.2f}" if ours and floor else "-"
        faster = f"{peer / ours:.0f}" if ours and peer else "-"
        print(f"| {title} | {show(ours)} | {show(floor)} | {ratio} | {show(peer)} | {faster} | {', '.join(targets)} | {verdict} |")

    print("\n| peak memory | largest process | all together | target | |\n| --- | ---: | ---: | --- | --- |")
    for key, title, *_ in LINES:
        values = results.get(f"rbuild.{key}", [])
        if values:
            largest, together = max(v[3] for v in values), max(v[4] for v in values)
            limit = SCALE_LIMIT if key.startswith("scale") else MEMORY_LIMIT
            good = max(largest, together) < limit
            failed |= not good
            verdict = "pass" if good else "FAIL"
            print(f"| {title} | {largest:.0f} MB | {f'{together:.0f} MB' if together else '-'} | < {limit} MB | {verdict} |")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
