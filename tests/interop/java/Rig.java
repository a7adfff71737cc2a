import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.Map;

/** What the programs here share: options, bodies, and a row a payment. */
final class Rig {
    private Rig() { }

    /** An error in main ends the program: the clients' threads would keep it. */
    static void endOnError() {
        Thread.currentThread().setUncaughtExceptionHandler((t, e) -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        });
    }

    /** The arguments from index on, as key=value. */
    static Map<String, String> options(String[] args, int from) {
        Map<String, String> m = new HashMap<>();
        for (int i = from; i < args.length; i++) {
            int eq = args[i].indexOf('=');
            m.put(args[i].substring(0, eq), args[i].substring(eq + 1));
        }
        return m;
    }

    static int number(Map<String, String> options, String key, int otherwise) {
        return Integer.parseInt(options.getOrDefault(key, Integer.toString(otherwise)));
    }

    static byte[] body(int i, String queue, long seq, int padding) {
        StringBuilder b = new StringBuilder(80 + padding);
        b.append("{\"id\":\"p").append(i).append("\",\"amount\":").append(i).append(",\"queue\":\"").append(queue).append("\",\"seq\":").append(seq);
        if (padding > 0) {
            b.append(",\"text\":\"");
            for (int k = 0; k < padding; k++) {
                b.append((char) ('a' + (i + k / 7) % 26));
            }
            b.append('"');
        }
        return b.append('}').toString().getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    /** A member of a flat JSON body of ours. */
    static String member(String json, String name) {
        int at = json.indexOf("\"" + name + "\":") + name.length() + 3;
        boolean text = json.charAt(at) == '"';
        int end = at + 1;
        while (text ? json.charAt(end) != '"' : json.charAt(end) != ',' && json.charAt(end) != '}') {
            end++;
        }
        return json.substring(text ? at + 1 : at, end);
    }

    /** Inserts payments, with a connection a thread; tries again on a new connection once. */
    static final class Payments {
        private final String url, who;
        private final ThreadLocal<PreparedStatement> statement = new ThreadLocal<>();

        Payments(String url, String who) {
            this.url = url;
            this.who = who;
        }

        void add(byte[] body) throws SQLException {
            String json = new String(body, java.nio.charset.StandardCharsets.UTF_8);
            PreparedStatement s = statement.get();
            if (s == null || s.getConnection().isClosed()) {
                Connection c = DriverManager.getConnection(url);
                s = c.prepareStatement("INSERT INTO payments (id, amount, place, seq, who) VALUES (?, ?, ?, ?, ?)");
                statement.set(s);
            }
            s.setString(1, member(json, "id"));
            s.setLong(2, Long.parseLong(member(json, "amount")));
            s.setString(3, member(json, "queue"));
            s.setLong(4, Long.parseLong(member(json, "seq")));
            s.setString(5, who);
            try {
                s.executeUpdate();
            } catch (SQLException e) {
                statement.remove();
                s.getConnection().close();
                throw e;
            }
        }
    }
}
