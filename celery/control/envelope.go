package control

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// maxMessage bounds a control message, in bytes: 50,000 revoked ids with their times are 4 MB.
const maxMessage = 32 << 20

// envelope is a message as kombu's virtual transports write it, with the body still encoded (protocol notes A.1).
type envelope struct {
	Body            string          `json:"body"`
	ContentEncoding string          `json:"content-encoding"`
	ContentType     string          `json:"content-type"`
	Headers         json.RawMessage `json:"headers"`
	Properties      properties      `json:"properties"`
}

type properties struct {
	DeliveryMode int          `json:"delivery_mode"`
	DeliveryInfo deliveryInfo `json:"delivery_info"`
	Priority     int          `json:"priority"`
	BodyEncoding string       `json:"body_encoding"`
	DeliveryTag  string       `json:"delivery_tag"`
}

type deliveryInfo struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// seal wraps a JSON body into a transient message, as kombu's Producer does.
func seal(body []byte, headers any, exchange, routingKey string) ([]byte, error) {
	head, err := json.Marshal(headers)
	if err != nil {
		return nil, fmt.Errorf("encode message headers: %w", err)
	}
	return json.Marshal(envelope{
		Body:            base64.StdEncoding.EncodeToString(body),
		ContentEncoding: "utf-8",
		ContentType:     "application/json",
		Headers:         head,
		Properties: properties{
			DeliveryMode: 1,
			DeliveryInfo: deliveryInfo{Exchange: exchange, RoutingKey: routingKey},
			BodyEncoding: "base64",
			DeliveryTag:  uuid.NewString(),
		},
	})
}

// open takes an envelope apart: its headers, its content type and its body's bytes. Only what is needed is read, so
// that an odd property is no reason to refuse a message.
func open(raw []byte) (headers json.RawMessage, contentType string, body []byte, err error) {
	if len(raw) > maxMessage {
		return nil, "", nil, fmt.Errorf("message of %d bytes, more than %d", len(raw), maxMessage)
	}
	var m struct {
		Body        string          `json:"body"`
		ContentType string          `json:"content-type"`
		Headers     json.RawMessage `json:"headers"`
		Properties  struct {
			BodyEncoding string `json:"body_encoding"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, "", nil, fmt.Errorf("decode message: %w", err)
	}
	if m.Properties.BodyEncoding != "base64" {
		return m.Headers, m.ContentType, []byte(m.Body), nil
	}
	body, err = base64.StdEncoding.DecodeString(m.Body)
	if err != nil {
		return nil, "", nil, fmt.Errorf("decode message body: %w", err)
	}
	return m.Headers, m.ContentType, body, nil
}

// errContentType says that a control message is of a serializer that we do not speak.
var errContentType = errors.New("control messages must be JSON")
