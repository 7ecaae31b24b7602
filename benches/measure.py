#!/usr/bin/env python3
"""Times a command: measure.py [-n RUNS] [-w WARMUPS] KEY COMMAND...

Prints one line: KEY, then median, least and greatest wall time in seconds, then two peaks of memory in MB, separated by tabs:
  largest   the largest resident set of any one process that the command waited for, what `/usr/bin/time -v` shows. It
            starts from this program's own 10 MB, since the kernel keeps the peak across execve.
  together  resident sets of all the command's living descendants added up, sampled every 5 ms in one more run (-m). Pages
            that processes share count once for each, so this is an upper bound.
`{n}` in COMMAND is the number of the run, for commands that need a fresh place each time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(root):
    """Returns the resident bytes of a process and all its descendants."""
    parents, pages = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(name)], pages[int(name)] = int(fields[1]), int(fields[21])
    total, family = 0, {root}
    grew = True
    while grew:
        new = {pid for pid, parent in parents.items() if parent in family and pid not in family}
        family |= new
        grew = bool(new)
    total = sum(pages.get(pid, 0) for pid in family)
    return total * PAGE


def sample(pid, stop, peak):
    while not stop.wait(0.005):
        peak[0] = max(peak[0], resident(pid))


def run(command, number, watch):
    """Returns the wall time, the largest process and the sampled sum of one run."""
    words = [word.replace("{n}", str(number)) for word in command]
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        stop, peak = threading.Event(), [0]
        if watch:
            thread = threading.Thread(target=sample, args=(child.pid, stop, peak))
            thread.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if watch:
            stop.set()
            thread.join()
        if child.returncode != 0:
            errors.seek(0)
            sys.stderr.buffer.write(errors.read()[-4000:])
            sys.exit(f"measure: exit code {child.returncode} of: {' '.join(words)}")
    return seconds, usage.ru_maxrss * 1024, peak[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10, help="runs that count")
    parser.add_argument("-w", type=int, default=0, help="runs before them")
    parser.add_argument("-m", action="store_true", help="one more run, sampled for memory")
    parser.add_argument("key")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    runs = [run(args.command, number, False) for number in range(args.w + args.n)][args.w :]
    times = [seconds for seconds, _, _ in runs]
    largest = max(peak for _, peak, _ in runs)
    together = run(args.command, args.w + args.n, True)[2] if args.m else 0
    numbers = [statistics.median(times), min(times), max(times), largest / 1e6, together / 1e6]
    print(args.key, *(f"{number:.4f}" for number in numbers), sep="\t", flush=True)


if __name__ == "__main__":
    main()
