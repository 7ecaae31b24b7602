#!/usr/bin/env python3
"""Counts what ran in which degree of rootlessness, from the logs of tests/run.sh, and decides whether that is good.

Fails when a suite failed, a process was left running, no test ran at all, a test skipped itself in every degree that it was
run in, or (with CI=true) a test skipped itself for a need that the list of known limits does not excuse.
"""

import collections
import fnmatch
import os
import re
import sys

RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.M)
SECTION = re.compile(r"^---- (\S+) stdout ----$")
SKIP = re.compile(r"^\s*SKIP\b:?\s*(?P<need>[^\s:]+):?\s*(?P<why>.*)$")

Skip = collections.namedtuple("Skip", "degree suite test need why")


def skips_of(degree, suite, log):
    """Yields the skips that a log shows; --show-output prints what each test said below its name."""
    test = "?"
    for line in log.splitlines():
        if section := SECTION.match(line):
            test = section[1]
        elif skip := SKIP.match(line):
            yield Skip(degree, suite, test, skip["need"], skip["why"])


def known_limits(path):
    """Returns the (degree, need) patterns of the list; each line has a reason after them."""
    limits = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.split(None, 2)
            if len(fields) != 3:
                sys.exit(f"{path}:{number}: expected DEGREE NEED REASON")
            limits.append((fields[0], fields[1]))
    return limits


def main():
    stage, limits = sys.argv[1], known_limits(sys.argv[2])

    def excused(skip):
        return any(fnmatch.fnmatch(skip.degree, d) and fnmatch.fnmatch(skip.need, n) for d, n in limits)

    def excused_everywhere(skip):
        return any(d == "*" and fnmatch.fnmatch(skip.need, n) for d, n in limits)

    problems, skips, total = [], [], collections.Counter()
    ran = collections.defaultdict(list)
    print(f"\n{'degree':<8} {'suite':<28} {'passed':>6} {'failed':>6} {'skipped':>7} {'ignored':>7}")
    with open(os.path.join(stage, "results.tsv"), encoding="utf-8") as results:
        for degree, suite, status in (line.rstrip("\n").split("\t") for line in results):
            with open(os.path.join(stage, "logs", f"{degree}.{suite}"), encoding="utf-8", errors="replace") as file:
                log = file.read()
            result = RESULT.search(log)
            passed, failed, ignored = map(int, result.groups()) if result else (0, 0, 0)
            # One test may name several needs; it is one skipped test all the same.
            here = {skip.test: skip for skip in skips_of(degree, suite, log)}
            skips.extend(here.values())
            for test in re.findall(r"^test (\S+) +\.\.\. ok$", log, re.M):
                ran[suite, test].append(here.get(test))
            total.update(passed=passed - len(here), failed=failed, skipped=len(here) + ignored)
            print(f"{degree:<8} {suite:<28} {passed - len(here):>6} {failed:>6} {len(here):>7} {ignored:>7}")
            if status != "0":
                problems.append(f"{suite} failed as {degree} (exit code {status})")
            if ignored:
                problems.append(f"{suite} ignores {ignored} tests: a test that cannot run says SKIP and why")

    for (degree, need), count in sorted(collections.Counter((s.degree, s.need) for s in skips).items()):
        example = next(s for s in skips if (s.degree, s.need) == (degree, need))
        known = "known" if excused(example) else "UNKNOWN"
        print(f"skipped as {degree}: {count} for want of {need} ({known} limit), e.g. {example.test}: {example.why}")

    if os.environ.get("CI") == "true":
        problems += [f"{s.suite}::{s.test} skipped as {s.degree} for want of {s.need}" for s in skips if not excused(s)]
        for (suite, test), outcomes in sorted(ran.items()):
            if all(outcomes) and not excused_everywhere(outcomes[0]):
                problems.append(f"{suite}::{test} ran in no degree at all")
    for degree in ("subids", "nosub", "root"):
        if os.path.exists(os.path.join(stage, "logs", f"{degree}.left")):
            problems.append(f"the tests left processes running as {degree}")
    if not total["passed"]:
        problems.append("no test ran")

    for problem in problems:
        print(f"problem: {problem}")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
