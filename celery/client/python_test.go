package client_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
)

// calls are what the fixtures lack, in both languages: a signature and the keyword arguments of apply_async.
var calls = func() map[string]struct {
	ours   *celery.Signature
	theirs string
} {
	type o = celery.Options
	s, list := celery.S, func(sigs ...*celery.Signature) []*celery.Signature { return sigs }
	at := time.Date(2099, 1, 2, 3, 4, 5, 678901000, time.UTC)
	two := list(s("t.a", 1), s("t.b", 2))
	return map[string]struct {
		ours   *celery.Signature
		theirs string
	}{
		"queue":                 {s("t.a").With(o{Queue: "q"}), "S('t.a'), dict(queue='q')"},
		"unicode":               {s("t.é", "ü").With(o{Queue: "quéue"}), "S('t.é', 'ü'), dict(queue='quéue')"},
		"priority":              {s("t.a").With(o{Priority: 7}), "S('t.a'), dict(priority=7)"},
		"eta":                   {s("t.a").With(o{ETA: at}), "S('t.a'), dict(eta=at)"},
		"eta in a zone":         {s("t.a").With(o{ETA: at.In(time.FixedZone("", 7200))}), "S('t.a'), dict(eta=at.astimezone(timezone(timedelta(hours=2))))"},
		"countdown and expires": {s("t.a").With(o{Countdown: 1500 * time.Millisecond, ExpiresIn: 2 * time.Minute}), "S('t.a'), dict(countdown=1.5, expires=120)"},
		"expires at":            {s("t.a").With(o{Expires: at}), "S('t.a'), dict(expires=at)"},
		"expired":               {s("t.a").With(o{ExpiresIn: -5 * time.Second}), "S('t.a'), dict(expires=-5)"},
		"retries":               {s("t.a").With(o{Retries: 2}), "S('t.a'), dict(retries=2)"},
		"headers":               {s("t.a").With(o{Headers: map[string]any{"h": "v"}}), "S('t.a'), dict(headers={'h': 'v'})"},
		"links":                 {s("t.a", 1).With(o{Link: list(s("t.b", 2), celery.SI("t.c", 3))}), "S('t.a', 1), dict(link=[S('t.b', 2), SI('t.c', 3)])"},
		"link with options": {s("t.a").With(o{Link: list(s("t.b").With(o{Queue: "q", Countdown: 5 * time.Second, Priority: 3, ExpiresIn: time.Minute}))}),
			"S('t.a'), dict(link=S('t.b').set(queue='q', countdown=5, priority=3, expires=60))"},
		"link to a chain":     {s("t.a").With(o{Link: list(celery.Chain(s("t.b"), s("t.c")))}), "S('t.a'), dict(link=chain(S('t.b'), S('t.c')))"},
		"link to a group":     {s("t.a").With(o{Link: list(celery.Group(s("t.b"), s("t.c")))}), "S('t.a'), dict(link=group(S('t.b'), S('t.c')))"},
		"errbacks":            {s("t.a").With(o{LinkError: list(s("t.b"), s("t.c"))}), "S('t.a'), dict(link_error=[S('t.b'), S('t.c')])"},
		"task_id":             {s("t.a").With(o{TaskID: "my-id"}), "S('t.a'), dict(task_id='my-id')"},
		"msgpack":             {s("t.a", 1, "x", nil, 2.5).With(o{Serializer: "msgpack"}), "S('t.a', 1, 'x', None, 2.5), dict(serializer='msgpack')"},
		"limits":              {s("t.a").With(o{TimeLimit: 30 * time.Second, SoftTimeLimit: 20500 * time.Millisecond}), "S('t.a'), dict(time_limit=30, soft_time_limit=20.5)"},
		"ignore_result":       {s("t.a").With(o{IgnoreResult: true}), "S('t.a'), dict(ignore_result=True)"},
		"shadow":              {s("t.a").With(o{Shadow: "shown"}), "S('t.a'), dict(shadow='shown')"},
		"group":               {celery.Group(two...).With(o{Queue: "q", Countdown: 5 * time.Second, Priority: 2}), "group(S('t.a', 1), S('t.b', 2)), dict(queue='q', countdown=5, priority=2)"},
		"group with an id":    {celery.Group(two...).With(o{TaskID: "grp"}), "group(S('t.a', 1), S('t.b', 2)), dict(task_id='grp')"},
		"group of chains":     {celery.Group(celery.Chain(s("t.a", 1), s("t.b")), s("t.c")), "group(chain(S('t.a', 1), S('t.b')), S('t.c')), {}"},
		"chain":               {celery.Chain(s("t.a", 1), celery.SI("t.b", 2), s("t.c").With(o{Queue: "p"})).With(o{Queue: "q", Priority: 4}), "chain(S('t.a', 1), SI('t.b', 2), S('t.c').set(queue='p')), dict(queue='q', priority=4)"},
		"chain with options":  {celery.Chain(two...).With(o{ExpiresIn: time.Minute, Retries: 1, TimeLimit: 7 * time.Second, Headers: map[string]any{"h": "v"}}), "chain(S('t.a', 1), S('t.b', 2)), dict(expires=60, retries=1, time_limit=7, headers={'h': 'v'})"},
		"chain with links":    {celery.Chain(two...).With(o{TaskID: "end", Link: list(s("t.l")), LinkError: list(s("t.e"))}), "chain(S('t.a', 1), S('t.b', 2)), dict(task_id='end', link=[S('t.l')], link_error=[S('t.e')])"},
		"chord":               {celery.Chord(two, s("t.c").With(o{Queue: "p", Countdown: 9 * time.Second})).With(o{Queue: "q", Priority: 5, Countdown: 4 * time.Second}), "chord([S('t.a', 1), S('t.b', 2)], S('t.c').set(queue='p', countdown=9)), dict(queue='q', priority=5, countdown=4)"},
		"chord with headers":  {celery.Chord(two, s("t.c")).With(o{Headers: map[string]any{"h": "v"}, TimeLimit: 9 * time.Second, ExpiresIn: time.Minute}), "chord([S('t.a', 1), S('t.b', 2)], S('t.c')), dict(headers={'h': 'v'}, time_limit=9, expires=60)"},
		"chord with links":    {celery.Chord(two, s("t.c")).With(o{Link: list(s("t.l")), LinkError: list(s("t.e"))}), "chord([S('t.a', 1), S('t.b', 2)], S('t.c')), dict(link=[S('t.l')], link_error=[S('t.e')])"},
		"chord with an id":    {celery.Chord(two, s("t.c")).With(o{TaskID: "end"}), "chord([S('t.a', 1), S('t.b', 2)], S('t.c')).set(task_id='end'), {}"},
		"chord of chains":     {celery.Chord(list(celery.Chain(s("t.a", 1), s("t.b")), s("t.c")), s("t.d")), "chord([chain(S('t.a', 1), S('t.b')), S('t.c')], S('t.d')), {}"},
		"group in the middle": {celery.Chain(s("t.a", 1), celery.Group(s("t.b"), s("t.c")), s("t.d")), "chain(S('t.a', 1), group(S('t.b'), S('t.c')), S('t.d')), {}"},
	}
}()

// sending has the latest Celery send calls, each under a prefix of its own.
const sending = `
import json, os
from datetime import datetime, timedelta, timezone
from celery import Celery, Signature, chain, chord, group
at = datetime(2099, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
for name, call in json.loads(os.environ['CALLS']).items():
    app = Celery('app', broker=os.environ['BROKER'], backend=os.environ['BROKER'], set_as_current=True)
    app.conf.broker_transport_options = app.conf.result_backend_transport_options = {'global_keyprefix': 'theirs ' + name + ': '}
    S = lambda task, *args: Signature(task, args=args, app=app)
    SI = lambda task, *args: Signature(task, args=args, app=app, immutable=True)
    sig, options = eval(call)
    sig.apply_async(**options)
    app.close()
`

func TestOptionsAsPythonsClientSendsThem(t *testing.T) {
	python := celerytest.Venv(t, "celery-latest")
	r := celerytest.StartRedis(t)
	theirs := map[string]string{}
	for name, call := range calls {
		theirs[name] = call.theirs
	}
	list, err := json.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	celerytest.RunPython(t, python, sending, "BROKER="+r.URL(0), "CALLS="+string(list))
	target, err := redisconn.Parse(r.URL(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			prefix := "ours " + name + ": "
			c, err := client.New(client.Options{Broker: target, Producer: client.ProducerOptions{KeyPrefix: prefix}, ResultPrefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			apply(t, c, call.ours)
			if diff := cmp.Diff(lists(t, r, "theirs "+name+": "), lists(t, r, prefix)); diff != "" {
				t.Errorf("Python (-) and ours (+):\n%s", diff)
			}
		})
	}
}

// lists are the queues under a prefix with their messages, without what differs from run to run.
func lists(t *testing.T, r *celerytest.Redis, prefix string) map[string][]string {
	t.Helper()
	c := r.Client(0)
	keys := c.Keys(t.Context(), prefix+"*").Val()
	slices.Sort(keys)
	ids, queues := map[string]string{}, map[string][]string{}
	for _, key := range keys {
		messages, err := c.LRange(t.Context(), key, 0, -1).Result()
		if err != nil {
			continue // no list
		}
		slices.Reverse(messages)
		for _, m := range messages {
			queues[key[len(prefix):]] = append(queues[key[len(prefix):]], plain(t, m, ids))
		}
	}
	if len(queues) == 0 {
		t.Errorf("nothing was sent under %q", prefix)
	}
	return queues
}

var (
	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	clock = regexp.MustCompile(`20[2-8]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00`)
)

// plain is a message as text, with sorted keys, without the sender, with ids numbered as they come.
func plain(t *testing.T, raw string, ids map[string]string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(m["body"].(string))
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if json.Unmarshal(body, &value) == nil {
		m["body"] = value
	}
	headers, properties := m["headers"].(map[string]any), m["properties"].(map[string]any)
	delete(headers, "origin")
	delete(properties, "delivery_tag")
	if expires, _ := headers["expires"].(string); expires[:min(4, len(expires))] == "2099" {
		delete(properties, "expiration") // what is left until then
	}
	text, err := json.MarshalIndent(unset(m), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	numbered := uuids.ReplaceAllStringFunc(string(text), func(id string) string {
		if ids[id] == "" {
			ids[id] = fmt.Sprintf("id%d", len(ids)+1)
		}
		return ids[id]
	})
	return clock.ReplaceAllString(numbered, "some time")
}

// unset takes away what a sender says of itself, and options of signatures that are null.
func unset(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "reply_to")
		if options, ok := v["options"].(map[string]any); ok {
			for key, value := range options {
				if value == nil {
					delete(options, key)
				}
			}
		}
		for key, value := range v {
			v[key] = unset(value)
		}
	case []any:
		for i := range v {
			v[i] = unset(v[i])
		}
	}
	return v
}
