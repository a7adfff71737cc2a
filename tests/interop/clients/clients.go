// The twelve checks with the Go client: one line "ok NAME" or "not ok NAME: WHY" each.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	sdk "github.com/aliyunmq/mq-http-go-sdk"
	"github.com/gogap/errors"
)

const instance = "MQ_INST_interop"

var group = os.Getenv("MQ_GROUP")
var client = connect(os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"))

func connect(secret string) sdk.MQClient {
	return sdk.NewAliyunMQClient(os.Getenv("MQ_ENDPOINT"), os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), secret, "")
}
func producer(topic string) sdk.MQProducer      { return client.GetProducer(instance, topic) }
func consumer(topic, tag string) sdk.MQConsumer { return client.GetConsumer(instance, topic, group, tag) }

type message = sdk.PublishMessageRequest
type entry = sdk.ConsumeMessageEntry
type poll func(chan sdk.ConsumeMessageResponse, chan error, int32, int64)

func assert(truth bool, why ...interface{}) {
	if !truth {
		panic(fmt.Sprint(why...))
	}
}
func send(p sdk.MQProducer, m message) sdk.PublishMessageResponse {
	r, err := p.PublishMessage(m)
	assert(err == nil && len(r.MessageId) == 32, "send: ", err)
	return r
}
func take(how poll, most int32, seconds int64) []entry {
	got, failed := make(chan sdk.ConsumeMessageResponse, 1), make(chan error, 1)
	how(got, failed, most, seconds)
	select {
	case r := <-got:
		return r.Messages
	case err := <-failed:
		assert(strings.Contains(err.Error(), "MessageNotExist"), err)
		return nil
	}
}
func acknowledge(c sdk.MQConsumer, messages []entry) {
	handles := []string{}
	for _, m := range messages {
		handles = append(handles, m.ReceiptHandle)
	}
	assert(c.AckMessage(handles) == nil, "acknowledge refused")
}
func everything(c sdk.MQConsumer, how poll, count int) (bodies []string) {
	for i := 0; i < 20 && len(bodies) < count; i++ {
		got := take(how, 16, 2)
		for _, m := range got {
			bodies = append(bodies, m.MessageBody)
		}
		if len(got) > 0 {
			acknowledge(c, got)
		}
	}
	return
}
func expect(c sdk.MQConsumer, bodies ...string) {
	got := everything(c, c.ConsumeMessage, len(bodies))
	sort.Strings(got)
	assert(strings.Join(got, ",") == strings.Join(bodies, ","), got)
}
func nothing(c sdk.MQConsumer) { assert(len(take(c.ConsumeMessage, 1, 1)) == 0, "there is a message") }
func refused(err error, code string) {
	assert(err != nil && strings.Contains(err.Error(), code), err, " instead of ", code)
}
func failures(err error) string {
	text := ""
	if e, is := err.(errors.ErrCode); is {
		if items, is := e.Context()["Detail"].([]sdk.ErrAckItem); is {
			for _, i := range items {
				text += i.ErrorHandle + " " + i.ErrorCode
			}
		}
	}
	return text
}

func roundTrip() {
	bodies, c := []string{"<a b=\"1\">&amp;</a>", "grüße 你好 😀", " blanks ", "two\r\nlines"}, consumer("plain", "")
	for _, b := range bodies {
		send(producer("plain"), message{MessageBody: b, MessageTag: "T", MessageKey: "k", Properties: map[string]string{"color": "red"}})
	}
	got := take(c.ConsumeMessage, 16, 3)
	assert(len(got) == len(bodies), len(got), " messages")
	for i, m := range got {
		assert(m.MessageBody == bodies[i] && m.MessageKey == "k" && m.Properties["color"] == "red" && m.MessageTag == "T" && m.ConsumedTimes == 1, m)
	}
	acknowledge(c, got)
}
func wakes() {
	begun := time.Now()
	time.AfterFunc(500*time.Millisecond, func() { producer("plain").PublishMessage(message{MessageBody: "wake up"}) })
	expect(consumer("plain", ""), "wake up")
	assert(time.Since(begun) < 3*time.Second, "late")
}
func tags() {
	for _, t := range []string{"A", "B", "C d"} {
		send(producer("plain"), message{MessageBody: t, MessageTag: t})
	}
	expect(consumer("plain", "A||C d"), "A", "C d")
	expect(consumer("plain", ""), "B")
}
func partly() {
	c := consumer("plain", "")
	send(producer("plain"), message{MessageBody: "x"})
	got := take(c.ConsumeMessage, 1, 3)
	err := c.AckMessage([]string{got[0].ReceiptHandle, "odd"})
	assert(failures(err) == "odd ReceiptHandleError", err)
}
func again() {
	c := consumer("plain", "")
	send(producer("plain"), message{MessageBody: "again"})
	first := take(c.ConsumeMessage, 1, 3)[0]
	got := take(c.ConsumeMessage, 1, 10)
	assert(got[0].MessageId == first.MessageId && got[0].ConsumedTimes == 2 && time.Now().UnixMilli() >= first.NextConsumeTime, got[0])
	err := c.AckMessage([]string{first.ReceiptHandle})
	assert(failures(err) == first.ReceiptHandle+" MessageNotExist", err)
	acknowledge(c, got)
}
func ordered() {
	for i := 0; i < 8; i++ {
		send(producer("ordered"), message{MessageBody: fmt.Sprint(i), ShardingKey: fmt.Sprint("s", i%2)})
	}
	c := consumer("ordered", "")
	lanes := [2]string{}
	for _, b := range everything(c, c.ConsumeMessageOrderly, 8) {
		lanes[b[0]&1] += b
	}
	assert(lanes == [2]string{"0246", "1357"}, lanes)
}
func half(body string) (sdk.MQTransProducer, string) {
	p := client.GetTransProducer(instance, "trans", group)
	r, err := p.PublishMessage(message{MessageBody: body, TransCheckImmunityTime: 10})
	assert(err == nil && r.ReceiptHandle != "", "no half message: ", err)
	return p, r.ReceiptHandle
}
func commit() {
	p, handle := half("commit me")
	nothing(consumer("trans", ""))
	assert(p.Commit(handle) == nil, "commit refused")
	expect(consumer("trans", ""), "commit me")
}
func rollback() {
	p, handle := half("drop me")
	assert(p.Rollback(handle) == nil, "rollback refused")
	nothing(consumer("trans", ""))
}
func offered() {
	begun := time.Now()
	p, _ := half("ask me")
	got := take(p.ConsumeHalfMessage, 16, 15)
	assert(len(got) == 1 && got[0].MessageBody == "ask me" && time.Since(begun) > 9*time.Second, got)
	assert(p.Commit(got[0].ReceiptHandle) == nil, "commit refused")
	expect(consumer("trans", ""), "ask me")
}
func delayed() {
	due := time.Now().UnixMilli() + 1500
	send(producer("delayed"), message{MessageBody: "later", StartDeliverTime: due})
	expect(consumer("delayed", ""), "later")
	assert(time.Now().UnixMilli() >= due, "early")
}
func refusals() {
	_, err := connect("wrong").GetProducer(instance, "plain").PublishMessage(message{MessageBody: "x"})
	refused(err, "SignatureDoesNotMatch")
	_, err = producer("nowhere").PublishMessage(message{MessageBody: "x"})
	refused(err, "TopicNotExist")
	_, err = producer("plain").PublishMessage(message{MessageBody: ""})
	refused(err, "InvalidArgument")
}

func main() {
	for _, c := range []struct {
		name string
		run  func()
	}{{"round-trip", roundTrip}, {"empty-queue", func() { nothing(consumer("plain", "")) }}, {"long-poll-wakes", wakes}, {"tags", tags},
		{"partly-acknowledged", partly}, {"comes-again", again}, {"ordered", ordered}, {"commit", commit}, {"rollback", rollback},
		{"half-is-offered", offered}, {"delayed", delayed}, {"refusals", refusals}} {
		func() {
			defer func() {
				if why := recover(); why != nil {
					fmt.Printf("not ok %s: %v\n", c.name, why)
				} else {
					fmt.Printf("ok %s\n", c.name)
				}
			}()
			c.run()
		}()
	}
}
