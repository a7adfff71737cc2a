import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.hook.SendMessageContext;
import org.apache.rocketmq.client.hook.SendMessageHook;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Makes messages that are there a second time. Again NAMESERVER copy FROM-TOPIC TO-TOPIC: sends each message of a topic again with all its properties, as a mirror does, or an operator
 * with dead letters. Again NAMESERVER commit-twice TOPIC FIRST LAST: payments sent in transactions, each committed two times. Prints "sent N".
 */
public final class Again {
    public static void main(String[] args) throws Exception {
        Rig.endOnError();
        int n = args[1].equals("copy") ? copy(args[0], args[2], args[3]) : commitTwice(args[0], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]));
        System.out.println("sent " + n);
        System.exit(0);
    }

    private static int copy(String server, String from, String to) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("GID_java_copy_" + ProcessHandle.current().pid());
        consumer.setNamesrvAddr(server);
        consumer.start();
        List<MessageExt> found = new ArrayList<>();
        Set<MessageQueue> queues = consumer.fetchSubscribeMessageQueues(from);
        for (MessageQueue q : queues) {
            long offset = consumer.minOffset(q), end = consumer.maxOffset(q);
            while (offset < end) {
                PullResult r = consumer.pull(q, "*", offset, 32);
                if (r.getPullStatus() == PullStatus.FOUND) {
                    found.addAll(r.getMsgFoundList());
                }
                offset = r.getNextBeginOffset();
            }
        }
        consumer.shutdown();
        DefaultMQProducer producer = new DefaultMQProducer("GID_java_copy");
        producer.setNamesrvAddr(server);
        producer.start();
        for (MessageExt m : found) {
            Message again = new Message(to, m.getBody());
            again.setFlag(m.getFlag());
            MessageAccessor.setProperties(again, new HashMap<>(m.getProperties()));
            for (String order : new String[] {"TRAN_MSG", "DELAY"}) { // they would make it a half message, or late
                MessageAccessor.clearProperty(again, order);
            }
            producer.send(again);
        }
        producer.shutdown();
        return found.size();
    }

    private static int commitTwice(String server, String topic, int first, int last) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer("GID_java_twice");
        producer.setNamesrvAddr(server);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message m, Object argument) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt m) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        Map<Message, SendResult> sent = new HashMap<>(); // as the broker answered: what the call returns lacks the place of the half message
        producer.getDefaultMQProducerImpl().registerSendMessageHook(new SendMessageHook() {
            @Override
            public String hookName() {
                return "keep";
            }

            @Override
            public void sendMessageBefore(SendMessageContext context) { }

            @Override
            public void sendMessageAfter(SendMessageContext context) {
                if (context.getSendResult() != null) {
                    sent.put(context.getMessage(), context.getSendResult());
                }
            }
        });
        producer.start();
        for (int i = first; i <= last; i++) {
            producer.sendMessageInTransaction(new Message(topic, "", "k" + i, Rig.body(i, "", 0, 0)), null);
        }
        for (Map.Entry<Message, SendResult> e : sent.entrySet()) {
            producer.getDefaultMQProducerImpl().endTransaction(e.getKey(), e.getValue(), LocalTransactionState.COMMIT_MESSAGE, null);
        }
        Thread.sleep(500); // the second commits are sent without an answer
        producer.shutdown();
        return sent.size();
    }
}
