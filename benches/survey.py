"""Does the lines of survey.txt in the whole system and from scratch: survey.py RBUILD LAYOUT LINES PATTERN [OPTION...], options of
the builds from scratch.

Prints a line for each: same, or what differs; and the share at the end. A line whose program the whole system lacks, or that fails there, counts
for nothing: it says nothing about the image from scratch.
"""

import concurrent.futures
import os
import re
import shlex
import subprocess
import sys
import tempfile

RBUILD, LAYOUT, LINES, PATTERN, *RULES = sys.argv[1:]

# What the programs read.
INPUTS = r"""
mkdir /t && cd /t
printf 'pear\napple\nhello\n' >words; printf 'héllo wörld\n' >utf8; printf '日本\n' >ja
echo '{"a": [1, "x", null]}' >a.json; printf 'a: [1, 2]\nb: x\n' >a.yaml; echo '<a><b>text</b></a>' >a.xml
echo 'scale=5; 4*a(1); quit' >calc; echo 'puts [expr {6*7}]; puts [clock format 0 -gmt 1 -format %Y]' >a.tcl
echo 'let () = print_endline (string_of_int (List.length [1;2]))' >a.ml
printf 'int main(void) { return 0; }\n' >a.c; printf '#include <iostream>\nint main() { std::cout << 1; }\n' >a.cc
printf 'all:\n\t@echo made\n' >Makefile; echo 'message("cmake " ${CMAKE_VERSION})' >a.cmake; echo 'define(x,42)x' >a.m4
printf '# head\n\ntext *em*\n' >a.md; printf '.TH A 1\n.SH NAME\na \\- b\n' >a.1
echo '%!PS
/Helvetica findfont 20 scalefont setfont 10 10 moveto (hi) show showpage' >a.ps
echo 'digraph { hello -> world }' >g.dot
echo '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><rect width="10" height="10"/><text y="15">a</text></svg>' >a.svg
python3 -c "import zlib,struct
c=lambda t,d: struct.pack('>I',len(d))+t+d+struct.pack('>I',zlib.crc32(t+d))
open('a.png','wb').write(b'\x89PNG\r\n\x1a\n'+c(b'IHDR',struct.pack('>IIBBBBB',20,20,8,2,0,0,0))+c(b'IDAT',zlib.compress(b''.join(b'\0'+bytes([y*9%256,x*9%256,9][i] for x in range(20) for i in range(3)) for y in range(20))))+c(b'IEND',b''))"
tar -czf t.tar.gz words utf8; tar -cJf t.tar.xz words utf8; tar --zstd -cf t.tar.zst words utf8; python3 -m zipfile -c t.zip words utf8
printf '#!/bin/true\n' >/dev/null; cp /usr/bin/true true
ssh-keygen -q -t ed25519 -N '' -C x -f key && rm key
git init -q repo && cd repo && git config user.name a && git config user.email a@b && echo xyz >f && git add f && git commit -qm first && cd ..
git config --system --add safe.directory '*'
printf '%s\n' 'pid /tmp/pid;' 'events {}' 'http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; server { listen 8080; location / { return 200 hi; } } }' >nginx.conf
printf 'defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nfrontend f\n bind :8080\n' >haproxy.cfg
printf 'server:\n  chroot: ""\n  username: ""\n  directory: "/tmp"\n' >unbound.conf; printf 'options { directory "/tmp"; };\n' >named.conf
chmod -R a+rX /t
"""


def parsed(line):
    """Packages, variables and words of a line."""
    packages, *words = shlex.split(line)
    env = []
    while re.match(r"[A-Z_]+=", words[0]):
        env.append(words.pop(0))
    return packages.split(","), env, words


def rbuild(*args, text="", timeout=1800):
    return subprocess.run([RBUILD, *args], input=text, capture_output=True, text=True, errors="replace", timeout=timeout)


def build(name, text, *more):
    with tempfile.TemporaryDirectory() as context:
        done = rbuild("build", "--quiet", "--no-lint", "--user-policy", "off", "-t", name, *more, "-f", "-", context, text=text)
    return done


def whole(lines):
    """Builds the system; packages that cannot be had are left out, with what needs them."""
    wanted = sorted({package for line in lines for package in parsed(line)[0]} | {"python3", "git", "openssh-client", "zstd", "xz-utils", "ca-certificates"})
    install = "apt-get update -qq && for p in " + " ".join(wanted) + "; do apt-cache show $p >/dev/null 2>&1 && echo $p; done >/packages; mkdir -p /usr/share/man/man1 /usr/share/man/man7; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(cat /packages) >/log 2>&1 || { tail /log; exit 1; }; rm -rf /var/lib/apt/lists/*"
    text = f"FROM debian\nRUN {install}\nRUN <<END\nset -e\n{INPUTS}END\n"
    done = build("survey-whole", text, "--build-context", f"debian=oci-layout:{LAYOUT}", "--closure", "off")
    if done.returncode:
        sys.exit(f"the whole system is not built: {done.stderr[-3000:]}")


def run(image, env, words):
    variables = [word for variable in env for word in ("--env", variable)]
    try:
        done = rbuild("run", "--read-only", "--network", "none", "--cap-drop", "ALL", "--tmpfs", "/tmp:mode=1777", "--user", "65532:65532", *variables,
                      "--entrypoint", words[0], image, *words[1:], timeout=120)
    except subprocess.TimeoutExpired:
        return "timeout", "", ""
    # What tells the two apart by chance: process ids, addresses, and rbuild's own notes.
    tidy = lambda text: re.sub(r"0x[0-9a-f]+|\b\d{1,2}:\d\d:\d\d\b|^note: .*\n|pid \d+|/proc/\d+", "", text, flags=re.M)
    return done.returncode, tidy(done.stdout), tidy(done.stderr)


def examine(numbered):
    number, line = numbered
    _, env, words = parsed(line)
    name = f"survey-{number}"
    before = run("survey-whole", env, words)
    if before[0] in (125, 126, 127, "timeout"):
        return line, None, f"the whole system: {before[0]}, {before[2][-120:]!r}"
    settings = "".join(f"ENV {variable}\n" for variable in env)
    text = f"FROM whole\nFROM scratch\n{settings}COPY --from=whole {words[0]} {words[0]}\nCOPY --from=whole /t /t\nUSER 65532:65532\nCMD [\"{words[0]}\"]\n"
    done = build(name, text, "--closure", "auto", "--build-context", "whole=docker-image://survey-whole", "--package-records", "off", *RULES)
    if done.returncode:
        return line, False, f"not built: {done.stderr[-300:]!r}"
    after = run(name, env, words)
    rbuild("rmi", name)
    if before == after:
        return line, True, "same"
    for what, one, other in zip(("exit code", "output", "errors"), before, after):
        if one != other:
            told = after[2][-300:] if what == "exit code" else ""
            return line, False, f"{what}: {str(one)[-200:]!r}, from scratch {str(other)[-300:]!r} {told!r}"


def main():
    lines = [line.rstrip("\n") for line in open(LINES) if line.strip() and not line.startswith("#")]
    whole(lines)
    chosen = [(number, line) for number, line in enumerate(lines) if re.search(PATTERN, line)]
    counts = {True: 0, False: 0, None: 0}
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for line, same, told in pool.map(examine, chosen):
            counts[same] += 1
            print({True: "same", False: "DIFFERS", None: "skipped"}[same], line, told if same is not True else "", sep="\t", flush=True)
    tried = counts[True] + counts[False]
    print(f"{counts[True]} of {tried} the same ({100 * counts[True] / max(tried, 1):.1f} %), {counts[None]} not to be had in the whole system")


main()
