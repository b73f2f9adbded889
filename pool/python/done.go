package python

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/agensium/agensium/celery"
)

// states are the codes of py/child.py STATES.
var states = [...]celery.State{1: celery.StateSuccess, 2: celery.StateFailure, 3: celery.StateRetry, 4: celery.StateRevoked,
	5: celery.StateIgnored, 6: celery.StateRejected}

const doneHead = 8 + 1 + 1 + 8 + 8 + 2 + 4

// extras are what a done frame says beyond the common case.
type extras struct {
	Repr      string `json:"repr"`
	Exception string `json:"exc"`
	Traceback string `json:"tb"`
	Requeue   bool   `json:"requeue"`
	Expected  bool   `json:"expected"`
	Refused   string `json:"refused"`
}

// parseDone reads u64 tag, u8 state, u8 flags, f64 seconds, u64 highest resident memory, u16 number of results, u32
// length of extras; for each result u32 length of key, u32 length of document, key, document; extras as JSON.
// The outcome keeps the body.
func parseDone(body []byte) (tag uint64, out celery.Outcome, err error) {
	if len(body) < doneHead {
		return 0, out, fmt.Errorf("%w: done of %d bytes", ErrMalformed, len(body))
	}
	tag = binary.BigEndian.Uint64(body)
	if s := int(body[8]); s > 0 && s < len(states) {
		out.State = states[s]
	} else {
		return tag, out, fmt.Errorf("%w: state %d", ErrMalformed, s)
	}
	if seconds := math.Float64frombits(binary.BigEndian.Uint64(body[10:])); seconds > 0 && seconds < math.MaxInt64/1e9 {
		out.Runtime = time.Duration(seconds * float64(time.Second))
	}
	out.MaxRSS = int64(binary.BigEndian.Uint64(body[18:]))
	results, extra := int(binary.BigEndian.Uint16(body[26:])), int64(binary.BigEndian.Uint32(body[28:]))
	body = body[doneHead:]
	if results > 0 && len(body)/8 >= results {
		out.Results = make([]celery.Result, 0, results)
	}
	for range results {
		var r celery.Result
		if r, body, err = parseResult(body); err != nil {
			return tag, out, err
		}
		out.Results = append(out.Results, r)
	}
	if int64(len(body)) != extra {
		return tag, out, fmt.Errorf("%w: %d bytes of extras instead of %d", ErrMalformed, len(body), extra)
	}
	if extra == 0 {
		return tag, out, nil
	}
	var x extras
	if err := json.Unmarshal(body, &x); err != nil {
		return tag, out, fmt.Errorf("%w: extras: %w", ErrMalformed, err)
	}
	out.ReturnRepr, out.Exception, out.Traceback = x.Repr, x.Exception, x.Traceback
	out.Requeue, out.Expected, out.Refused = x.Requeue, x.Expected, x.Refused
	return tag, out, nil
}

// parseResult reads u32 length of key, u32 length of document, key, document, and returns what follows.
func parseResult(body []byte) (celery.Result, []byte, error) {
	if len(body) < 8 {
		return celery.Result{}, nil, fmt.Errorf("%w: result of %d bytes", ErrMalformed, len(body))
	}
	key, doc := int64(binary.BigEndian.Uint32(body)), int64(binary.BigEndian.Uint32(body[4:]))
	body = body[8:]
	if key+doc > int64(len(body)) {
		return celery.Result{}, nil, fmt.Errorf("%w: result of %d bytes in %d", ErrMalformed, key+doc, len(body))
	}
	return celery.Result{Key: string(body[:key]), Document: body[key : key+doc : key+doc]}, body[key+doc:], nil
}
