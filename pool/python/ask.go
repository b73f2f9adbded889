package python

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Raised is an exception of Python that answers a question: its repr.
type Raised string

func (r Raised) Error() string { return string(r) }

// Command runs a command of Celery's remote control in the zygote and returns its value: one that the application registered, or
// one of Celery's own that only looks at the application. An exception is a [Raised]. Forks wait meanwhile.
func (a *Application) Command(ctx context.Context, method string, arguments map[string]json.RawMessage) (json.RawMessage, error) {
	if arguments == nil {
		arguments = map[string]json.RawMessage{}
	}
	return a.ask(ctx, map[string]any{"question": "command", "method": method, "arguments": arguments})
}

// Attributes returns of each registered task those of the attributes that are not None, as text.
func (a *Application) Attributes(ctx context.Context, names []string) (map[string]map[string]string, error) {
	raw, err := a.ask(ctx, map[string]any{"question": "attributes", "names": names})
	if err != nil {
		return nil, err
	}
	var tasks map[string]map[string]string
	if err := json.Unmarshal(raw, &tasks); err != nil {
		return nil, fmt.Errorf("read the attributes of tasks: %w", err)
	}
	return tasks, nil
}

// Opened returns the body of a message as JSON, whatever it is serialized with, if the application accepts that.
func (a *Application) Opened(ctx context.Context, contentType, encoding string, body []byte) (json.RawMessage, error) {
	return a.ask(ctx, map[string]any{"question": "opened", "type": contentType, "encoding": encoding, "body": body})
}

// Sealed serializes a value for a message of that type.
func (a *Application) Sealed(ctx context.Context, contentType string, value json.RawMessage) (encoding string, body []byte, err error) {
	raw, err := a.ask(ctx, map[string]any{"question": "sealed", "type": contentType, "value": value})
	if err != nil {
		return "", nil, err
	}
	if err := json.Unmarshal(raw, &[]any{&encoding, &body}); err != nil {
		return "", nil, fmt.Errorf("read a serialized value: %w", err)
	}
	return encoding, body, nil
}

func (a *Application) ask(ctx context.Context, question map[string]any) (json.RawMessage, error) {
	z, err := a.await(ctx)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(question)
	if err != nil {
		return nil, fmt.Errorf("ask the zygote: %w", err)
	}
	raw, err := z.ask(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("ask the zygote: %w", err)
	}
	var answer struct {
		Value json.RawMessage `json:"value"`
		Error string          `json:"error"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("read an answer of the zygote: %w", err)
	}
	if answer.Error != "" {
		return nil, Raised(answer.Error)
	}
	return answer.Value, nil
}

// ask sends a question and waits for the answer.
func (z *zygote) ask(ctx context.Context, question []byte) ([]byte, error) {
	answer := make(chan []byte, 1)
	z.mu.Lock()
	if z.gone {
		z.mu.Unlock()
		return nil, errZygoteGone
	}
	z.next++
	request := z.next
	z.asked[request] = answer
	z.mu.Unlock()
	if err := z.send(kindAsk, append(binary.BigEndian.AppendUint32(nil, request), question...)); err != nil {
		return nil, fmt.Errorf("%w: %w", errZygoteGone, err)
	}
	select {
	case raw, ok := <-answer:
		if !ok {
			return nil, errZygoteGone
		}
		return raw, nil
	case <-ctx.Done():
		z.mu.Lock()
		delete(z.asked, request)
		z.mu.Unlock()
		return nil, context.Cause(ctx)
	}
}

func (z *zygote) answered(body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("%w: answer of %d bytes", ErrMalformed, len(body))
	}
	request := binary.BigEndian.Uint32(body)
	z.mu.Lock()
	defer z.mu.Unlock()
	if answer, ok := z.asked[request]; ok {
		delete(z.asked, request)
		answer <- body[4:]
	}
	return nil
}
