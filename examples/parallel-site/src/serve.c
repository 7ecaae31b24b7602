/* Serves the regular files of the current directory over HTTP/1.0, one request at a time. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static void say(int client, const char *text)
{
    if (write(client, text, strlen(text)) < 0)
        perror("write");
}

/* Names are single path components, so a request cannot leave the directory. */
static void answer(int client)
{
    char request[2048], name[256] = "";
    ssize_t length = read(client, request, sizeof request - 1);
    if (length <= 0)
        return;
    request[length] = '\0';
    if (sscanf(request, "GET /%255[^ /]", name) != 1)
        strcpy(name, "index.html");

    int file = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat stat;
    if (file < 0 || fstat(file, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        say(client, "HTTP/1.0 404 Not Found\r\n\r\nnot found\n");
    } else {
        say(client, "HTTP/1.0 200 OK\r\n\r\n");
        while (sendfile(client, file, NULL, 1 << 20) > 0)
            ;
    }
    if (file >= 0)
        close(file);
}

static void stop(int signal)
{
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("serve 1");
        return 0;
    }
    /* As the first process of a container it has no default action for signals. */
    signal(SIGTERM, stop);
    signal(SIGPIPE, SIG_IGN);

    const char *port = getenv("PORT");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port ? atoi(port) : 8080)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0) {
        perror("listen");
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        answer(client);
        close(client);
    }
}
