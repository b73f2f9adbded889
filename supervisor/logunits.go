package supervisor

import (
	"fmt"
	"reflect"

	"github.com/hashicorp/go-hclog"
)

// withUnits is a logger in JSON, where a number that knows how to say itself, a duration or a size, is written with its unit as in the
// text format: "1.5s" and not 1500000000.
type withUnits struct{ hclog.Logger }

func (l *withUnits) Log(level hclog.Level, msg string, args ...any) {
	l.Logger.Log(level, msg, said(args)...)
}

func (l *withUnits) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *withUnits) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *withUnits) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *withUnits) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *withUnits) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *withUnits) With(args ...any) hclog.Logger { return &withUnits{l.Logger.With(said(args)...)} }

func (l *withUnits) Named(name string) hclog.Logger { return &withUnits{l.Logger.Named(name)} }

func (l *withUnits) ResetNamed(name string) hclog.Logger {
	return &withUnits{l.Logger.ResetNamed(name)}
}

func said(args []any) []any {
	out := args[:len(args):len(args)]
	for i, arg := range args {
		number, ok := arg.(fmt.Stringer)
		if !ok || !reflect.ValueOf(arg).CanInt() && !reflect.ValueOf(arg).CanFloat() {
			continue
		}
		if &out[0] == &args[0] {
			out = append([]any(nil), args...)
		}
		out[i] = number.String()
	}
	return out
}
