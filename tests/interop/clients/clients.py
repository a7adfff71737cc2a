"""The twelve checks with the Python client: one line "ok NAME" or "not ok NAME: WHY" each."""
import os
import threading
import time

from mq_http_sdk.mq_client import MQClient
from mq_http_sdk.mq_exception import MQServerException
from mq_http_sdk.mq_producer import TopicMessage

INSTANCE, GROUP, ENDPOINT = "MQ_INST_interop", os.environ["MQ_GROUP"], os.environ["MQ_ENDPOINT"]
KEY, SECRET = os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]


def producer(topic, secret=SECRET):
    return MQClient(ENDPOINT, KEY, secret).get_producer(INSTANCE, topic)


def consumer(topic, tag=""):
    return MQClient(ENDPOINT, KEY, SECRET).get_consumer(INSTANCE, topic, GROUP, tag)


def message(body, tag="", **fields):
    m = TopicMessage(body, tag)
    for name, value in fields.items():
        getattr(m, name)(*(value if isinstance(value, tuple) else (value,)))
    return m


def take(source, most, seconds, way="consume_message"):
    try:
        return getattr(source, way)(most, seconds)
    except MQServerException as e:
        if e.type != "MessageNotExist":
            raise
        return []


def acknowledge(source, messages):
    source.ack_message([m.receipt_handle for m in messages])


def everything(source, count, way="consume_message"):
    bodies = []
    for _ in range(20):
        if len(bodies) >= count:
            break
        got = take(source, 16, 2, way)
        bodies += [m.message_body for m in got]
        if got:
            acknowledge(source, got)
    return bodies


def refused(code, call, *arguments):
    try:
        call(*arguments)
    except MQServerException as e:
        assert e.type == code, "%s instead of %s" % (e.type, code)
        return e
    raise AssertionError("no " + code)


def round_trip():
    bodies = ['<a b="1">&amp;</a>', "grüße 你好 😀", " blanks ", "two\nlines"]
    for b in bodies:
        assert len(producer("plain").publish_message(message(b, "T", set_message_key="k", put_property=("color", "red"))).message_id) == 32
    got = take(consumer("plain"), 16, 3)
    assert [m.message_body for m in got] == bodies, "other bodies"
    assert all((m.get_message_key(), m.get_property("color"), m.message_tag, m.consumed_times) == ("k", "red", "T", 1) for m in got), "other fields"
    acknowledge(consumer("plain"), got)


def empty_queue():
    refused("MessageNotExist", consumer("plain").consume_message, 1, 1)


def long_poll_wakes():
    got, begun = [], time.time()
    waiting = threading.Thread(target=lambda: got.extend(everything(consumer("plain"), 1)))
    waiting.start()
    time.sleep(0.5)
    producer("plain").publish_message(message("wake up"))
    waiting.join()
    assert got == ["wake up"] and time.time() - begun < 3, "late"


def tags():
    for t in ("A", "B", "C d"):
        producer("plain").publish_message(message(t, t))
    assert sorted(everything(consumer("plain", "A||C d"), 2)) == ["A", "C d"], "other tags"
    assert everything(consumer("plain"), 1) == ["B"], "the third is gone"


def partly_acknowledged():
    producer("plain").publish_message(message("x"))
    m = take(consumer("plain"), 1, 3)[0]
    e = refused("ReceiptHandleError", consumer("plain").ack_message, [m.receipt_handle, "odd"])
    assert [s["ReceiptHandle"] for s in e.sub_errors] == ["odd"], e.sub_errors


def comes_again():
    producer("plain").publish_message(message("again"))
    c = consumer("plain")
    first, second = take(c, 1, 3)[0], take(c, 1, 10)[0]
    assert (second.message_id, second.consumed_times) == (first.message_id, 2) and time.time() * 1000 >= first.next_consume_time, "not the same again"
    refused("MessageNotExist", c.ack_message, [first.receipt_handle])
    acknowledge(c, [second])


def ordered():
    for i in range(8):
        producer("ordered").publish_message(message(str(i), set_sharding_key="s%d" % (i % 2)))
    got = "".join(everything(consumer("ordered"), 8, "consume_message_orderly"))
    assert [b for b in got if int(b) % 2] == list("1357") and [b for b in got if not int(b) % 2] == list("0246"), got


def half(body):
    trans = MQClient(ENDPOINT, KEY, SECRET).get_trans_producer(INSTANCE, "trans", GROUP)
    return trans, trans.publish_message(message(body, set_trans_check_immunity_time=10)).receipt_handle


def commit():
    trans, handle = half("commit me")
    assert not take(consumer("trans"), 1, 1), "visible before the commit"
    trans.commit(handle)
    assert everything(consumer("trans"), 1) == ["commit me"], "not delivered"


def rollback():
    trans, handle = half("drop me")
    trans.rollback(handle)
    assert not take(consumer("trans"), 1, 1), "delivered all the same"


def half_is_offered():
    trans, _ = half("ask me")
    begun, offered = time.time(), take(trans, 16, 15, "consume_half_message")
    assert [m.message_body for m in offered] == ["ask me"] and time.time() - begun > 9, "not offered after ten seconds"
    trans.commit(offered[0].receipt_handle)
    assert everything(consumer("trans"), 1) == ["ask me"], "not delivered"


def delayed():
    due = int(time.time() * 1000) + 1500
    producer("delayed").publish_message(message("later", set_start_deliver_time=due))
    assert everything(consumer("delayed"), 1) == ["later"] and time.time() * 1000 >= due, "early or never"


def refusals():
    refused("SignatureDoesNotMatch", producer("plain", "wrong").publish_message, message("x"))
    refused("TopicNotExist", producer("nowhere").publish_message, message("x"))
    refused("InvalidArgument", consumer("plain").consume_message, 17)
    refused("ReceiptHandleError", consumer("plain").ack_message, ["odd"])


for what in (round_trip, empty_queue, long_poll_wakes, tags, partly_acknowledged, comes_again, ordered, commit, rollback, half_is_offered, delayed, refusals):
    name = what.__name__.replace("_", "-")
    try:
        what()
        print("ok " + name, flush=True)
    except Exception as e:  # each failure is a line
        print("not ok %s: %s %s" % (name, type(e).__name__, e), flush=True)
