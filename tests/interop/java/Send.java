import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Send NAMESERVER JOB [-- JOB]..., a JOB being: TOPIC MODE FIRST LAST [queues=N] [tag=T] [level=N] [padding=BYTES] [large=EVERY] [pause=MS] [batch=N] [seconds=N]
 *         [properties=NAME:VALUE,...]
 *
 * Sends payments FIRST to LAST, one after the other, each again until a broker says that it has it (as the same Message, so under the same id).
 * MODE: normal; batch; ordered (payment i goes to queue i modulo N, its place there is in its body); delayed (level); twice (each Message is sent two times); mixed (normal and batches
 * by turns). With seconds it ends after that time. Prints "sent N".
 * With TRACE in the environment the producer writes traces.
 */
public final class Send {
    private final DefaultMQProducer producer;
    private final Map<String, String> options;
    private final String topic, mode;

    private Send(DefaultMQProducer producer, String topic, String mode, Map<String, String> options) {
        this.producer = producer;
        this.topic = topic;
        this.mode = mode;
        this.options = options;
    }

    public static void main(String[] args) throws Exception {
        Rig.endOnError();
        DefaultMQProducer producer = new DefaultMQProducer("GID_java_sender_" + ProcessHandle.current().pid(), System.getenv("TRACE") != null, null);
        producer.setNamesrvAddr(args[0]);
        producer.setInstanceName("sender-" + ProcessHandle.current().pid());
        producer.setPollNameServerInterval(1000);
        producer.start();
        int sent = 0;
        for (int at = 1; at < args.length;) {
            int end = at;
            while (end < args.length && !args[end].equals("--")) {
                end++;
            }
            String[] job = Arrays.copyOfRange(args, at, end);
            sent += new Send(producer, job[0], job[1], Rig.options(job, 4)).run(Integer.parseInt(job[2]), Integer.parseInt(job[3]));
            at = end + 1;
        }
        producer.shutdown();
        System.out.println("sent " + sent);
        System.exit(0);
    }

    private int run(int first, int last) throws Exception {
        int batch = Rig.number(options, "batch", 16);
        int pause = Rig.number(options, "pause", 0);
        long end = options.containsKey("seconds") ? System.nanoTime() + Rig.number(options, "seconds", 0) * 1_000_000_000L : Long.MAX_VALUE;
        int n = 0;
        for (int i = first; i <= last && System.nanoTime() < end;) {
            boolean together = mode.equals("batch") || (mode.equals("mixed") && i / batch % 2 == 1);
            List<Message> messages = new ArrayList<>();
            do {
                messages.add(message(i++));
            } while (together && messages.size() < batch && i <= last);
            if (together) {
                until(() -> producer.send(messages));
            } else if (mode.equals("ordered")) {
                int queue = (i - 1) % Rig.number(options, "queues", 1);
                until(() -> producer.send(messages.get(0), Send::queueNumber, queue));
            } else {
                until(() -> producer.send(messages.get(0)));
                if (mode.equals("twice")) {
                    until(() -> producer.send(messages.get(0)));
                }
            }
            n += messages.size();
            if (pause > 0) {
                Thread.sleep(pause);
            }
        }
        return n;
    }

    private static MessageQueue queueNumber(List<MessageQueue> queues, Message m, Object number) {
        List<MessageQueue> sorted = new ArrayList<>(queues);
        Collections.sort(sorted);
        return sorted.get((Integer) number);
    }

    private Message message(int i) {
        int queues = Rig.number(options, "queues", 1);
        int large = Rig.number(options, "large", 0);
        int padding = large > 0 && i % large == 0 ? 6000 : Rig.number(options, "padding", 0);
        boolean ordered = mode.equals("ordered");
        Message m = new Message(topic, options.getOrDefault("tag", ""), "k" + i, Rig.body(i, ordered ? "q" + i % queues : "", ordered ? i / queues : 0, padding));
        if (mode.equals("delayed")) {
            m.setDelayTimeLevel(Rig.number(options, "level", 1));
        }
        for (String p : options.getOrDefault("properties", "").split(",")) {
            if (!p.isEmpty()) {
                m.putUserProperty(p.substring(0, p.indexOf(':')), p.substring(p.indexOf(':') + 1));
            }
        }
        return m;
    }

    private interface Try {
        SendResult go() throws Exception;
    }

    private static void until(Try send) throws Exception {
        long giveUp = System.currentTimeMillis() + 120_000;
        for (;;) {
            try {
                SendResult r = send.go();
                if (r.getSendStatus() == SendStatus.SEND_OK || r.getSendStatus() == SendStatus.SLAVE_NOT_AVAILABLE) {
                    return;
                }
            } catch (Exception e) {
                if (System.currentTimeMillis() > giveUp) {
                    throw e;
                }
                Thread.sleep(200);
            }
        }
    }
}
