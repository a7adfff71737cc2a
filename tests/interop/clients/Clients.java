/* The twelve checks with the Java client: one line "ok NAME" or "not ok NAME: WHY" each. */
import com.aliyun.mq.http.MQClient;
import com.aliyun.mq.http.MQConsumer;
import com.aliyun.mq.http.MQProducer;
import com.aliyun.mq.http.MQTransProducer;
import com.aliyun.mq.http.common.AckMessageException;
import com.aliyun.mq.http.common.ServiceException;
import com.aliyun.mq.http.model.Message;
import com.aliyun.mq.http.model.TopicMessage;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

public class Clients {
    static final String INSTANCE = "MQ_INST_interop", GROUP = System.getenv("MQ_GROUP");
    static final MQClient client = connect(System.getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"));

    interface Check { void run() throws Exception; }
    interface Poll { List<Message> take(int most, int seconds) throws Exception; }

    static MQClient connect(String secret) {
        return new MQClient(System.getenv("MQ_ENDPOINT"), System.getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), secret);
    }
    static MQProducer producer(String topic) { return client.getProducer(INSTANCE, topic); }
    static MQConsumer consumer(String topic, String tag) { return client.getConsumer(INSTANCE, topic, GROUP, tag); }
    static TopicMessage message(String body) { return new TopicMessage(body.getBytes(StandardCharsets.UTF_8)); }
    static void verify(boolean truth, Object why) { if (!truth) throw new IllegalStateException(String.valueOf(why)); }

    static List<String> handles(List<Message> messages) {
        List<String> handles = new ArrayList<>();
        for (Message m : messages) handles.add(m.getReceiptHandle());
        return handles;
    }
    static List<String> everything(MQConsumer c, Poll how, int count) throws Exception {
        List<String> bodies = new ArrayList<>();
        for (int i = 0; i < 20 && bodies.size() < count; i++) {
            List<Message> got = how.take(16, 2);
            if (got == null) continue;
            for (Message m : got) bodies.add(m.getMessageBodyString());
            c.ackMessage(handles(got));
        }
        return bodies;
    }
    static void expect(MQConsumer c, String... bodies) throws Exception {
        List<String> got = everything(c, c::consumeMessage, bodies.length);
        Collections.sort(got);
        verify(got.equals(Arrays.asList(bodies)), got);
    }
    static void refused(String code, Check call) throws Exception {
        try {
            call.run();
        } catch (ServiceException e) {
            verify(code.equals(e.getErrorCode()), e.getErrorCode() + " instead of " + code);
            return;
        }
        verify(false, "no " + code);
    }
    static void failure(String handle, String code, Check call) throws Exception {
        try {
            call.run();
        } catch (AckMessageException e) {
            verify(e.getErrorMessages().size() == 1 && code.equals(e.getErrorMessages().get(handle).getErrorCode()), e.getErrorMessages());
            return;
        }
        verify(false, "acknowledged");
    }
    static void check(String name, Check what) {
        try {
            what.run();
            System.out.println("ok " + name);
        } catch (Throwable e) {
            System.out.println("not ok " + name + ": " + e);
        }
    }

    static void plain() {
        MQConsumer c = consumer("plain", "");
        check("round-trip", () -> {
            String[] bodies = {"<a b=\"1\">&amp;</a>", "gr\u00fc\u00dfe \u4f60\u597d \ud83d\ude00", " blanks ", "two\r\nlines"};
            long begun = System.currentTimeMillis();
            for (String b : bodies) {
                TopicMessage m = message(b);
                m.setMessageTag("T");
                m.setMessageKey("k");
                m.getProperties().put("color", "red");
                verify(producer("plain").publishMessage(m).getMessageId().length() == 32, "no id");
            }
            verify(System.currentTimeMillis() - begun < 6000, "each send waited for 100 Continue");
            List<Message> got = c.consumeMessage(16, 3);
            verify(got.size() == bodies.length, got.size() + " messages");
            for (int i = 0; i < bodies.length; i++) {
                Message m = got.get(i);
                verify(m.getMessageBodyString().equals(bodies[i]) && "k".equals(m.getMessageKey()) && "red".equals(m.getProperties().get("color"))
                        && "T".equals(m.getMessageTag()) && m.getConsumedTimes() == 1, m);
            }
            c.ackMessage(handles(got));
        });
        check("empty-queue", () -> verify(c.consumeMessage(1, 1) == null, "there is a message"));
        check("long-poll-wakes", () -> {
            ScheduledExecutorService later = Executors.newSingleThreadScheduledExecutor();
            long begun = System.currentTimeMillis();
            later.schedule(() -> producer("plain").publishMessage(message("wake up")), 500, TimeUnit.MILLISECONDS);
            expect(c, "wake up");
            later.shutdown();
            verify(System.currentTimeMillis() - begun < 3000, "late");
        });
        check("tags", () -> {
            for (String t : new String[]{"A", "B", "C d"}) {
                TopicMessage m = message(t);
                m.setMessageTag(t);
                producer("plain").publishMessage(m);
            }
            expect(consumer("plain", "A||C d"), "A", "C d");
            expect(c, "B");
        });
        check("partly-acknowledged", () -> {
            producer("plain").publishMessage(message("x"));
            String handle = c.consumeMessage(1, 3).get(0).getReceiptHandle();
            failure("odd", "ReceiptHandleError", () -> c.ackMessage(Arrays.asList(handle, "odd")));
        });
        check("comes-again", () -> {
            producer("plain").publishMessage(message("again"));
            Message first = c.consumeMessage(1, 3).get(0), second = c.consumeMessage(1, 10).get(0);
            verify(second.getMessageId().equals(first.getMessageId()) && second.getConsumedTimes() == 2
                    && System.currentTimeMillis() >= first.getNextConsumeTime(), second);
            failure(first.getReceiptHandle(), "MessageNotExist", () -> c.ackMessage(Arrays.asList(first.getReceiptHandle())));
            c.ackMessage(Arrays.asList(second.getReceiptHandle()));
        });
    }

    static TopicMessage half(String body) {
        TopicMessage m = message(body);
        m.setTransCheckImmunityTime(10);
        return m;
    }

    static void transactions() {
        MQTransProducer trans = client.getTransProducer(INSTANCE, "trans", GROUP);
        MQConsumer c = consumer("trans", "");
        check("commit", () -> {
            String handle = trans.publishMessage(half("commit me")).getReceiptHandle();
            verify(c.consumeMessage(1, 1) == null, "visible before the commit");
            trans.commit(handle);
            expect(c, "commit me");
        });
        check("rollback", () -> {
            trans.rollback(trans.publishMessage(half("drop me")).getReceiptHandle());
            verify(c.consumeMessage(1, 1) == null, "delivered all the same");
        });
        check("half-is-offered", () -> {
            long begun = System.currentTimeMillis();
            trans.publishMessage(half("ask me"));
            List<Message> got = trans.consumeHalfMessage(16, 15);
            verify(got != null && got.get(0).getMessageBodyString().equals("ask me") && System.currentTimeMillis() - begun > 9000, got);
            trans.commit(got.get(0).getReceiptHandle());
            expect(c, "ask me");
        });
    }

    public static void main(String[] args) {
        plain();
        check("ordered", () -> {
            StringBuilder[] lanes = {new StringBuilder(), new StringBuilder()};
            for (int i = 0; i < 8; i++) {
                TopicMessage m = message("" + i);
                m.setShardingKey("s" + i % 2);
                producer("ordered").publishMessage(m);
            }
            MQConsumer c = consumer("ordered", "");
            for (String b : everything(c, c::consumeMessageOrderly, 8)) lanes[b.charAt(0) & 1].append(b);
            verify(lanes[0].toString().equals("0246") && lanes[1].toString().equals("1357"), lanes[0] + " " + lanes[1]);
        });
        transactions();
        check("delayed", () -> {
            long due = System.currentTimeMillis() + 1500;
            TopicMessage m = message("later");
            m.setStartDeliverTime(due);
            producer("delayed").publishMessage(m);
            expect(consumer("delayed", ""), "later");
            verify(System.currentTimeMillis() >= due, "early");
        });
        check("refusals", () -> {
            refused("SignatureDoesNotMatch", () -> connect("wrong").getProducer(INSTANCE, "plain").publishMessage(message("x")));
            refused("TopicNotExist", () -> producer("nowhere").publishMessage(message("x")));
            refused("InvalidArgument", () -> consumer("plain", "").consumeMessage(17, 1));
        });
        System.exit(0);
    }
}
