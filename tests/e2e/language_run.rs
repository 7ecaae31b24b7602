//! Table 1.5 of the Containerfile reference, the options of RUN, row by row. The invariant: what a step sees is what it printed, and
//! what it leaves is read from the layer.

use crate::language::Is::{Entry, NoEntry, Said};
use crate::language::{builds, check, refused};

#[test]
fn binds() {
    let site = site!(run);
    site.place
        .write("src/a", "A\n")
        .write("src/no", "N\n")
        .write(".dockerignore", "**/no\n");
    let rows = [
        builds(
            "all spellings of target and source",
            "FROM busybox\nRUN --mount=target=/a,source=src --mount=dst=/b,src=src --mount=type=bind,destination=/c,source=/src/a cat /a/a /b/a /c | wc -l\n",
            [Said("3"), NoEntry(" ")],
        ),
        builds(
            "the context, without what is ignored",
            "FROM busybox\nRUN --mount=target=/m test -e /m/src/a && test ! -e /m/src/no && echo so\n",
            [Said("so")],
        ),
        builds(
            "read only, unless it is asked for; then what is written is gone",
            "FROM busybox\nRUN --mount=target=/m,source=src ! touch /m/x && echo shut\nRUN --mount=target=/m,source=src,ro ! touch /m/x\n\
             RUN --mount=target=/m,source=src,readonly=true ! touch /m/x\nRUN --mount=target=/m,source=src,rw=false ! touch /m/x\n\
             RUN --mount=target=/m,source=src,rw touch /m/x && ls /m | wc -l\nRUN --mount=target=/m,source=src,readwrite echo B >/m/a\n\
             RUN --mount=target=/m,source=src ls /m && cat /m/a\n",
            [Said("shut"), Said("2"), Said("A"), NoEntry(" ")],
        ),
        builds(
            "from the working directory",
            "FROM busybox\nWORKDIR /w\nRUN --mount=target=m,source=src cat m/a /w/m/a | wc -l\n",
            [Said("2"), NoEntry("w/m")],
        ),
        builds(
            "what buildah asks for and is so",
            "FROM busybox\nRUN --mount=target=/m,source=src,z --mount=target=/n,source=src,Z,bind-propagation=private,relabel=shared cat /m/a /n/a | wc -l\n",
            [Said("2")],
        ),
        refused(
            "the root directory",
            "FROM busybox\nRUN --mount=target=/ true\n",
            ["root directory", "Containerfile:2:"],
        ),
        refused(
            "no target",
            "FROM busybox\nRUN --mount=source=src true\n",
            ["needs a target", "Containerfile:2:"],
        ),
        refused(
            "an owner",
            "FROM busybox\nRUN --mount=target=/m,uid=1 true\n",
            ["uid is not an option of bind", "Containerfile:2:"],
        ),
        refused(
            "required",
            "FROM busybox\nRUN --mount=target=/m,required true\n",
            ["required is not an option of bind", "Containerfile:2:"],
        ),
        refused(
            "buildah's U",
            "FROM busybox\nRUN --mount=target=/m,U true\n",
            ["U is refused", "Containerfile:2:"],
        ),
        refused(
            "shared propagation",
            "FROM busybox\nRUN --mount=target=/m,bind-propagation=shared true\n",
            ["private", "Containerfile:2:"],
        ),
        refused(
            "no type",
            "FROM busybox\nRUN --mount=type=volume,target=/m true\n",
            ["type=volume", "Containerfile:2:"],
        ),
        refused(
            "no option",
            "FROM busybox\nRUN --mount=targte=/m true\n",
            ["targte", "did you mean target?", "Containerfile:2:"],
        ),
        refused(
            "a later stage",
            "FROM busybox\nRUN --mount=from=later,target=/m true\nFROM busybox AS later\nCOPY --from=0 /bin/busybox /b\n",
            ["later", "Containerfile:2:"],
        ),
        refused(
            "a variable in from",
            "FROM busybox\nARG s=busybox\nRUN --mount=from=$s,target=/m true\n",
            ["does not expand variables", "Containerfile:3:"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn caches() {
    let site = site!(run);
    let rows = [
        builds(
            "empty at first: locks lie elsewhere",
            "FROM busybox\nRUN --mount=type=cache,target=/empty,sharing=locked ls -A /empty | wc -l\n",
            [Said("0"), NoEntry(" ")],
        ),
        builds(
            "known by the cleaned target, or an id",
            "FROM busybox\nRUN --mount=type=cache,target=/var//one/ touch /var/one/x\n\
             RUN --mount=type=cache,target=/other,id=/var/one ls /other\nRUN --mount=type=cache,target=/var/one,id=two ls /var/one | wc -l\n",
            [Said("x"), Said("0")],
        ),
        builds(
            "a relative target from the working directory",
            "FROM busybox\nWORKDIR /w\nRUN --mount=type=cache,target=c pwd && touch c/rel\nRUN --mount=type=cache,target=./c ls /w/c\n",
            [Said("/w"), Said("rel"), NoEntry("w/c")],
        ),
        builds(
            "read only",
            "FROM busybox\nRUN --mount=type=cache,target=/ro,ro ! touch /ro/x && echo shut\nRUN --mount=type=cache,target=/ro,rw touch /ro/x && echo open\n",
            [Said("shut"), Said("open")],
        ),
        builds(
            "each way of sharing",
            "FROM busybox\nRUN --mount=type=cache,target=/a,sharing=shared --mount=type=cache,target=/b,sharing=private --mount=type=cache,target=/c,sharing=locked touch /a/x /b/x /c/x && echo three\n",
            [Said("three")],
        ),
        builds(
            "a variable in the id",
            "FROM busybox\nARG V=7\nRUN --mount=type=cache,target=/v,id=v-$V touch /v/seven\nRUN --mount=type=cache,target=/w,id=v-7 ls /w\n",
            [Said("seven")],
        ),
        refused(
            "another way of sharing",
            "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=all true\n",
            ["sharing=all", "Containerfile:2:"],
        ),
        refused(
            "required",
            "FROM busybox\nRUN --mount=type=cache,target=/c,required true\n",
            ["required is not an option of cache", "Containerfile:2:"],
        ),
        refused(
            "a mode that is none",
            "FROM busybox\nRUN --mount=type=cache,target=/c,mode=0999 true\n",
            ["mode=0999", "Containerfile:2:"],
        ),
        refused(
            "the root directory",
            "FROM busybox\nRUN --mount=type=cache,target=/x/.. true\n",
            ["root directory", "Containerfile:2:"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn tmpfs() {
    let site = site!(run);
    let rows = [
        builds(
            "a size and a mode, in both spellings",
            "FROM busybox\nRUN --mount=type=tmpfs,target=/a,size=1m --mount=type=tmpfs,target=/b,tmpfs-size=2m,tmpfs-mode=0700 \
             df -k /a /b | awk '{print $(NF-4)}' | tail -2 && stat -c '%a' /a /b\n",
            [
                Said("1024"),
                Said("2048"),
                Said("1777"),
                Said("700"),
                NoEntry(" "),
            ],
        ),
        builds(
            "hides what is there for one step",
            "FROM busybox\nRUN echo old >/work/f\nRUN --mount=type=tmpfs,target=/work ! ls /work/f && echo new >/work/f\nRUN cat /work/f\n",
            [Said("old"), Entry(r#"f 0644 0:0 work/f = "old\n""#)],
        ),
        refused(
            "a source",
            "FROM busybox\nRUN --mount=type=tmpfs,target=/a,source=b true\n",
            ["source is not an option of tmpfs", "Containerfile:2:"],
        ),
        refused(
            "no size",
            "FROM busybox\nRUN --mount=type=tmpfs,target=/a,size=big true\n",
            ["size=big", "Containerfile:2:"],
        ),
        refused(
            "buildah's tmpcopyup",
            "FROM busybox\nRUN --mount=type=tmpfs,target=/a,tmpcopyup true\n",
            ["tmpcopyup is refused", "Containerfile:2:"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn secrets_and_agents() {
    let site = site!(run);
    site.place.write("token", "s3cr3t");
    let args = [
        "--secret",
        "id=token,src=token",
        "--secret",
        "id=key.pem,src=token",
    ];
    let rows = [
        builds(
            "a file, 0400, by its id or by its target's name",
            "FROM busybox\nRUN --mount=type=secret,id=token stat -c %a /run/secrets/token\n\
             RUN --mount=type=secret,target=/etc/key.pem wc -c </etc/key.pem\nRUN --mount=type=secret,dst=rel,src=token wc -c </rel && echo three\n",
            [Said("400"), Said("6"), Said("three"), NoEntry(" ")],
        )
        .with(args),
        builds(
            "a variable, and a file only when that is asked for too",
            "FROM busybox\nRUN --mount=type=secret,id=token,env=T test \"$T\" = s3cr3t && test ! -e /run/secrets/token && echo env\n\
             RUN --mount=type=secret,id=token,env=T,target=/t test \"$T\" = \"$(cat /t)\" && echo both\n",
            [Said("env"), Said("both")],
        )
        .with(args),
        builds(
            "one that is missing is no file, unless it is required",
            "FROM busybox\nRUN --mount=type=secret,id=none test ! -e /run/secrets/none && echo none\n",
            [Said("none")],
        ),
        refused(
            "a required one that is missing",
            "FROM busybox\nRUN --mount=type=secret,id=none,required=true true\n",
            ["--secret id=none", "Containerfile:2"],
        ),
        refused(
            "no id and no target",
            "FROM busybox\nRUN --mount=type=secret true\n",
            ["needs an id or a target", "Containerfile:2:"],
        ),
        refused(
            "a way of sharing",
            "FROM busybox\nRUN --mount=type=secret,id=a,sharing=shared true\n",
            ["sharing is not an option of secret", "Containerfile:2:"],
        ),
        builds(
            "an agent that is missing is none, unless it is required",
            "FROM busybox\nRUN --mount=type=ssh echo \"agent=$SSH_AUTH_SOCK.\"\n",
            [Said("agent=.")],
        ),
        refused(
            "a required agent that is missing",
            "FROM busybox\nRUN --mount=type=ssh,id=deploy,required true\n",
            ["--ssh deploy", "Containerfile:2"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn several_mounts() {
    let site = site!(run);
    site.place.write("a,b/f", "comma\n").write("src/f", "f\n");
    let rows = [
        builds(
            "nested, in whatever order they are written",
            "FROM busybox\nRUN --mount=target=/m/in/deep,source=src --mount=type=tmpfs,target=/m --mount=type=cache,target=/m/in \
             cat /m/in/deep/f && touch /m/x /m/in/y && echo nested\n",
            [Said("f"), Said("nested"), NoEntry(" ")],
        ),
        builds(
            "fields with commas are quoted",
            "FROM busybox\nRUN --mount='type=bind,\"source=a,b\",target=/m' cat /m/f\n",
            [Said("comma")],
        ),
        refused(
            "two at one place",
            "FROM busybox\nRUN --mount=type=tmpfs,target=/m --mount=type=cache,target=/m/ true\n",
            ["another mount", "Containerfile:2:"],
        ),
        builds(
            "a repeated option means the last",
            "FROM busybox\nRUN --mount=target=/x,target=/m,source=src cat /m/f\n",
            [Said("f")],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn network_security_and_devices() {
    let site = site!(run);
    let rows = [
        builds(
            "--network=none leaves the loopback interface, which is up",
            "FROM busybox\nRUN --network=none ls /sys/class/net && httpd -p 127.0.0.1:8080 -h /etc && wget -q -O - http://127.0.0.1:8080/passwd | head -n 1\n",
            [Said("lo"), Said("root:x:0:0:root:/root:/bin/sh")],
        ),
        builds(
            "--network=default is that of the command line",
            "FROM busybox\nRUN --network=default ls /sys/class/net | wc -l\n",
            [Said("1")],
        ),
        refused(
            "--network=host needs permission",
            "FROM busybox\nRUN --network=host true\n",
            [
                "--network=host",
                "--allow network.host",
                "Containerfile:2:5",
            ],
        ),
        refused(
            "another network",
            "FROM busybox\nRUN --network=bridge true\n",
            [
                "--network is one of default, none, host",
                "Containerfile:2:",
            ],
        ),
        builds(
            "--security=sandbox is what a step has",
            "FROM busybox\nRUN --security=sandbox echo in\n",
            [Said("in")],
        ),
        refused(
            "--security=insecure",
            "FROM busybox\nRUN --security=insecure true\n",
            ["RUN --security=insecure is refused", "Containerfile:2:5"],
        ),
        refused(
            "--device",
            "FROM busybox\nRUN --device=vendor.com/gpu=0 true\n",
            ["RUN --device is refused", "Containerfile:2:5"],
        ),
        refused(
            "--device, required",
            "FROM busybox\nRUN --device=vendor.com/gpu=0,required true\n",
            ["RUN --device is refused", "Containerfile:2:5"],
        ),
        refused(
            "a flag of no builder",
            "FROM busybox\nRUN --netwrok=none true\n",
            ["--netwrok", "--network", "Containerfile:2:5"],
        ),
    ];
    check(&site, &rows);
}

/// `--network=host` with permission: the step is in the network namespace of the test.
#[test]
fn the_network_of_the_machine_is_given_with_permission() {
    let site = site!(run);
    let own = std::fs::read_link("/proc/self/ns/net").expect("the own namespace");
    let file = "FROM busybox\nRUN --network=host readlink /proc/self/ns/net\nRUN readlink /proc/self/ns/net\n";
    let built = site.build(file, &["--allow", "network.host"]);
    let line = format!("| {}", own.display());
    let seen = built.stderr.lines().filter(|said| said.ends_with(&line));
    assert_eq!(seen.count(), 1, "{}", built.stderr);
}
