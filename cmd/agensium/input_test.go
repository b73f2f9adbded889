package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// TestBadInputIsOneTasksProblem sends what cannot be run: each ends with a result or as a dead letter, and the node goes on.
func TestBadInputIsOneTasksProblem(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	s.conf(map[string]any{"accept_content": []string{"json"}})
	for _, bad := range []string{"", "nonsense", "{}", "[]", "null", `{"body": 1}`, "\x00\xff\xfe", strings.Repeat("[", 100_000), `{"headers": {"task": "proj.add", "id": "x"}, "body": "!", "properties": {"body_encoding": "base64"}}`} {
		if err := s.broker().LPush(t.Context(), "celery", bad).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ids := strings.Fields(s.script(`
import proj
print(proj.app.send_task('proj.nowhere').id)
from kombu.serialization import enable_insecure_serializers
enable_insecure_serializers()
print(proj.echo.apply_async((1,), serializer='pickle').id)
print(proj.app.send_task('proj.add', (1, 2, 3, 4)).id)
`))
	ids = append(ids, strings.Fields(s.script(`
import base64, json, os, redis, uuid
import proj
queue = redis.Redis.from_url(os.environ['TEST_BROKER'])
proj.add.delay(1, 2)
good = queue.lpop('celery').decode()
queue.lpush('celery', good[:-20])
def spoilt(body, **headers):
    message = json.loads(good)
    message['headers'].update(headers, id=str(uuid.uuid4()))
    if body is not None:
        message['body'] = base64.b64encode(body).decode()
    queue.lpush('celery', json.dumps(message))
    print(message['headers']['id'])
spoilt(b'[[1, 2], {}, {"call')
spoilt('[["\u00fc", 2], {}, {}]'.encode('latin-1'))
spoilt(b'[5, {}, {}]')
spoilt(b'[[1, 2], {}]')
spoilt(b'[' * 5000 + b']' * 5000)
spoilt(None, compression='application/x-nothing')
spoilt(None, compression='application/x-gzip')
`))...)
	node := s.node("-c", "2")
	works(t, s)
	celerytest.Eventually(t, "nothing to be left", func() bool { return len(s.left()) == 0 })
	causes := map[string]int{}
	for _, letter := range s.deadLetters() {
		causes[letter.Cause]++
	}
	if diff := cmp.Diff(map[string]int{"undecodable": 17, "unknown_task": 1, "content_type_refused": 1}, causes); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	for _, id := range ids {
		celerytest.Eventually(t, "a failure of "+id, func() bool { return s.state(id) == "FAILURE" })
	}
	cleanEnd(t, node)
}

// TestALargeArgument carries 50 MB in and out.
func TestALargeArgument(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	node := s.node("-c", "1")
	got := s.script(`
import proj
print(proj.length.delay('x' * (50 << 20)).get(timeout=60))
print(len(proj.repeat.delay(50 << 20).get(timeout=60)))
print(proj.add.delay(1, 1).get(timeout=60))
`)
	if diff := cmp.Diff([]string{"52428800", "52428800", "2"}, strings.Fields(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cleanEnd(t, node)
}
