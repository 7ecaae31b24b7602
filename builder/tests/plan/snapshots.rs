//! Whole plans as text.

use crate::support::{of, plan};

#[test]
fn a_static_build_is_shown_whole() {
    let text = "\
ARG UID=65532
FROM debian:12 AS build
WORKDIR /src
COPY --exclude=*.md . .
ARG VERSION=1
RUN cc -DV=$VERSION -o /out/app main.c
FROM scratch
ARG UID
COPY --from=build --chmod=0555 /out/app /app
COPY <<conf /etc/
uid=$UID
conf
USER ${UID}:${UID}
EXPOSE 8080
HEALTHCHECK CMD [\"/app\", \"check\"]
ENTRYPOINT [\"/app\"]
";
    insta::assert_snapshot!(of(text).label("a", "b").plan().plan, @r#"
    image 0: debian:12 sha256:c5c3090c78a69c23565353b874b43eda3ad7c4cfcb855e839f3908ac5a11a9e6
    stage 0 build: from image 0
      step 0: make directory /src for root
      step 1: copy ["."] from the context to "." in /src
        without ["*.md"]
      step 2: run ["/bin/sh", "-c", "cc -DV=$VERSION -o /out/app main.c"]
        as root in /src
        env PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        args VERSION="1"
      platform: linux/amd64
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
      workdir: /src
    stage 1 1: from scratch, the target
      step 0: copy ["/out/app"] from stage 0 to "/app"
        chmod 0555
      step 1: copy [] from the context to "/etc/"
        file "conf" with "uid=65532\n"
      platform: linux/amd64
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
      user: 65532:65532
      entrypoint: ["/app"]
      ports: 8080/tcp
      labels: a="b"
      health: ["CMD", "/app", "check"]
    "#);
}

#[test]
fn every_kind_of_step_is_shown() {
    let text = "\
FROM scratch AS first
MAINTAINER me
SHELL [\"/sh\"]
ONBUILD RUN x
USER 7:8
WORKDIR w
RUN --network=none <<EOF
#!/x
y
EOF
ADD --link --chown=1:2 a.tar b/
FROM first
COPY --parents --from=0 /a/./b /c/
STOPSIGNAL 9
VOLUME /v
CMD x y
";
    insta::assert_snapshot!(plan(text).plan, @r##"
    stage 0 first: from scratch
      step 0: make directory /w for 7:8
      step 1: run the script "#!/x\ny\n"
        as 7:8 in /w, without network
        env PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
      step 2: copy ["a.tar"] from the context to "b/" in /w
        chown 1:2
        link
        unpack
      platform: linux/amd64
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
      workdir: /w
      user: 7:8
      shell: ["/sh"]
      onbuild: ["RUN x"]
      author: me
    stage 1 1: from stage 0, the target
      step 0: run ["/sh", "x"]
        as 7:8 in /w
        env PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
      step 1: copy ["/a/./b"] from stage 0 to "/c/"
        parents
      platform: linux/amd64
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
      workdir: /w
      user: 7:8
      cmd: ["/sh", "x y"]
      shell: ["/sh"]
      volumes: /v
      stop signal: 9
      author: me
    "##);
}
