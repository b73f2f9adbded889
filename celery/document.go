package celery

import (
	"strconv"
	"time"

	"github.com/agensium/agensium/celery/pyjson"
)

// Documents writes result documents as Celery's Redis backend does (protocol notes C.1, C.3). It is read only.
type Documents struct {
	KeyPrefix string         // global_keyprefix, complete
	Extended  bool           // result_extended
	Zone      *time.Location // of date_done; nil: UTC
	Naive     bool           // date_done without offset and in UTC, as Celery 5.2 writes it
	Now       func() time.Time
}

// Key is the key and the channel of a task's result.
func (d *Documents) Key(id string) string { return d.KeyPrefix + "celery-task-meta-" + id }

// GroupKey is the key of a group's or a chord's data; suffix is "" or ".j", ".s", …
func (d *Documents) GroupKey(group, suffix string) string {
	return d.KeyPrefix + "celery-taskset-meta-" + group + suffix
}

// Started is the document that says that the task runs.
func (d *Documents) Started(r *Request) Result {
	value := strconv.AppendInt([]byte(`{"pid": `), int64(pid), 10)
	value = append(pyjson.AppendString(append(value, `, "hostname": `...), r.Node), '}')
	return d.Of(r, "STARTED", value, "")
}

// Of is the document of r in a state. An empty traceback is null.
func (d *Documents) Of(r *Request, state State, value pyjson.Raw, traceback string) Result {
	dst := make([]byte, 0, 320+len(value)+len(traceback))
	dst = d.begin(dst, state, value, traceback)
	dst = d.appendDate(append(r.appendChildren(dst), `, "date_done": `...), state)
	dst = d.appendRelations(dst, r.Group, r.ParentID)
	if d.Extended {
		dst = d.appendExtended(dst, r)
	}
	return Result{Key: d.Key(r.ID), Document: appendID(dst, r.ID)}
}

// Unasked is the document of a task that has no request here: a later step of a chain that cannot run any more, or
// the body of a chord. children is what was sent on its behalf; nil means that nobody knows.
func (d *Documents) Unasked(id, group, parent string, children []*Ref, state State, value pyjson.Raw, traceback string) Result {
	dst := d.begin(make([]byte, 0, 320+len(value)+len(traceback)), state, value, traceback)
	dst = d.appendDate(append(appendTuples(dst, children), `, "date_done": `...), state)
	dst = d.appendRelations(dst, group, parent)
	return Result{Key: d.Key(id), Document: appendID(dst, id)}
}

func (d *Documents) begin(dst []byte, state State, value pyjson.Raw, traceback string) []byte {
	dst = append(append(dst, `{"status": "`...), state...)
	dst = append(append(dst, `", "result": `...), value...)
	dst = append(dst, `, "traceback": `...)
	if traceback == "" {
		dst = append(dst, null...)
	} else {
		dst = pyjson.AppendString(dst, traceback)
	}
	return append(dst, `, "children": `...)
}

func (d *Documents) appendDate(dst []byte, state State) []byte {
	if state != StateSuccess && state != StateFailure && state != StateRevoked {
		return append(dst, null...)
	}
	now := time.Now()
	if d.Now != nil {
		now = d.Now()
	}
	if d.Zone != nil && !d.Naive {
		now = now.In(d.Zone)
	} else {
		now = now.UTC()
	}
	dst = pyjson.AppendISO(append(dst, '"'), now)
	if d.Naive {
		dst = dst[:len(dst)-len("+00:00")]
	}
	return append(dst, '"')
}

func (d *Documents) appendRelations(dst []byte, group, parent string) []byte {
	if group != "" {
		dst = pyjson.AppendString(append(dst, `, "group_id": `...), group)
	}
	if parent != "" {
		dst = pyjson.AppendString(append(dst, `, "parent_id": `...), parent)
	}
	return dst
}

func (d *Documents) appendExtended(dst []byte, r *Request) []byte {
	dst = pyjson.AppendString(append(dst, `, "name": `...), r.Name)
	dst = append(append(dst, `, "args": `...), orNull(r.Args)...)
	dst = append(append(dst, `, "kwargs": `...), orNull(r.Kwargs)...)
	dst = pyjson.AppendString(append(dst, `, "worker": `...), r.Node)
	dst = strconv.AppendInt(append(dst, `, "retries": `...), int64(r.Retries), 10)
	dst = pyjson.AppendString(append(dst, `, "queue": `...), first(r.RoutingKey, r.Queue))
	if stamps, err := pyjson.Members(nil, r.Stamps); err == nil && len(stamps) > 0 {
		names := make([]any, len(stamps))
		for i, s := range stamps {
			names[i] = s.Key
		}
		dst, _ = pyjson.Append(append(dst, `, "stamped_headers": `...), names)
		for _, s := range stamps {
			dst = append(append(pyjson.AppendString(append(dst, ", "...), s.Key), ": "...), s.Value...)
		}
	}
	return dst
}

func orNull(raw pyjson.Raw) pyjson.Raw {
	if len(raw) == 0 {
		return null
	}
	return raw
}

func appendID(dst []byte, id string) []byte {
	return append(pyjson.AppendString(append(dst, `, "task_id": `...), id), '}')
}
