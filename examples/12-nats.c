/* Messages of NATS JetStream, applied once each: xonce_once() first, the acknowledge last. 12-nats URL: sends 20 clicks and takes them; it loses every fifth acknowledge, as
   a crash between COMMIT and acknowledge would, so that the server delivers those messages again. */
#include <nats/nats.h>
#include <stdio.h>
#include <xonce/xonce.h>

enum { MESSAGES = 20, ACK_WAIT_MS = 500 };

static xonce_verdict count_click(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO clicks (id, n) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

/* The name of the stream and the number in it name a stored message for good. A producer that may send twice sets Nats-Msg-Id: take that header then. */
static xonce_status apply(xonce_store *store, natsMsg *msg, const jsMsgMetaData *meta, xonce_outcome *what)
{
    xonce_message *m;
    char id[300];
    snprintf(id, sizeof id, "%s-%llu", meta->Stream, (unsigned long long)meta->Sequence.Stream);
    xonce_status st = xonce_message_new(&m, natsMsg_GetSubject(msg), id, natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    if (st == XONCE_OK)
        st = xonce_once(store, m, count_click, NULL, what);
    xonce_message_free(m);
    return st;
}

static natsStatus consume(xonce_store *store, natsSubscription *sub, int *count)
{
    for (int settled = 0; settled < MESSAGES;) {
        natsMsgList list;
        jsErrCode error;
        natsStatus s = natsSubscription_Fetch(&list, sub, 10, 5000, &error);
        if (s != NATS_OK)
            return s;
        for (int i = 0; i < list.Count; i++) {
            xonce_outcome what = XONCE_DEFERRED;
            jsMsgMetaData *meta = NULL;
            s = natsMsg_GetMetaData(&meta, list.Msgs[i]);
            if (s == NATS_OK && apply(store, list.Msgs[i], meta, &what) != XONCE_OK)
                fprintf(stderr, "%s\n", xonce_error_last()->text);
            count[what]++;
            if (what == XONCE_DEFERRED)
                (void)natsMsg_Nak(list.Msgs[i], NULL); /* let it come again */
            else if (meta->NumDelivered > 1 || meta->Sequence.Stream % 5 != 0)
                settled += natsMsg_AckSync(list.Msgs[i], NULL, &error) == NATS_OK;
            jsMsgMetaData_Destroy(meta);
        }
        natsMsgList_Destroy(&list);
    }
    return NATS_OK;
}

int main(int argc, char **argv)
{
    xonce_store *store;
    xonce_tx *tx;
    if (xonce_store_open(&store, "sqlite:nats.db", "GID_clicks", NULL) != XONCE_OK || xonce_store_upgrade(store) != XONCE_OK || xonce_tx_begin(store, &tx) != XONCE_OK ||
        xonce_exec(tx, "CREATE TABLE IF NOT EXISTS clicks (id TEXT, n INTEGER)") != XONCE_OK || xonce_tx_commit(tx) != XONCE_OK)
        return fprintf(stderr, "%s\n", xonce_error_last()->text), 1;
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    natsSubscription *sub = NULL;
    jsErrCode error;
    jsStreamConfig stream;
    jsSubOptions options;
    int count[4] = {0};
    jsStreamConfig_Init(&stream);
    stream.Name = "CLICKS";
    stream.Subjects = (const char *[]){"clicks"};
    stream.SubjectsLen = 1;
    jsSubOptions_Init(&options);
    options.ManualAck = true;
    options.Config.AckWait = ACK_WAIT_MS * 1000000LL;
    natsStatus s = natsConnection_ConnectTo(&nc, argc > 1 ? argv[1] : "nats://127.0.0.1:4222");
    if (s == NATS_OK)
        s = natsConnection_JetStream(&js, nc, NULL);
    if (s == NATS_OK)
        s = js_AddStream(NULL, js, &stream, NULL, &error);
    for (int i = 0; s == NATS_OK && i < MESSAGES; i++)
        s = js_Publish(NULL, js, "clicks", "1", 1, NULL, &error);
    if (s == NATS_OK)
        s = js_PullSubscribe(&sub, js, "clicks", "GID_clicks", NULL, &options, &error);
    if (s == NATS_OK)
        s = consume(store, sub, count);
    if (s != NATS_OK)
        fprintf(stderr, "%s\n", natsStatus_GetText(s));
    printf("fresh %d, duplicate %d\n", count[XONCE_FRESH], count[XONCE_DUPLICATE]);
    natsSubscription_Destroy(sub);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    xonce_store_close(store);
    nats_Close();
    return s != NATS_OK;
}
