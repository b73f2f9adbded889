package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// message is a message as the Celery client made it, to be copied with other ids and arguments.
type message struct {
	raw  string // envelope
	id   string // every mark of the task in it: headers id and root_id, correlation_id
	tag  string // delivery tag
	body string // as it stands in the envelope
	tail string // kwargs and embed of the opened body: `, {}, {…}]`
}

// parseMessages reads what templates.py prints.
func parseMessages(out []byte) (map[string]message, error) {
	var raw map[string]string
	if err := json.Unmarshal(out, &raw); err != nil {
		return nil, fmt.Errorf("messages of the Celery client: %w", err)
	}
	messages := make(map[string]message, len(raw))
	for task, text := range raw {
		m, err := parseMessage(task, text)
		if err != nil {
			return nil, fmt.Errorf("message of %s: %w", task, err)
		}
		messages[task] = m
	}
	return messages, nil
}

func parseMessage(task, raw string) (message, error) {
	raw = strings.ReplaceAll(raw, "template."+task, queue)
	var envelope struct {
		Body       string
		Headers    struct{ ID string }
		Properties struct {
			DeliveryTag string `json:"delivery_tag"`
		}
	}
	if err := json.Unmarshal([]byte(raw), &envelope); err != nil {
		return message{}, err
	}
	opened, err := base64.StdEncoding.DecodeString(envelope.Body)
	if err != nil {
		return message{}, err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(opened, &parts); err != nil {
		return message{}, err
	}
	if len(parts) != 3 || envelope.Headers.ID == "" || envelope.Properties.DeliveryTag == "" {
		return message{}, fmt.Errorf("not a message of protocol 2: %s", raw)
	}
	return message{
		raw:  raw,
		id:   envelope.Headers.ID,
		tag:  envelope.Properties.DeliveryTag,
		body: envelope.Body,
		tail: fmt.Sprintf(", %s, %s]", parts[1], parts[2]),
	}, nil
}

// copy makes a message of a new task with these arguments; nil keeps those of the template.
func (m message) copy(args []any) (id, raw string, err error) {
	id = uuid.NewString()
	raw = strings.NewReplacer(m.id, id, m.tag, uuid.NewString()).Replace(m.raw)
	if args == nil {
		return id, raw, nil
	}
	encoded, err := json.Marshal(args)
	if err != nil {
		return "", "", err
	}
	body := base64.StdEncoding.EncodeToString([]byte("[" + string(encoded) + m.tail))
	return id, strings.Replace(raw, m.body, body, 1), nil
}
