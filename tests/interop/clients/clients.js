'use strict';
/* The twelve checks with the Node.js client: one line "ok NAME" or "not ok NAME: WHY" each. */
const { MQClient, MessageProperties } = require('@aliyunmq/mq-http-sdk');
const env = process.env, INSTANCE = 'MQ_INST_interop', GROUP = env.MQ_GROUP;
const connect = secret => new MQClient(env.MQ_ENDPOINT, env.ALIBABA_CLOUD_ACCESS_KEY_ID, secret || env.ALIBABA_CLOUD_ACCESS_KEY_SECRET);
const client = connect();
const producer = topic => client.getProducer(INSTANCE, topic);
const consumer = (topic, tag) => client.getConsumer(INSTANCE, topic, GROUP, tag);
const pause = ms => new Promise(done => setTimeout(done, ms));

function assert(truth, why) { if (!truth) throw new Error(why); }

async function take(from, most, seconds, way = 'consumeMessage') {
  try {
    return (await from[way](most, seconds)).body;
  } catch (e) {
    if (e.Code === 'MessageNotExist') return [];
    throw e;
  }
}

/* Everything within a few polls, acknowledged. */
async function all(from, count, way) {
  const bodies = [];
  for (let i = 0; i < 20 && bodies.length < count; i++) {
    const got = await take(from, 16, 2, way);
    bodies.push(...got.map(m => m.MessageBody));
    if (got.length) assert((await from.ackMessage(got.map(m => m.ReceiptHandle))).code === 204, 'acknowledge refused');
  }
  return bodies;
}

async function refused(promise, code) {
  try { await promise; } catch (e) {
    assert(e.Code === code, `${e.Code} instead of ${code}`);
    return;
  }
  throw new Error(`no ${code}`);
}

async function check(name, what) {
  try {
    await what();
    console.log(`ok ${name}`);
  } catch (e) {
    console.log(`not ok ${name}: ${e.message || e}`);
  }
}

async function transactions() {
  const trans = client.getTransProducer(INSTANCE, 'trans', GROUP), half = () => {
    const p = new MessageProperties();
    p.transCheckImmunityTime(10);
    return p;
  };
  await check('commit', async () => {
    const sent = (await trans.publishMessage('commit me', '', half())).body;
    assert((await take(consumer('trans'), 1, 1)).length === 0, 'visible before the commit');
    assert((await trans.commit(sent.ReceiptHandle)).code === 204, 'commit refused');
    assert((await all(consumer('trans'), 1)).join() === 'commit me', 'not delivered');
  });
  await check('rollback', async () => {
    const sent = (await trans.publishMessage('drop me', '', half())).body;
    assert((await trans.rollback(sent.ReceiptHandle)).code === 204, 'rollback refused');
    assert((await take(consumer('trans'), 1, 1)).length === 0, 'delivered all the same');
  });
  await check('half-is-offered', async () => {
    await trans.publishMessage('ask me', '', half());
    const begun = Date.now(), offered = await take(trans, 16, 15, 'consumeHalfMessage');
    assert(offered.length === 1 && offered[0].MessageBody === 'ask me' && Date.now() - begun > 9000, 'not offered after ten seconds');
    assert((await trans.commit(offered[0].ReceiptHandle)).code === 204, 'commit refused');
    assert((await all(consumer('trans'), 1)).join() === 'ask me', 'not delivered');
  });
}

async function plain() {
  await check('round-trip', async () => {
    const bodies = ['<a b="1">&amp;</a>', 'grüße 你好 😀', ' blanks ', 'two\nlines'], p = new MessageProperties();
    p.messageKey('k');
    p.putProperty('color', 'red');
    for (const b of bodies) assert(/^[0-9A-F]{32}$/.test((await producer('plain').publishMessage(b, 'T', p)).body.MessageId), 'no id');
    const got = await take(consumer('plain'), 16, 3);
    assert(JSON.stringify(got.map(m => m.MessageBody)) === JSON.stringify(bodies), 'other bodies');
    assert(got.every(m => m.MessageKey === 'k' && m.Properties.color === 'red' && m.MessageTag === 'T' && m.ConsumedTimes === '1'), 'other fields');
    await consumer('plain').ackMessage(got.map(m => m.ReceiptHandle));
  });
  await check('empty-queue', async () => refused(consumer('plain').consumeMessage(1, 1), 'MessageNotExist'));
  await check('long-poll-wakes', async () => {
    const waiting = all(consumer('plain'), 1), begun = Date.now();
    await pause(500);
    await producer('plain').publishMessage('wake up');
    assert((await waiting).join() === 'wake up' && Date.now() - begun < 3000, 'late');
  });
  await check('tags', async () => {
    for (const t of ['A', 'B', 'C d']) await producer('plain').publishMessage(t, t);
    assert((await all(consumer('plain', 'A||C d'), 2)).sort().join() === 'A,C d', 'other tags');
    assert((await all(consumer('plain'), 1)).join() === 'B', 'the third is gone');
  });
  await check('partly-acknowledged', async () => {
    await producer('plain').publishMessage('x');
    const [m] = await take(consumer('plain'), 1, 3), r = await consumer('plain').ackMessage([m.ReceiptHandle, 'odd']);
    assert(r.code === 404 && r.body.length === 1 && r.body[0].ReceiptHandle === 'odd' && r.body[0].ErrorCode === 'ReceiptHandleError', JSON.stringify(r));
  });
  await check('comes-again', async () => {
    await producer('plain').publishMessage('again');
    const c = consumer('plain'), [first] = await take(c, 1, 3), [second] = await take(c, 1, 10);
    assert(second.MessageId === first.MessageId && second.ConsumedTimes === '2' && Date.now() >= Number(first.NextConsumeTime), 'not the same again');
    assert((await c.ackMessage([first.ReceiptHandle])).body[0].ErrorCode === 'MessageNotExist', 'the old handle was good');
    assert((await c.ackMessage([second.ReceiptHandle])).code === 204, 'the new handle was not');
  });
}

async function main() {
  await plain();
  await check('ordered', async () => {
    for (let i = 0; i < 8; i++) {
      const p = new MessageProperties();
      p.shardingKey(`s${i % 2}`);
      await producer('ordered').publishMessage(`${i}`, '', p);
    }
    const got = await all(consumer('ordered'), 8, 'consumeMessageOrderly');
    assert(got.filter(b => b % 2).join('') === '1357' && got.filter(b => b % 2 === 0).join('') === '0246', got.join());
  });
  await transactions();
  await check('delayed', async () => {
    const due = Date.now() + 1500, p = new MessageProperties();
    p.startDeliverTime(due);
    await producer('delayed').publishMessage('later', '', p);
    assert((await all(consumer('delayed'), 1)).join() === 'later' && Date.now() >= due, 'early or never');
  });
  await check('refusals', async () => {
    await refused(connect('wrong').getProducer(INSTANCE, 'plain').publishMessage('x'), 'SignatureDoesNotMatch');
    await refused(producer('nowhere').publishMessage('x'), 'TopicNotExist');
    await refused(consumer('plain').consumeMessage(17), 'InvalidArgument');
    await refused(consumer('plain').ackMessage([]), 'MissingReceiptHandle');
  });
}
main().then(() => process.exit(0), e => { console.error(e); process.exit(1); });
