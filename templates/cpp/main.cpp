// A service on port 8080; `app health` asks it whether it answers, since an image from scratch has nothing else to ask with.
#include <arpa/inet.h>
#include <csignal>
#include <iostream>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

static sockaddr_in place(in_addr_t address)
{
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(8080);
    at.sin_addr.s_addr = htonl(address);
    return at;
}

static void health()
{
    auto at = place(INADDR_LOOPBACK);
    int peer = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(peer, reinterpret_cast<sockaddr *>(&at), sizeof at) != 0)
        throw std::runtime_error("nobody listens on 8080");
    const std::string request = "GET / HTTP/1.0\r\n\r\n";
    std::string answer(64, '\0');
    if (write(peer, request.data(), request.size()) < 0 || read(peer, answer.data(), answer.size()) < 0)
        throw std::runtime_error("no answer");
    if (answer.find(" 200 ") == std::string::npos)
        throw std::runtime_error(answer);
}

static void answer(int peer)
{
    std::string request(4096, '\0');
    const std::string text = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n";
    if (read(peer, request.data(), request.size()) > 0 && write(peer, text.data(), text.size()) < 0)
        std::cerr << "a peer went away\n";
    close(peer);
}

static void serve()
{
    auto at = place(INADDR_ANY);
    int on = 1, door = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door, reinterpret_cast<sockaddr *>(&at), sizeof at) != 0 || listen(door, 16) != 0)
        throw std::runtime_error("port 8080 is not to be had");
    std::cout << "listening on 8080" << std::endl;
    for (;;) {
        int peer = accept(door, nullptr, nullptr);
        if (peer >= 0)
            std::thread(answer, peer).detach();
    }
}

int main(int argc, char **argv)
try {
    const std::string what = argc > 1 ? argv[1] : "serve";
    // The first process of a container is not ended by a signal that it does not handle.
    std::signal(SIGTERM, [](int) { _exit(0); });
    std::signal(SIGPIPE, SIG_IGN);
    if (what == "--version")
        std::cout << "app 1.0\n";
    else if (what == "health")
        health();
    else
        serve();
} catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
}
