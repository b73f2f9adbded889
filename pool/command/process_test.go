package command

import (
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The deadline is for output that somebody holds open, not for what was written before it.
func TestWhatWasWrittenIsReadThoughTheDeadlineIsOver(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("written"); err != nil {
		t.Fatal(err)
	}
	_ = r.SetDeadline(time.Now())
	p := process{spec: &Spec{MaxOutput: 10}, log: hclog.NewNullLogger()}
	if out, tooLong := p.read(r, nil); string(out) != "written" || tooLong {
		t.Errorf("read %q, too long: %t", out, tooLong)
	}
	if rest := lying(r, 10); len(rest) > 0 {
		t.Errorf("once more: %q", rest)
	}
}
