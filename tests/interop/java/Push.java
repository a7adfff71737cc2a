import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Push NAMESERVER TOPIC GROUP WHO [jdbc=URL] [threads=N] [from=first|last] [tags=EXPRESSION] [show=1] [count=N] [trace=1] [fail=KEY]
 *
 * The plain push consumer. With jdbc each message becomes a row of payments, at least once. With show each is printed: id, queue, offset. With count it only counts, prints
 * "N messages in MS ms" when it has that many (timed from the first one on) and ends. Else it ends on SIGTERM, in order, and prints "consumed N".
 * With trace it writes traces; the message with the key of fail fails the first time.
 */
public final class Push {
    public static void main(String[] args) throws Exception {
        Rig.endOnError();
        Map<String, String> options = Rig.options(args, 4);
        long count = Rig.number(options, "count", 0);
        boolean show = options.containsKey("show");
        Rig.Payments payments = options.containsKey("jdbc") ? new Rig.Payments(options.get("jdbc"), args[3]) : null;
        AtomicLong n = new AtomicLong(), began = new AtomicLong();
        String fail = options.get("fail");
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(args[2], options.containsKey("trace"), null);
        consumer.setNamesrvAddr(args[0]);
        consumer.setInstanceName(args[3] + "-" + ProcessHandle.current().pid());
        consumer.setPollNameServerInterval(2000);
        consumer.setConsumeThreadMin(Rig.number(options, "threads", 4));
        consumer.setConsumeThreadMax(Rig.number(options, "threads", 4));
        consumer.setConsumeFromWhere(
            options.getOrDefault("from", "first").equals("last") ? ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET : ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(args[1], options.getOrDefault("tags", "*"));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            began.compareAndSet(0, System.nanoTime());
            for (MessageExt m : messages) {
                if (payments != null) {
                    try {
                        payments.add(m.getBody());
                    } catch (java.sql.SQLException e) {
                        System.err.println(e.getMessage());
                        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                    }
                }
                if (fail != null && fail.equals(m.getKeys()) && m.getReconsumeTimes() == 0) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
                if (show) {
                    System.out.println(m.getMsgId() + " " + m.getBrokerName() + "-" + m.getQueueId() + " " + m.getQueueOffset() + " " + m.getKeys());
                }
            }
            if (n.addAndGet(messages.size()) >= count && count > 0) {
                System.out.println(n.get() + " messages in " + (System.nanoTime() - began.get()) / 1_000_000 + " ms");
                Runtime.getRuntime().halt(0);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.shutdown();
            System.out.println("consumed " + n.get());
        }));
        consumer.start();
        System.out.println("started " + consumer.buildMQClientId());
        Thread.currentThread().join();
    }
}
