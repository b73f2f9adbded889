package broker

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// A sender that names exchange and routing key alone finds what is consumed, also a queue that is added, and after Redis has forgotten all.
func TestBindingsAreWritten(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0), func(o *Options) {
		o.Queues, o.KeyPrefix = []string{"videos", "heard"}, "shop:"
		o.Bindings = func(queue string) []Binding {
			return map[string][]Binding{
				"videos": {{"media", "video", ""}, {"all", "media.#", `^media\..*?$`}},
				"heard":  {{"", "heard", ""}},
				"added":  {{"media", "late", ""}},
			}[queue]
		}
	})
	bound := func(exchange string) (members []string) {
		for _, table := range []string{"shop:_kombu.binding.", "shop:_kombu.binding_permanent."} {
			members = append(members, c.SMembers(bounded(t), table+exchange).Val()...)
		}
		slices.Sort(members)
		return members
	}
	video, all := "video"+step+step+"videos", "media.#"+step+`^media\..*?$`+step+"videos"
	<-b.Connected()
	if got := bound("media"); !cmp.Equal(got, []string{video, video}) {
		t.Errorf("media has %q", got)
	}
	if got := bound("all"); !cmp.Equal(got, []string{all, all}) {
		t.Errorf("all has %q", got)
	}
	if keys := c.Keys(bounded(t), "shop:_kombu.*").Val(); len(keys) != 4 {
		t.Errorf("written is %q", keys)
	}
	c.FlushAll(bounded(t))
	b.lease.suspect()
	celerytest.Eventually(t, "the bindings to be there again", func() bool { return len(bound("media")) == 2 })
	if err := b.AddQueue(bounded(t), "added"); err != nil {
		t.Fatal(err)
	}
	late := "late" + step + step + "added"
	if got := bound("media"); !cmp.Equal(got, []string{late, late, video, video}) {
		t.Errorf("then media has %q", got)
	}
	closeBroker(t, b)
}
