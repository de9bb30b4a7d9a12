// One GET with java.net.http.HttpClient; prints {"status":...,"body":...} in one line.
// Arguments: URL, port of the proxy, trust store in the system property javax.net.ssl.trustStore.
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Get {
  public static void main(String[] args) throws Exception {
    var proxy = ProxySelector.of(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[1])));
    var client = HttpClient.newBuilder().proxy(proxy).build();
    var answer = client.send(HttpRequest.newBuilder(URI.create(args[0])).build(), BodyHandlers.ofString());
    var body = answer.body().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
    System.out.println("{\"status\":" + answer.statusCode() + ",\"body\":\"" + body + "\"}");
    System.out.println(answer.version());
  }
}
