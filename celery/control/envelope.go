package control

import (
	"encoding/base64"
	"encoding/json"
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

// content is the body of a message, serialized.
type content struct {
	kind, encoding string // as in "application/json", "utf-8"
	body           []byte
}

const jsonType = "application/json"

func jsonContent(body []byte) content { return content{jsonType, "utf-8", body} }

// seal wraps a body into a transient message, as kombu's Producer does.
func seal(c content, headers any, exchange, routingKey string) ([]byte, error) {
	head, err := json.Marshal(headers)
	if err != nil {
		return nil, fmt.Errorf("encode message headers: %w", err)
	}
	return json.Marshal(envelope{
		Body:            base64.StdEncoding.EncodeToString(c.body),
		ContentEncoding: c.encoding,
		ContentType:     c.kind,
		Headers:         head,
		Properties: properties{
			DeliveryMode: 1,
			DeliveryInfo: deliveryInfo{Exchange: exchange, RoutingKey: routingKey},
			BodyEncoding: "base64",
			DeliveryTag:  uuid.NewString(),
		},
	})
}

// open takes an envelope apart: its headers and its content. Only what is needed is read, so that an odd property is no
// reason to refuse a message.
func open(raw []byte) (headers json.RawMessage, c content, err error) {
	if len(raw) > maxMessage {
		return nil, c, fmt.Errorf("message of %d bytes, more than %d", len(raw), maxMessage)
	}
	var m struct {
		Body            string          `json:"body"`
		ContentType     string          `json:"content-type"`
		ContentEncoding string          `json:"content-encoding"`
		Headers         json.RawMessage `json:"headers"`
		Properties      struct {
			BodyEncoding string `json:"body_encoding"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, c, fmt.Errorf("decode message: %w", err)
	}
	c = content{m.ContentType, m.ContentEncoding, []byte(m.Body)}
	if m.Properties.BodyEncoding == "base64" {
		if c.body, err = base64.StdEncoding.DecodeString(m.Body); err != nil {
			return nil, c, fmt.Errorf("decode message body: %w", err)
		}
	}
	return m.Headers, c, nil
}
