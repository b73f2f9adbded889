package backend

import (
	"context"

	"github.com/agensium/agensium/celery/pyjson"
)

// joinSaved collects the results of a header whose structure was saved because groups are nested in it: each result
// comes from its own document.
func (b *Backend) joinSaved(ctx context.Context, saved []byte) (pyjson.Raw, *failure, error) {
	var group struct {
		Result pyjson.Raw `json:"result"`
	}
	if err := pyjson.Decode(saved, &group, nil); err != nil {
		return nil, &failure{"Join error: the saved header is not readable", nil}, nil
	}
	j := joiner{docs: map[string]document{}}
	j.ids(group.Result)
	if len(j.order) > 0 {
		keys := make([]string, len(j.order))
		for i, id := range j.order {
			keys[i] = b.Documents.Key(id)
		}
		var values []any
		err := b.persist(ctx, "read results of chord", func() error {
			var err error
			values, err = b.Results.MGet(ctx, keys...).Result()
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		for i, v := range values {
			var d document
			if text, ok := v.(string); ok && pyjson.Decode(pyjson.Raw(text), &d, nil) == nil {
				j.docs[j.order[i]] = d
			}
		}
	}
	results, why := j.value(group.Result)
	return results, why, nil
}

type document struct {
	Status string     `json:"status"`
	Result pyjson.Raw `json:"result"`
}

// joiner walks a result tuple, [[id, parent], children].
type joiner struct {
	order []string
	docs  map[string]document
}

func tuple(raw pyjson.Raw) (id string, children []pyjson.Raw, isGroup bool) {
	parts, err := pyjson.Elements(nil, raw)
	if err != nil || len(parts) != 2 {
		return "", nil, false
	}
	head, err := pyjson.Elements(nil, parts[0])
	if err != nil || len(head) == 0 {
		return "", nil, false
	}
	_ = pyjson.Decode(head[0], &id, nil)
	children, err = pyjson.Elements(nil, parts[1])
	return id, children, err == nil
}

func (j *joiner) ids(raw pyjson.Raw) {
	id, children, isGroup := tuple(raw)
	if !isGroup && id != "" {
		j.order = append(j.order, id)
	}
	for _, c := range children {
		j.ids(c)
	}
}

func (j *joiner) value(raw pyjson.Raw) (pyjson.Raw, *failure) {
	id, children, isGroup := tuple(raw)
	if !isGroup {
		d := j.docs[id]
		switch {
		case failed(d.Status):
			return nil, dependency(id, d.Result)
		case d.Status != "SUCCESS":
			return nil, &failure{"Join error: no result of " + id, nil}
		}
		return d.Result, nil
	}
	list := []byte{'['}
	for i, c := range children {
		v, why := j.value(c)
		if why != nil {
			return nil, why
		}
		if i > 0 {
			list = append(list, ", "...)
		}
		list = append(list, v...)
	}
	return append(list, ']'), nil
}
