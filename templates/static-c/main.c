/* A service on port 8080; `app health` asks it whether it answers, since an image from scratch has nothing else to ask with. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in place(in_addr_t address)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_port = htons(8080);
    at.sin_addr.s_addr = htonl(address);
    return at;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int health(void)
{
    struct sockaddr_in at = place(INADDR_LOOPBACK);
    int peer = socket(AF_INET, SOCK_STREAM, 0);
    if (peer < 0 || connect(peer, (struct sockaddr *)&at, sizeof at))
        return fail("connect");
    const char request[] = "GET / HTTP/1.0\r\n\r\n";
    char answer[16] = {0};
    if (write(peer, request, sizeof request - 1) < 0 || read(peer, answer, sizeof answer - 1) < 12)
        return fail("ask");
    return memcmp(answer + 9, "200", 3) != 0;
}

/* The first process of a container is not ended by a signal that it does not handle. */
static void end(int signal)
{
    (void)signal;
    _exit(0);
}

static int serve(void)
{
    struct sockaddr_in at = place(INADDR_ANY);
    int on = 1, door = socket(AF_INET, SOCK_STREAM, 0);
    if (door < 0 || setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(door, (struct sockaddr *)&at, sizeof at) || listen(door, 16))
        return fail("listen");
    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    puts("listening on 8080");
    fflush(stdout);
    for (;;) {
        int peer = accept(door, 0, 0);
        char request[4096];
        const char answer[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n";
        if (peer < 0)
            continue;
        if (read(peer, request, sizeof request) > 0 && write(peer, answer, sizeof answer - 1) < 0)
            perror("answer");
        close(peer);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--version"))
        return puts("app 1.0") < 0;
    return argc > 1 && !strcmp(argv[1], "health") ? health() : serve();
}
