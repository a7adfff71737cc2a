import com.aliyun.openservices.ons.api.Action;
import com.aliyun.openservices.ons.api.Consumer;
import com.aliyun.openservices.ons.api.Message;
import com.aliyun.openservices.ons.api.ONSFactory;
import com.aliyun.openservices.ons.api.Producer;
import com.aliyun.openservices.ons.api.PropertyKeyConst;
import com.aliyun.openservices.ons.api.SendResult;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The cloud vendor's plain client. Ons NAMESERVER TOPIC send FIRST LAST [exactly-once=1]: sends payments, prints their ids and "sent N".
 * Ons NAMESERVER TOPIC consume GROUP COUNT jdbc=URL [threads=N]: writes each message as a row of payments, at least once, and prints "N messages in MS ms".
 */
public final class Ons {
    public static void main(String[] args) throws Exception {
        Rig.endOnError();
        Properties p = new Properties();
        p.put(PropertyKeyConst.NAMESRV_ADDR, args[0]);
        p.put(PropertyKeyConst.AccessKey, "test");
        p.put(PropertyKeyConst.SecretKey, "test");
        p.put(PropertyKeyConst.SendMsgTimeoutMillis, "10000");
        p.put("msgTraceSwitch", "false");
        Map<String, String> options = Rig.options(args, 5);
        if (args[2].equals("send")) {
            send(p, args[1], Integer.parseInt(args[3]), Integer.parseInt(args[4]), options);
        } else {
            consume(p, args[1], args[3], Long.parseLong(args[4]), options);
        }
    }

    private static void send(Properties p, String topic, int first, int last, Map<String, String> options) {
        p.put(PropertyKeyConst.GROUP_ID, "GID_ons_sender");
        if (options.containsKey("exactly-once")) {
            p.put(PropertyKeyConst.EXACTLYONCE_DELIVERY, "true");
        }
        Producer producer = ONSFactory.createProducer(p);
        producer.start();
        for (int i = first; i <= last; i++) {
            Message m = new Message(topic, "", Rig.body(i, "", 0, 0));
            m.setKey("k" + i);
            SendResult r = producer.send(m);
            System.out.println(r.getMessageId());
        }
        producer.shutdown();
        System.out.println("sent " + (last - first + 1));
        System.exit(0);
    }

    private static void consume(Properties p, String topic, String group, long count, Map<String, String> options) throws Exception {
        Rig.Payments payments = new Rig.Payments(options.get("jdbc"), "ons");
        AtomicLong n = new AtomicLong(), began = new AtomicLong();
        p.put(PropertyKeyConst.GROUP_ID, group);
        p.put(PropertyKeyConst.ConsumeThreadNums, options.getOrDefault("threads", "20"));
        Consumer consumer = ONSFactory.createConsumer(p);
        consumer.subscribe(topic, "*", (m, context) -> {
            began.compareAndSet(0, System.nanoTime());
            try {
                payments.add(m.getBody());
            } catch (java.sql.SQLException e) {
                System.err.println(e.getMessage());
                return Action.ReconsumeLater;
            }
            if (n.incrementAndGet() >= count) {
                System.out.println(n.get() + " messages in " + (System.nanoTime() - began.get()) / 1_000_000 + " ms");
                Runtime.getRuntime().halt(0);
            }
            return Action.CommitMessage;
        });
        consumer.start();
        Thread.currentThread().join();
    }
}
