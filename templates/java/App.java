import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** A service on port 8080; `App health` asks it whether it answers, since nothing else is there to ask with. */
public class App {
    public static void main(String[] args) throws Exception {
        switch (args.length > 0 ? args[0] : "serve") {
            case "--version" -> System.out.println("app 1.0: " + authorities() + " certificate authorities");
            case "health" -> System.exit(health() == 200 ? 0 : 1);
            default -> serve();
        }
    }

    static int authorities() throws Exception {
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init((java.security.KeyStore) null);
        return ((X509TrustManager) trust.getTrustManagers()[0]).getAcceptedIssuers().length;
    }

    static int health() throws Exception {
        var request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:8080/")).build();
        return HttpClient.newHttpClient().send(request, BodyHandlers.discarding()).statusCode();
    }

    static void serve() throws Exception {
        var server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> {
            var text = "hello\n".getBytes();
            exchange.sendResponseHeaders(200, text.length);
            exchange.getResponseBody().write(text);
            exchange.close();
        });
        server.start();
        System.out.println("listening on 8080");
    }
}
