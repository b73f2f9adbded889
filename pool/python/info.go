package python

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/agensium/agensium/celery"
)

// Info is what the zygote reports about the application when it has imported it, overrides included.
type Info struct {
	Version        int      `json:"version"`
	Python         string   `json:"python"`
	Implementation string   `json:"implementation"`
	Executable     string   `json:"executable"`
	Prefix         string   `json:"prefix"` // of the virtual environment
	PID            int      `json:"pid"`
	Celery         string   `json:"celery"`
	Kombu          string   `json:"kombu"`
	Billiard       string   `json:"billiard"`
	Redis          string   `json:"redis"`   // redis-py; empty if there is none
	App            string   `json:"app"`     // the name that the application gives itself
	Seconds        float64  `json:"seconds"` // from the first import to the report
	RSS            int64    `json:"rss"`     // bytes
	Modules        int      `json:"modules"`
	Captures       bool     `json:"captures"` // results go through the supervisor, if Options.Store is set
	Warnings       []string `json:"warnings"`
	Commands       []string `json:"commands"`   // of remote control, that the application registered
	Heartbeats     bool     `json:"heartbeats"` // the application listens to heartbeat_sent
	Receives       bool     `json:"receives"`   // … to task_received
	Rejects        bool     `json:"rejects"`    // … to task_rejected
	Settings       Settings `json:"settings"`

	Changed []string `json:"changed"` // settings that do not stand at Celery's defaults, by lower case name

	Conf  map[string]any      `json:"conf"` // every setting by its lower case name; what JSON cannot carry is its repr
	Tasks map[string]TaskInfo `json:"tasks"`
}

// Settings are the effective settings of the application that the supervisor acts on.
type Settings struct {
	BrokerURL       string               `json:"broker_url"`
	BrokerWriteURL  string               `json:"broker_write_url"`
	ResultBackend   string               `json:"result_backend"`
	BrokerTransport map[string]any       `json:"broker_transport_options"`
	ResultTransport map[string]any       `json:"result_transport_options"`
	BrokerSSL       any                  `json:"broker_ssl"`
	ResultSSL       any                  `json:"result_ssl"`
	Queues          map[string]QueueInfo `json:"queues"`    // that are to be consumed
	Wildcards       map[string]string    `json:"wildcards"` // of routing keys, and what kombu matches them with
	DefaultQueue    string               `json:"default_queue"`
	ResultExpires   float64              `json:"result_expires"` // seconds; 0: never
	ResultPrefix    string               `json:"result_prefix"`  // of the keys of results
	Timezone        string               `json:"timezone"`
	EnableUTC       bool                 `json:"enable_utc"`
	AcceptContent   []string             `json:"accept_content"`
}

// QueueInfo tells where a queue is bound.
type QueueInfo struct {
	Exchange     string `json:"exchange"`
	ExchangeType string `json:"exchange_type"`
	RoutingKey   string `json:"routing_key"`
	// Further are other ways to it, that the application gives by bindings.
	Further []QueueInfo `json:"further"`
}

// TaskInfo are the options of one registered task.
type TaskInfo struct{ celery.TaskOptions }

// UnmarshalJSON reads limits as seconds.
func (t *TaskInfo) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &t.TaskOptions); err != nil {
		return err
	}
	var rest struct {
		TimeLimit     float64 `json:"time_limit"`
		SoftTimeLimit float64 `json:"soft_time_limit"`
	}
	if err := json.Unmarshal(b, &rest); err != nil {
		return err
	}
	t.TimeLimit = time.Duration(rest.TimeLimit * float64(time.Second))
	t.SoftTimeLimit = time.Duration(rest.SoftTimeLimit * float64(time.Second))
	return nil
}

func parseInfo(body []byte) (Info, error) {
	var info Info
	if err := json.Unmarshal(body, &info); err != nil {
		return info, fmt.Errorf("read the report of the application: %w", err)
	}
	if info.Version != protocolVersion {
		return info, fmt.Errorf("%w: protocol version %d instead of %d", ErrMalformed, info.Version, protocolVersion)
	}
	return info, nil
}
