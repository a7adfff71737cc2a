/* Messages of AMQP 0-9-1 (RabbitMQ), applied once each: xonce_once() first, the acknowledge last. 11-amqp [PORT]: sends 20 clicks and takes them; it loses every fifth acknowledge
   and its connection, as a crash between COMMIT and acknowledge would, and the broker delivers those messages again to the next one. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <xonce/xonce.h>

enum { MESSAGES = 20, CHANNEL = 1 };

static xonce_verdict count_click(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO clicks (id, n) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static amqp_connection_state_t open_broker(int port)
{
    amqp_connection_state_t c = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(c), "127.0.0.1", port) == AMQP_STATUS_OK &&
        amqp_login(c, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type == AMQP_RESPONSE_NORMAL && amqp_channel_open(c, CHANNEL) &&
        amqp_queue_declare(c, CHANNEL, amqp_cstring_bytes("clicks"), 0, 1, 0, 0, amqp_empty_table))
        return c;
    amqp_destroy_connection(c);
    return NULL;
}

static int send_clicks(amqp_connection_state_t c)
{
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = AMQP_DELIVERY_PERSISTENT};
    int bad = 0;
    for (int i = 1; i <= MESSAGES; i++) {
        char id[16];
        snprintf(id, sizeof id, "C-%02d", i); /* AMQP numbers no messages: the producer must name them, and keep the name when it sends again */
        p.message_id = amqp_cstring_bytes(id);
        bad |= amqp_basic_publish(c, CHANNEL, amqp_empty_bytes, amqp_cstring_bytes("clicks"), 0, 0, &p, amqp_cstring_bytes("1")) != AMQP_STATUS_OK;
    }
    return bad;
}

static xonce_status apply(xonce_store *store, const amqp_envelope_t *e, int named, xonce_outcome *what)
{
    xonce_message *m;
    char id[256];
    snprintf(id, sizeof id, "%.*s", named ? (int)e->message.properties.message_id.len : 0, named ? (char *)e->message.properties.message_id.bytes : "");
    xonce_status st = xonce_message_new(&m, "clicks", id, e->message.body.bytes, e->message.body.len);
    if (st == XONCE_OK)
        st = xonce_once(store, m, count_click, NULL, what);
    xonce_message_free(m);
    return st;
}

/* Until nothing comes for two seconds. */
static void consume(xonce_store *store, amqp_connection_state_t c, int lossy)
{
    int count[4] = {0};
    struct timeval two = {2, 0};
    amqp_envelope_t e;
    amqp_basic_qos(c, CHANNEL, 0, MESSAGES, 0); /* so many may be out without an acknowledge */
    amqp_basic_consume(c, CHANNEL, amqp_cstring_bytes("clicks"), amqp_empty_bytes, 0, 0 /* acknowledged by hand */, 0, amqp_empty_table);
    while (amqp_consume_message(c, &e, &two, 0).reply_type == AMQP_RESPONSE_NORMAL) {
        xonce_outcome what = XONCE_DEFERRED;
        int named = (e.message.properties._flags & AMQP_BASIC_MESSAGE_ID_FLAG) != 0;
        if (apply(store, &e, named, &what) != XONCE_OK)
            fprintf(stderr, "%s\n", xonce_error_last()->text);
        if (what == XONCE_DEFERRED)
            amqp_basic_nack(c, CHANNEL, e.delivery_tag, 0, named); /* let it come again; without a name it goes to the dead letters, if there are any */
        else if (!lossy || e.delivery_tag % 5 != 0)
            amqp_basic_ack(c, CHANNEL, e.delivery_tag, 0);
        count[what]++;
        amqp_destroy_envelope(&e);
    }
    printf("fresh %d, duplicate %d\n", count[XONCE_FRESH], count[XONCE_DUPLICATE]);
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 5672;
    xonce_store *store;
    xonce_tx *tx;
    if (xonce_store_open(&store, "sqlite:amqp.db", "GID_clicks", NULL) != XONCE_OK || xonce_store_upgrade(store) != XONCE_OK || xonce_tx_begin(store, &tx) != XONCE_OK ||
        xonce_exec(tx, "CREATE TABLE IF NOT EXISTS clicks (id TEXT, n INTEGER)") != XONCE_OK || xonce_tx_commit(tx) != XONCE_OK)
        return fprintf(stderr, "%s\n", xonce_error_last()->text), 1;
    for (int lossy = 1; lossy >= 0; lossy--) {
        amqp_connection_state_t c = open_broker(port);
        if (!c || (lossy && send_clicks(c)))
            return fprintf(stderr, "no broker at 127.0.0.1:%d\n", port), 1;
        consume(store, c, lossy);
    }
    xonce_store_close(store);
    return 0;
}
