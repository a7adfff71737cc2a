import com.aliyun.openservices.ons.api.Action;
import com.aliyun.openservices.ons.api.Consumer;
import com.aliyun.openservices.ons.api.Message;
import com.aliyun.openservices.ons.api.ONSFactory;
import com.aliyun.openservices.ons.api.PropertyKeyConst;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.time.Instant;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Book NAMESERVER TOPIC GROUP WARM COUNT jdbc=URL [threads=20] [record=1]: the cloud vendor's plain client beside bench/end-to-end.c, with the same table and the same output.
 *
 * One row of orders a message, on a connection of a HikariCP pool of as many as there are threads. At least once: autocommit. With record=1: a row of transaction_record and one of
 * orders in one transaction; a duplicate key is a message that came before. Prints "warm", "done US" and latencies, then waits until its input ends.
 */
public final class Book {
    private static final String ORDER = "INSERT INTO orders (id, payload) VALUES (?, ?)";
    private static AtomicLong began = new AtomicLong();
    private static HikariDataSource pool;
    private static String record, group;

    public static void main(String[] args) throws Exception {
        Rig.endOnError();
        Map<String, String> options = Rig.options(args, 5);
        int warm = Integer.parseInt(args[3]), all = warm + Integer.parseInt(args[4]), threads = Rig.number(options, "threads", 20);
        AtomicInteger n = new AtomicInteger(), timed = new AtomicInteger();
        int[] late = new int[all];
        group = args[2];
        connect(options.get("jdbc"), threads, options.containsKey("record"));
        Properties p = new Properties();
        p.put(PropertyKeyConst.NAMESRV_ADDR, args[0]);
        p.put(PropertyKeyConst.AccessKey, "test");
        p.put(PropertyKeyConst.SecretKey, "test");
        p.put("msgTraceSwitch", "false");
        p.put(PropertyKeyConst.GROUP_ID, group);
        p.put(PropertyKeyConst.ConsumeThreadNums, Integer.toString(threads));
        Consumer consumer = ONSFactory.createConsumer(p);
        consumer.subscribe(args[1], "*", (m, context) -> {
            try {
                apply(m);
            } catch (SQLException e) {
                System.err.println(e);
                return Action.ReconsumeLater;
            }
            long sent = Long.parseUnsignedLong(new String(m.getBody(), 0, 16, StandardCharsets.ISO_8859_1), 16);
            if (sent > 0) {
                Instant now = Instant.now();
                int at = timed.getAndIncrement();
                if (at < all) {
                    late[at] = (int) Math.min(now.getEpochSecond() * 1_000_000 + now.getNano() / 1000 - sent, Integer.MAX_VALUE);
                }
            }
            int done = n.incrementAndGet();
            if (done == warm) {
                began.set(System.nanoTime());
                System.out.println("warm");
            } else if (done == all) {
                show(late, timed.get());
            }
            return Action.CommitMessage;
        });
        consumer.start();
        while (System.in.read() >= 0) { }
        Runtime.getRuntime().halt(0);
    }

    private static void show(int[] late, int n) {
        System.out.println("done " + (System.nanoTime() - began.get()) / 1000);
        if (n > 0) {
            int[] v = Arrays.copyOf(late, n);
            Arrays.sort(v);
            System.out.println("latency n=" + n + " p50_us=" + v[n / 2] + " p99_us=" + v[(int) (n * 99L / 100)] + " p999_us=" + v[(int) (n * 999L / 1000)] + " max_us=" + v[n - 1]);
        }
    }

    private static void connect(String url, int threads, boolean withRecord) {
        HikariConfig c = new HikariConfig();
        c.setJdbcUrl(url);
        c.setMaximumPoolSize(threads);
        c.setAutoCommit(!withRecord);
        pool = new HikariDataSource(c);
        String quote = url.startsWith("jdbc:postgresql") ? "\"" : "`";
        record = !withRecord ? null
            : "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, " + quote + "offset" + quote + ", broker_name) VALUES (?, ?, ?, ?, ?, ?, ?)";
    }

    private static void apply(Message m) throws SQLException {
        try (Connection c = pool.getConnection()) {
            if (record != null && !claim(c, m)) {
                return;
            }
            try (PreparedStatement s = c.prepareStatement(ORDER)) {
                s.setString(1, m.getMsgID());
                s.setString(2, new String(m.getBody(), StandardCharsets.UTF_8));
                s.executeUpdate();
            }
            if (record != null) {
                c.commit();
            }
        }
    }

    /** False: it was applied before. */
    private static boolean claim(Connection c, Message m) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(record)) {
            s.setString(1, group);
            s.setString(2, m.getMsgID() + "#" + group);
            s.setString(3, m.getTopic());
            s.setLong(4, System.currentTimeMillis());
            s.setInt(5, 0);
            s.setLong(6, m.getOffset());
            s.setString(7, "broker-a");
            s.executeUpdate();
            return true;
        } catch (SQLException e) {
            c.rollback();
            if (e.getSQLState() != null && e.getSQLState().startsWith("23")) {
                return false;
            }
            throw e;
        }
    }
}
