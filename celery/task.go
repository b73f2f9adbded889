package celery

import "time"

// HeaderDeliveries counts the deliveries of a message that ended with the death of whoever held it. A drain, a
// put-back and a retry do not count.
const HeaderDeliveries = "x-delivery-count"

// HeaderParked says why the message was parked last, by whoever parked it. It saves a task that waited for its turn from
// waiting again.
const HeaderParked = "x-agensium-parked"

// Task is a decoded message. Absent fields are zero. The body stays encoded: only the executor opens it.
type Task struct {
	ID            string
	Name          string // what is run, and what routing and options go by
	Shadow        string // what logs and events show instead of Name
	RootID        string
	ParentID      string
	Group         string
	GroupIndex    int // -1 if absent
	Retries       int
	ETA           time.Time
	Expires       time.Time
	TimeLimit     time.Duration // hard; 0 if the message does not say
	SoftTimeLimit time.Duration // 0 if the message does not say
	IgnoreResult  bool
	ArgsRepr      string
	KwargsRepr    string
	Origin        string
	Stamps        []byte // JSON object of the stamped headers; nil if none

	Protocol        int  // 2, or 1 for messages of old clients whose fields lie in the body
	Opaque          bool // protocol 1 in a serializer that only Python reads: of the fields above, ID alone is a guess
	ContentType     string
	ContentEncoding string
	Compression     string // mime type of the header `compression`; empty if none

	Priority      int // raw value of the message; the broker clamps it
	Exchange      string
	RoutingKey    string
	ReplyTo       string
	CorrelationID string
	DeliveryTag   string
	Redelivered   bool   // headers.redelivered or delivery_info.redelivered
	Deliveries    int    // HeaderDeliveries
	Parked        string // HeaderParked; empty if absent

	Raw []byte // the message, untouched

	body     span   // where Decode saw the body in Raw
	encoding string // of the body, as in properties.body_encoding
}

// DisplayName is the name that logs and events show.
func (t *Task) DisplayName() string {
	if t.Shadow != "" {
		return t.Shadow
	}
	return t.Name
}

// String is how Celery's log names a task: name[id].
func (t *Task) String() string { return t.DisplayName() + "[" + t.ID + "]" }

// Body returns the body as its serializer wrote it: [Body] of Raw, which need not be looked through again.
func (t *Task) Body() ([]byte, error) {
	if !t.body.found() {
		return Body(t.Raw)
	}
	body, err := decodeBody(t.Raw, t.body, t.encoding)
	if err != nil {
		return nil, err
	}
	return decompress(body, t.Compression)
}

// Due tells whether the task may run at now.
func (t *Task) Due(now time.Time) bool { return t.ETA.IsZero() || !t.ETA.After(now) }

// Expired tells whether the task may no longer run at now.
func (t *Task) Expired(now time.Time) bool { return !t.Expires.IsZero() && now.After(t.Expires) }
