package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"kB", 1e3}, {"k", 1 << 10}, {"B", 1},
}

const sizeAllowed = `a size with its unit, such as "500MB" (1,000,000 each) or "512MiB" (1,048,576 each)`

// ParseSize reads "500MB", "512MiB", "1.5GiB", "2G" (as systemd: 2GiB) or "0". A number without a unit is refused:
// Celery means KiB by it, most others bytes.
func ParseSize(s string) (Size, error) {
	s = strings.TrimSpace(s)
	if s == "0" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		f, err := decimal(strings.TrimRight(num, " "))
		if err != nil {
			return 0, err
		}
		if f *= float64(u.bytes); f >= math.MaxInt64 {
			return 0, errors.New("too large")
		}
		return Size(math.Round(f)), nil
	}
	if _, err := decimal(s); err == nil {
		return 0, fmt.Errorf("no unit; for Celery's KiB write %q", s+"KiB")
	}
	return 0, errors.New("no size")
}

// String is the shortest exact form; ParseSize reads it.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range sizeUnits[:6] {
		if int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

const day = 24 * time.Hour

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"ns", time.Nanosecond}, {"us", time.Microsecond}, {"µs", time.Microsecond}, {"ms", time.Millisecond},
	{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", day}, {"w", 7 * day},
}

const durationAllowed = `a duration such as "30m", "1h30m" or "7d", or a number of seconds`

// ParseDuration reads "30m", "1h30m", "7d", and a plain number as seconds. Durations are never negative.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if f, err := decimal(s); err == nil {
		return seconds(f)
	}
	var total time.Duration
	for rest := s; ; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if n <= 0 {
			return 0, errors.New("no duration")
		}
		f, err := decimal(rest[:n])
		if err != nil {
			return 0, err
		}
		rest = rest[n:]
		m := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if m < 0 {
			m = len(rest)
		}
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == rest[:m] {
				unit = u.unit
			}
		}
		if unit == 0 {
			return 0, fmt.Errorf("%q is no unit of time", rest[:m])
		}
		d := f * float64(unit)
		if d+float64(total) >= math.MaxInt64 {
			return 0, errors.New("too long")
		}
		total += time.Duration(math.Round(d))
		if rest = rest[m:]; rest == "" {
			return total, nil
		}
	}
}

// FormatDuration is the shortest exact form; ParseDuration reads it.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	if d < 0 { // never read, but differences may be shown
		b.WriteByte('-')
		d = -d
	}
	if n := d / day; n > 0 {
		fmt.Fprintf(&b, "%dd", n)
	}
	rest := (d % day).String()
	if strings.Contains(rest, "m") && !strings.HasSuffix(rest, "ms") {
		rest = strings.TrimSuffix(rest, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(rest, "m0s")]
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	if d%day != 0 {
		b.WriteString(rest)
	}
	return b.String()
}

// seconds makes a duration of Celery's seconds.
func seconds(f float64) (time.Duration, error) {
	if f < 0 || math.IsNaN(f) {
		return 0, errors.New("negative")
	}
	if f *= float64(time.Second); f >= math.MaxInt64 {
		return 0, errors.New("too long")
	}
	return time.Duration(math.Round(f)), nil
}

// decimal reads digits with at most one point: no sign, exponent, infinity or hexadecimal digits.
func decimal(s string) (float64, error) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, errors.New("no number")
	}
	return strconv.ParseFloat(s, 64)
}

// parseRate checks a rate as Celery reads it: a number, of a second unless /m or /h says otherwise.
func parseRate(s string) error {
	num, per, found := strings.Cut(s, "/")
	if _, err := decimal(num); err != nil || found && per != "s" && per != "m" && per != "h" {
		return errors.New("no rate")
	}
	return nil
}
