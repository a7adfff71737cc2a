import java.io.IOException;
import java.lang.reflect.Field;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.ha.DefaultHAService;

/** Keeps a test broker's replication port on the loopback address; the broker has a setting for its other ports only. */
public class LoopbackReplication extends DefaultHAService {
    @Override
    public void init(DefaultMessageStore store) throws IOException {
        super.init(store);
        InetSocketAddress here = new InetSocketAddress(InetAddress.getLoopbackAddress(), store.getMessageStoreConfig().getHaListenPort());
        Class<?> c = acceptSocketService == null ? null : acceptSocketService.getClass();
        for (; c != null; c = c.getSuperclass()) {
            for (Field f : c.getDeclaredFields()) {
                if (f.getType() == InetSocketAddress.class || f.getType() == java.net.SocketAddress.class) {
                    try {
                        f.setAccessible(true);
                        f.set(acceptSocketService, here);
                    } catch (ReflectiveOperationException | RuntimeException e) {
                        System.err.println("replication port: " + e);
                    }
                }
            }
        }
    }
}
