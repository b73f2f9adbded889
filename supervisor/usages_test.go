package supervisor

import (
	"testing"
	"time"

	"github.com/agensium/agensium/pool/child"
)

func TestAChildIsReadAnewWhenItsMemoryChangesOrTheReadingIsOld(t *testing.T) {
	var rss, private int64 = 50 << 20, 10 << 20
	reads := 0
	u := usages{
		glance: func(int) (int64, time.Duration, error) { return rss, time.Second, nil },
		read: func(int) (child.Usage, error) {
			reads++
			return child.Usage{RSS: rss, Private: private}, nil
		},
		last: map[int]reading{},
	}
	now := time.Now()
	for _, step := range []struct {
		what  string
		after time.Duration
		rss   int64
		reads int
	}{
		{"the first time", 0, 50 << 20, 1},
		{"nothing happened", time.Second, 50 << 20, 1},
		{"a few pages", time.Second, 50<<20 + usageStep - 1, 1},
		{"it grew", 0, 50<<20 + usageStep, 2},
		{"it shrank", 0, 40 << 20, 3},
		{"not old yet", usageAge - 1, 40 << 20, 3},
		{"old", 1, 40 << 20, 4},
	} {
		now, rss = now.Add(step.after), step.rss
		private++
		got, err := u.of(1, now)
		if err != nil || reads != step.reads || got.CPU != time.Second {
			t.Fatalf("%s: %d readings, want %d: %+v %v", step.what, reads, step.reads, got, err)
		}
	}
}
