import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

/**
 * Answers queries of the collection "docs", whichever model its vectors are by at the moment (JDBC).
 *
 * <p>A query a line on standard input, an answer a line on standard output. JDBC_URL names the database, EMBEDDINGS_URL
 * the embeddings server.
 */
public class Search {
    static final String SEARCH =
            "SELECT d.id, d.title, v.distance, v.model"
                    + "  FROM (SELECT doc_id, model, embedding <=> ?::vector AS distance"
                    + "          FROM reembed_data.docs_current"
                    + "         ORDER BY embedding <=> ?::vector LIMIT 10) v"
                    + "  JOIN docs d ON d.id = v.doc_id"
                    + " ORDER BY v.distance";

    static final HttpClient HTTP = HttpClient.newHttpClient();

    /** As pgvector reads it. Your own method goes here. Models that want a prefix before queries get it here, too. */
    static String embed(String model, String text) throws Exception {
        String body = "{\"model\": " + quoted(model) + ", \"input\": [" + quoted(text) + "]}";
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("EMBEDDINGS_URL") + "/embeddings"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
        HttpResponse<String> answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException("the embeddings server answers " + answer.statusCode());
        }
        // a JSON library would do; the vector is the one list of numbers
        int begin = answer.body().indexOf('[', answer.body().indexOf("\"embedding\":"));
        return answer.body().substring(begin, answer.body().indexOf(']', begin) + 1);
    }

    static String search(Connection db, String text) throws Exception {
        for (int attempt = 0; attempt < 5; attempt++) {
            String model;
            try (Statement statement = db.createStatement();
                    ResultSet row = statement.executeQuery(
                            "SELECT query_model FROM reembed.routing WHERE collection = 'docs'")) {
                row.next();
                model = row.getString(1);
            }
            String vector = embed(model, text);
            List<String> hits = new ArrayList<>();
            boolean same = true;
            try (PreparedStatement statement = db.prepareStatement(SEARCH)) {
                statement.setString(1, vector);
                statement.setString(2, vector);
                try (ResultSet row = statement.executeQuery()) {
                    while (row.next()) {
                        hits.add("{\"id\": " + row.getLong(1) + ", \"title\": " + quoted(row.getString(2))
                                + ", \"distance\": " + row.getDouble(3) + "}");
                        same = same && model.equals(row.getString(4));
                    }
                }
            } catch (SQLException error) {
                if (!"22000".equals(error.getSQLState())) {
                    throw error;
                }
                continue; // queries went over meanwhile, to a model with other dimensions: ask again
            }
            if (same) {
                return "{\"model\": " + quoted(model) + ", \"hits\": [" + String.join(", ", hits) + "]}";
            }
            // queries went over meanwhile: these are another model's hits, ask again
        }
        throw new IllegalStateException("the model changed at each of five attempts, or its vectors have other dimensions");
    }

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection db = DriverManager.getConnection(System.getenv("JDBC_URL"));
                BufferedReader lines = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                System.out.println(search(db, line));
            }
        }
    }
}
