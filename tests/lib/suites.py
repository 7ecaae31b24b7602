#!/usr/bin/env python3
"""Copies the test programs and the program under test to STAGE/bin, where every user can run them.

Reads cargo's JSON messages (of `cargo build` and `cargo test --no-run`) from standard input and prints one line per test
program: kind (unit, root or e2e), suite, program and package directory, separated by tabs.
"""

import json
import os
import shutil
import sys

# Suites that give files to other owners without a user namespace; what they test runs as an ordinary user in e2e.
ROOT_ONLY = {"rootfs-copy", "rootfs-hostile", "rootfs-trees"}


def main():
    stage = os.path.join(sys.argv[1], "bin")
    os.makedirs(stage, exist_ok=True)
    suites = {}
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message["executable"]:
            continue
        target, directory = message["target"], os.path.dirname(message["manifest_path"])
        crate = os.path.basename(directory)
        if not message["profile"]["test"]:
            if target["kind"] == ["bin"]:
                shutil.copy(message["executable"], os.path.join(stage, target["name"]))
            continue
        if target["kind"] == ["test"]:
            suite = target["name"] if target["name"] == "e2e" else f"{crate}-{target['name']}"
        else:
            suite = target["name"]
        kind = "e2e" if target["name"] == "e2e" else "root" if suite in ROOT_ONLY else "unit"
        suites[suite] = (kind, suite, message["executable"], directory)
    for kind, suite, executable, directory in sorted(suites.values()):
        program = os.path.join(stage, f"test-{suite}")
        shutil.copy(executable, program)
        print(kind, suite, program, directory, sep="\t")


if __name__ == "__main__":
    main()
