package broker

import (
	_ "embed"
)

// script is a Lua script, sent with EVAL: it is short beside the message that goes with it, Redis keeps it compiled, and
// in a pipeline there is no falling back from EVALSHA.
type script struct{ text string }

//go:embed give.lua
var giveText string

//go:embed park.lua
var parkText string

//go:embed bury.lua
var buryText string

//go:embed wake.lua
var wakeText string

//go:embed restore.lua
var restoreText string

//go:embed unlock.lua
var unlockText string

//go:embed retry.lua
var retryText string

var (
	giveScript    = script{giveText}
	parkScript    = script{parkText}
	buryScript    = script{buryText}
	wakeScript    = script{wakeText}
	restoreScript = script{restoreText}
	unlockScript  = script{unlockText}
	retryScript   = script{retryText}
)

// args is the whole EVAL command.
func (s script) args(keys []string, argv ...any) []any {
	all := make([]any, 0, 3+len(keys)+len(argv))
	all = append(all, "EVAL", s.text, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return append(all, argv...)
}
