package config

import (
	"reflect"
	"testing"
)

func TestPinKeepsWhatNeedsARestart(t *testing.T) {
	load := func(text string) *Effective {
		t.Helper()
		l, err := Load(Input{Dir: t.TempDir(), Env: func(string) (string, bool) { return "", false }, Stored: &Document{Version: 1, Text: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		return &l.Effective
	}
	running := load("node = 'a@b'\n[broker]\nqueues = ['x']\nmax_blocked = 3\n")
	wanted := load("[broker]\nurl = 'redis://other/1'\nqueues = ['y']\n[pool]\nconcurrency = 9\n[tasks.'shop.pay']\ntime_limit = '3s'\n")
	wanted.Pin(running)
	for _, c := range Diff(running.Config, wanted.Config) {
		if c.Effect == Restart {
			t.Errorf("%s changed from %s to %s", c.Key, c.Old, c.New)
		}
	}
	if c := wanted.Config; c.Pool.Concurrency != 9 || !reflect.DeepEqual(c.Broker.Queues, []string{"y"}) || c.Broker.MaxBlocked != 3 || c.Node != "a@b" {
		t.Errorf("pinned: %+v", c)
	}
	if wanted.Origins["broker.url"].Kind != FromDefault || wanted.Origins["broker.max_blocked"].Kind != FromRedis {
		t.Errorf("origins: %v", wanted.Origins)
	}
}

func TestWhatNeedsARestartCanBeSet(t *testing.T) {
	names := 0
	visitRestart(Defaults(), func(name string, v reflect.Value) {
		names++
		if !v.CanSet() {
			t.Errorf("%s cannot be set", name)
		}
	})
	if names == 0 {
		t.Error("nothing needs a restart")
	}
}
