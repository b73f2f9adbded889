package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "1800": 30 * time.Minute, "0.25": 250 * time.Millisecond, "30m": 30 * time.Minute, "1h30m": 90 * time.Minute,
		"7d": 7 * day, "2w": 14 * day, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond, " 5s ": 5 * time.Second,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "m", "-5s", "5 s", "1e9", "inf", "NaN", "0x10", "5M", "5s5", "1.2.3s", "1000000w1h", "300000d", "١s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "500MB": 500e6, "512MiB": 512 << 20, "1.5GiB": 3 << 29, "200000KiB": 200000 << 10, "2G": 2 << 30, "64k": 64 << 10, "10 kB": 10e3, "7B": 7,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "500", "MB", "-1MB", "5 apples", "1TiB", "9999999999GiB", "1e3MB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

func TestWrittenValuesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour, day}).Draw(t, "unit")
		d := time.Duration(rapid.Int64Range(0, 1<<52/int64(unit)).Draw(t, "duration")) * unit
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v is written %q and read %v, %v", d, FormatDuration(d), got, err)
		}
		s := Size(rapid.Int64Range(0, 1<<52).Draw(t, "size"))
		if got, err := ParseSize(s.String()); err != nil || got != s {
			t.Fatalf("%d is written %q and read %d, %v", s, s, got, err)
		}
	})
}

func TestFormatDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "25m": 25 * time.Minute, "4m50s": 290 * time.Second, "1h": time.Hour, "1d": day, "1d1h": 25 * time.Hour, "1h30m": 90 * time.Minute,
		"250ms": 250 * time.Millisecond, "1h0m5s": time.Hour + 5*time.Second, "-10s": -10 * time.Second, "30d": 30 * day,
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestRates(t *testing.T) {
	for text, ok := range map[string]bool{"10": true, "10/s": true, "0.5/m": true, "100/h": true, "0": true, "10/d": false, "/m": false, "10/": false, "ten": false, "-1/s": false} {
		if err := parseRate(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"redis://localhost:6379/0":                      "redis://localhost:6379/0",
		"rediss://user:pa:s@s/w#rd@h:6380/1?x=1":        "rediss://user:***@h:6380/1?x=1",
		"dial redis://:p@h and amqp://u:q@h2 twice":     "dial redis://:***@h and amqp://u:***@h2 twice",
		"sentinel://:p@a:1;sentinel://:p@b:2":           "sentinel://:***@b:2",
		"db+postgresql://u:p@h/db?password=x&sslmode=1": "db+postgresql://u:***@h/db?password=***&sslmode=1",
		"unix:///run/redis.sock?password=p%20q;db=1":    "unix:///run/redis.sock?password=***",
		"embedded": "embedded",
	} {
		if got := Mask(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestNodeName(t *testing.T) {
	for pattern, want := range map[string]string{
		"celery@%h": "celery@a.example.org", "w1@%h": "w1@a.example.org", "w1@%n": "w1@a", "w1@%d": "w1@example.org",
		"w1": "celery@w1", "": "celery@a.example.org", "100%%@%h": "100%@a.example.org", "%n@%h": "a@a.example.org",
	} {
		if got := NodeName(pattern, "a.example.org"); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}

func TestLogFile(t *testing.T) {
	for pattern, want := range map[string]string{
		"worker.log": "worker.log", "/var/log/%n%I.log": "/var/log/w1.log", "%p %h %d %i 5%%": "w1@a.example.org a.example.org example.org 0 5%",
	} {
		if got := LogFile(pattern, "w1@a.example.org"); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}
