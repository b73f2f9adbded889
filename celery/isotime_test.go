package celery

import (
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

// The second column is what dateutil's isoparse, which Celery's worker uses, makes of the first; empty: an error.
var isoTimes = [][2]string{
	{"2030-01-01T12:00:00", "2030-01-01T12:00:00Z"},
	{"2030-01-01T12:00:00.000001", "2030-01-01T12:00:00.000001Z"},
	{"2030-01-01T12:00:00.123456+00:00", "2030-01-01T12:00:00.123456Z"},
	{"2030-01-01T12:00:00-03:30", "2030-01-01T15:30:00Z"},
	{"2030-01-01", "2030-01-01T00:00:00Z"},
	{"2030-01", "2030-01-01T00:00:00Z"},
	{"20300101T120000Z", "2030-01-01T12:00:00Z"},
	{"2030-01-01T12", "2030-01-01T12:00:00Z"},
	{"2030-01-01T12:00Z", "2030-01-01T12:00:00Z"},
	{"2030-01-01 12:00:00.5+0230", "2030-01-01T09:30:00.5Z"},
	{"2030-01-01T12:00:00,123", "2030-01-01T12:00:00.123Z"},
	{"2030-01-01T24:00:00Z", "2030-01-02T00:00:00Z"},
	{"2030-01-01T12:00:00.1234567Z", "2030-01-01T12:00:00.123456Z"},
	{"2030-01-01T12:00:00-03", "2030-01-01T15:00:00Z"},
	{"2030-01-01T12:00:00z", "2030-01-01T12:00:00Z"},
	{"2028-02-29T00:00:00", "2028-02-29T00:00:00Z"},
	{"2030-02-29T00:00:00", ""},
	{"2030-01-01T12:00:00+01:00:30", ""},
	{" 2030-01-01T12:00:00", ""},
	{"2030-01-01T12:00:00 ", ""},
	{"2030-1-1T12:00:00", ""},
	{"2030-01-01T12:00:60Z", ""},
	{"2030-01-01T24:00:01Z", ""},
	{"2030-01-01T12:00:00Zjunk", ""},
	{"2030-01-01T12:00:00.", ""},
	{"2030-01-01T", ""},
	{"0000-01-01T12:00:00", ""},
	{"2030-13-01", ""},
	{"tomorrow", ""},
}

func TestParseTime(t *testing.T) {
	for _, c := range isoTimes {
		at, ok := ParseTime(c[0], nil)
		switch {
		case ok != (c[1] != ""):
			t.Errorf("%q: accepted: %t, as %s", c[0], ok, at)
		case ok && at.UTC().Format(time.RFC3339Nano) != c[1]:
			t.Errorf("%q: got %s, want %s", c[0], at.UTC().Format(time.RFC3339Nano), c[1])
		}
	}
}

// The table is checked against Celery itself.
func TestParseTimeAgreesWithCelery(t *testing.T) {
	var script strings.Builder
	script.WriteString("from celery.utils.time import maybe_iso8601, maybe_make_aware\nfrom datetime import timezone\nfor s in [")
	for _, c := range isoTimes {
		script.WriteString("'" + c[0] + "',")
	}
	script.WriteString(`]:
    try: print(maybe_make_aware(maybe_iso8601(s)).astimezone(timezone.utc).isoformat().replace('+00:00', 'Z'))
    except Exception: print()
`)
	lines := strings.Split(celerytest.RunPython(t, celerytest.Venv(t, "celery-latest"), script.String()), "\n")
	for i, c := range isoTimes {
		want := c[1]
		if got, err := time.Parse(time.RFC3339Nano, lines[i]); err == nil {
			lines[i] = got.Format(time.RFC3339Nano)
		}
		if lines[i] != want {
			t.Errorf("%q: Celery makes %q of it, the table says %q", c[0], lines[i], want)
		}
	}
}
