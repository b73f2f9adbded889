// Package redisconn turns what Celery calls a broker or result URL into connections: it reads the URL and kombu's
// transport options as kombu does, dials (TCP, TLS, unix socket, through Sentinel), and gives Redis's refusals and
// the network's failures a name and a hint.
//
// The broker, the result store, remote control and `agensium check` call it. It holds no connection itself, retries
// nothing, logs nothing, and never puts a password into a string or an error.
package redisconn
