package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Condition is a state that a Redis can be in, seen from here. Its name is the word in logs, metrics and status.
type Condition struct {
	Name      string // one of the constants below; empty: no error, or an answer such as nil
	Hint      string // one sentence for the operator: the cause if it is known, and the remedy
	Retryable bool   // time may cure it; otherwise somebody has to change something
}

// The names of conditions.
const (
	Unreachable = "unreachable" // no connection, or no answer in time
	Loading     = "loading"     // reads its data from disk
	ReadOnly    = "readonly"    // a replica, or a master that became one
	OutOfMemory = "oom"         // maxmemory reached
	Misconf     = "misconf"     // refuses writes: it cannot persist, or has too few replicas
	Auth        = "auth"        // user or password wrong, missing or not wanted
	NoPerm      = "noperm"      // ACL forbids a command, key or channel
	MaxClients  = "maxclients"  // no connection free
	Quota       = "quota"       // a limit of the provider: commands, storage
	Busy        = "busy"        // runs a long script
	Cluster     = "cluster"     // cluster mode
	TLS         = "tls"         // TLS on one side only, or a certificate that is not accepted
	WrongDB     = "wrong_db"    // no such database
	NotRedis    = "not_redis"   // something else answers there
	Other       = "other"
)

// Classify names what an error of a client says about its server. It looks through wrapping.
func Classify(err error) Condition {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, redis.TxFailedErr) {
		return Condition{}
	}
	var refused *RefusedError
	var reply redis.Error
	var handshake *HandshakeError
	switch {
	case errors.As(err, &refused):
		return classifyReply(refused.Reply)
	case errors.As(err, &reply):
		return classifyReply(reply.Error())
	case errors.As(err, &handshake):
		return classifyHandshake(handshake.Err)
	}
	return classifyNet(err)
}

// replies tells a refusal by how it begins. Longer ones go before shorter ones.
var replies = []struct {
	prefix string
	Condition
}{
	{"LOADING", Condition{Loading, "Redis is loading its data from disk: it answers when it is done.", true}},
	{"READONLY", Condition{ReadOnly, "This Redis is a read-only replica: point the URL at the primary, or wait for the failover to finish.", true}},
	{"MASTERDOWN", Condition{ReadOnly, "This Redis is a replica that has lost its primary: point the URL at the primary, or wait for the failover to finish.", true}},
	{"UNBLOCKED", Condition{ReadOnly, "This Redis has just become a replica: wait for the failover to finish.", true}},
	{"OOM", Condition{OutOfMemory, "Redis has reached maxmemory and refuses writes: give it more memory or remove data, and keep maxmemory-policy noeviction.", true}},
	{"MISCONF", Condition{Misconf, "Redis cannot save to disk and refuses writes: look at its log and at the free space of its disk.", true}},
	{"NOREPLICAS", Condition{Misconf, "Redis has fewer replicas than min-replicas-to-write and refuses writes: bring them back or lower the setting.", true}},
	{"NOAUTH", Condition{Auth, "Redis wants a password and the URL has none: write redis://:password@host.", false}},
	{"WRONGPASS", Condition{Auth, "User or password is wrong, or the user is disabled: check the URL, and percent-encode special characters in the password.", false}},
	{"DENIED", Condition{Auth, "Redis runs in protected mode and takes only local connections: set a password or bind it to an address on purpose.", false}},
	{"NOPERM", Condition{NoPerm, "The user may not do this: grant it with ACL SETUSER (commands, key patterns ~* and channel patterns &*).", false}},
	{"BUSY ", Condition{Busy, "Redis is busy with a long script or function: wait, or end it with SCRIPT KILL.", true}},
	{"MOVED", Condition{Cluster, "This Redis is a cluster node; Celery cannot use cluster mode: use a plain or Sentinel Redis.", false}},
	{"ASK ", Condition{Cluster, "This Redis is a cluster node; Celery cannot use cluster mode: use a plain or Sentinel Redis.", false}},
	{"CROSSSLOT", Condition{Cluster, "This Redis runs in cluster mode and refuses commands on several keys; Celery cannot use it: use a plain or Sentinel Redis.", false}},
	{"CLUSTERDOWN", Condition{Cluster, "This Redis is a node of a cluster that is down; Celery cannot use cluster mode: use a plain or Sentinel Redis.", false}},
	{"TRYAGAIN", Condition{Cluster, "This Redis is a cluster node that is being resharded; Celery cannot use cluster mode: use a plain or Sentinel Redis.", false}},
}

var scriptForbidden = Condition{NoPerm, "The user may not do what a script does: grant it with ACL SETUSER (commands, key patterns ~* and channel patterns &*).", false}

// phrases tells refusals that begin with a bare ERR, by a part of their text in lower case.
var phrases = []struct {
	part string
	Condition
}{
	{"acl failure in script", scriptForbidden}, // Valkey
	{"the user executing the script", scriptForbidden},
	{"max number of clients", Condition{MaxClients, "Redis has no connection left: raise maxclients or the plan, or close other clients (CLIENT LIST shows them).", true}},
	{"max concurrent connections", Condition{MaxClients, "The provider's limit of connections is reached: close other clients or raise the plan.", true}},
	{"max requests limit", Condition{Quota, "The provider's quota of commands is used up: raise the plan or wait until it is renewed.", true}},
	{"request limit exceeded", Condition{Quota, "The provider's quota of commands is used up: raise the plan or wait until it is renewed.", true}},
	{"quota exceeded", Condition{Quota, "The provider's quota is used up: raise the plan or wait until it is renewed.", true}},
	{"db index", Condition{WrongDB, "There is no database of this number: use /0 in the URL, or raise `databases` in redis.conf.", false}},
	{"0th database", Condition{WrongDB, "This provider has only database 0: use /0 in the URL.", false}},
	{"select is not allowed in cluster mode", Condition{Cluster, "This Redis runs in cluster mode, which Celery cannot use: use a plain or Sentinel Redis.", false}},
	{"without any password configured", Condition{Auth, "The URL has a password but this Redis wants none: remove it from the URL, or set requirepass.", false}},
	{"no password is set", Condition{Auth, "The URL has a password but this Redis wants none: remove it from the URL, or set requirepass.", false}},
	{"invalid password", Condition{Auth, "The password is wrong: check the URL, and percent-encode special characters in it.", false}},
	{"unknown command", Condition{Other, "This Redis does not know a command that is needed: Redis 6.2 or newer is.", false}},
}

func classifyReply(reply string) Condition {
	if _, cause, found := strings.Cut(reply, "discarded because of: "); found { // EXECABORT
		reply = cause
	}
	for _, r := range replies {
		if strings.HasPrefix(reply, r.prefix) {
			return r.Condition
		}
	}
	lower := strings.ToLower(reply)
	for _, p := range phrases {
		if strings.Contains(lower, p.part) {
			return p.Condition
		}
	}
	return Condition{Other, "Redis refused a command: the text of the error is all that is known.", false}
}

func classifyHandshake(err error) Condition {
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return Condition{TLS, "The server does not speak TLS on this port: use redis://, or the port for TLS.", false}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Condition{TLS, "The server did not answer the TLS handshake in time: if it does not speak TLS on this port use redis://.", true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return Condition{TLS, "The server closed the connection during the TLS handshake: it may want a client certificate (ssl_certfile, ssl_keyfile), not speak TLS on this port (use redis://), or have no connection left.", true}
	}
	return classifyCertificate(err)
}

func classifyCertificate(err error) Condition {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return Condition{TLS, "The server's certificate is signed by an authority that is not known here: name it with ssl_ca_certs=/path/ca.pem in the URL (or, without protection, ssl_cert_reqs=none).", false}
	case errors.As(err, &name):
		return Condition{TLS, "The server's certificate is for another name: use that name in the URL (or ssl_check_hostname=false).", false}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Condition{TLS, "The server's certificate has expired or is not valid yet: renew it, and check the clock of this machine.", false}
	case errors.As(err, &invalid):
		return Condition{TLS, "The server's certificate cannot be used for a server: issue a proper one.", false}
	case isAlert(err):
		return Condition{TLS, "The server broke off TLS: it may want a client certificate (ssl_certfile, ssl_keyfile) or another protocol version.", false}
	}
	return Condition{TLS, "The TLS handshake did not succeed: check certificate and protocol versions of the server.", false}
}

func classifyNet(err error) Condition {
	var dns *net.DNSError
	switch {
	case errors.Is(err, errSpeaksTLS):
		return Condition{TLS, "The server speaks TLS on this port: use rediss://.", false}
	case errors.Is(err, errHungUp):
		return Condition{Unreachable, "The server closed the connection without a word: it may want TLS (use rediss://), or a proxy before it has no server.", true}
	case isAlert(err):
		return classifyCertificate(err)
	case errors.Is(err, errUnknownMaster):
		return Condition{Unreachable, "The sentinels know no master of this name: check master_name.", true}
	case errors.As(err, &dns) && dns.IsNotFound:
		return Condition{Unreachable, "The name of the host is not known: check the URL and the DNS (private names exist only inside the platform's network).", true}
	case errors.As(err, &dns):
		return Condition{Unreachable, "The DNS did not answer for the name of the host: check the network.", true}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Condition{Unreachable, "Nothing listens at this address: check host and port, and whether Redis runs.", true}
	case errors.Is(err, syscall.ENOENT):
		return Condition{Unreachable, "There is no socket at this path: check `unixsocket` in redis.conf, and whether Redis runs.", true}
	case errors.Is(err, syscall.EACCES):
		return Condition{Unreachable, "This user may not open the socket: check its permissions (`unixsocketperm` in redis.conf).", true}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return Condition{Unreachable, "No answer in time: check host, firewall and network, and whether Redis is overloaded.", true}
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return Condition{Unreachable, "There is no route to the host: check the network and, where names have only IPv6 addresses, that it is enabled.", true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Condition{Unreachable, "The connection was closed: Redis was restarted, or something on the way cuts idle connections.", true}
	case strings.Contains(err.Error(), "can't parse"), strings.Contains(err.Error(), "invalid reply"):
		return Condition{NotRedis, "What answers at this address is not Redis: check host and port.", false}
	case errors.Is(err, context.Canceled), errors.Is(err, redis.ErrClosed):
		return Condition{Other, "The command was given up by this process.", false}
	}
	var timeout net.Error
	if errors.As(err, &timeout) {
		return Condition{Unreachable, "The network failed: check host, firewall and route.", true}
	}
	return Condition{Other, "The text of the error is all that is known.", false}
}
