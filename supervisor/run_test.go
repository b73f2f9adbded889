package supervisor

import (
	"errors"
	"io"
	"os"
	"testing"
)

// However the ends of its parts fall together, Run returns why the node did not start, and not that a part which only waited ended well.
func TestAStartThatFailsIsAnErrorEachTime(t *testing.T) {
	l := loaded(t, "[broker]\nurl = \"redis://127.0.0.1:1/0\"\n[python]\napp = \"a:app\"\ninterpreter = \"/nowhere/python\"\n[admin]\nlisten = \"\"\n", nil)
	for i := range 200 {
		var setup *SetupError
		if err := Run(t.Context(), Options{Loaded: l, Stderr: io.Discard, Signals: make(chan os.Signal), Quiet: true}); !errors.As(err, &setup) {
			t.Fatalf("run %d returned %v", i, err)
		}
	}
}
