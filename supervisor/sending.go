package supervisor

import (
	"fmt"
	"strings"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

// Client returns a client that sends as the application's own would: by its routes, to its default queue, with its prefixes. Whether
// there are results to wait for tells Stored.
func (i *Inspection) Client() (*client.Client, error) {
	broker := i.Broker
	if broker == nil { // a worker that runs it may be there
		var err error
		if broker, err = redisconn.Parse("redis://"+i.Config.Broker.EmbeddedListen+"/0", nil); err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
	}
	c, err := client.New(client.Options{
		Broker: broker, Results: i.Results, Producer: producerOptions(i.Config), Sender: senderOf(i.Info),
		ResultPrefix: resultPrefix(i.Info), ResultExpires: i.Config.Results.Expires,
	})
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", broker, err)
	}
	return c, nil
}

// Stored tells whether results are stored where the client reads them.
func (i *Inspection) Stored() bool {
	return i.Config.Broker.URL == config.Embedded || i.Config.Results.URL != ""
}

func producerOptions(c *config.Config) client.ProducerOptions {
	return client.ProducerOptions{KeyPrefix: c.Broker.KeyPrefix, Separator: c.Broker.Separator, PrioritySteps: c.Broker.PrioritySteps}
}

// senderOf sends where the application's routes and its default queue say.
func senderOf(info python.Info) *celery.Sender {
	sender := celery.NewSender()
	sender.Route = router(info.Conf["task_routes"])
	if q := info.Settings.DefaultQueue; q != "" {
		sender.Queue = q
	}
	sender.InheritPriority, _ = info.Conf["task_inherit_parent_priority"].(bool)
	return sender
}

// resultPrefix is what stands before the names of Celery's keys of results.
func resultPrefix(info python.Info) string {
	return strings.TrimSuffix(info.Settings.ResultPrefix, "celery-task-meta-")
}
