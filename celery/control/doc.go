// Package control makes a node answer as a Celery worker does to Celery's own tools: remote control over pidbox
// (`celery inspect`, `celery control`, Flower's buttons), the list of revoked tasks, and events.
//
// The supervisor builds one [Control], hands it a [Node] (what it can tell and do, split by area) and keeps
// [Control.Run] going until the drain is over: questions are answered while all slots are busy and while draining.
//
// It owns one pub/sub connection, a clock and, only while there is something to say, one connection for replies and
// events. Without questions and with events off it sends nothing but a rare keepalive. It never claims, settles or
// looks into tasks; what a command does to them is the Node's business.
//
// It answers a stock worker's mingle and sends none itself: what our nodes know of revoked tasks lies in Redis, and nothing
// else is worth the second that it takes. It takes no part in gossip and elections.
//
// Wire format: protocol notes B.9, E and F (kombu/pidbox.py, celery/worker/control.py, celery/events).
package control
