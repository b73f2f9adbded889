package redisconn

import (
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target is a Redis database to connect to, read from a URL by [Parse]. It does not change; all goroutines may use it.
type Target struct {
	Host     string // without brackets; path of the socket if Unix; empty with Sentinel
	Port     int    // 0 if Unix or with Sentinel
	DB       int
	Username string // empty for Redis's default user
	Unix     bool
	Master   string   // name of the master that the sentinels are asked for; empty without Sentinel
	Notes    []string // settings that have no effect here or deserve a warning, one sentence each; no secrets

	password       string
	tls            *tls.Config // nil without TLS
	sentinels      []string    // host:port
	sentinel       sentinelLogin
	clientName     string
	socketTimeout  time.Duration // 0 if not set
	connectTimeout time.Duration // 0 if not set
}

// sentinelLogin is what the connections to the sentinels themselves use; kombu takes it from sentinel_kwargs.
type sentinelLogin struct {
	username, password string
	tls                *tls.Config
}

// Addr is what is dialed: host:port, the path of a unix socket, or the sentinels joined by commas.
func (t *Target) Addr() string {
	switch {
	case t.Unix:
		return t.Host
	case t.Master != "":
		return strings.Join(t.sentinels, ",")
	}
	return net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
}

// TLS returns the settings for TLS, a copy, or nil for a plain connection.
func (t *Target) TLS() *tls.Config { return t.tls.Clone() }

// HasPassword tells whether the URL brings a password.
func (t *Target) HasPassword() bool { return t.password != "" }

// Same tells whether one connection can serve both: same server and database, same login.
func (t *Target) Same(o *Target) bool {
	if t == nil || o == nil {
		return t == o
	}
	return strings.EqualFold(t.Host, o.Host) && t.Port == o.Port && t.DB == o.DB && t.Unix == o.Unix &&
		t.Master == o.Master && slices.Equal(t.sentinels, o.sentinels) && (t.tls == nil) == (o.tls == nil) &&
		t.Username == o.Username && t.password == o.password
}

// String is the URL in Celery's spelling with the password masked.
func (t *Target) String() string {
	var b strings.Builder
	login := t.login()
	db := strconv.Itoa(t.DB)
	switch {
	case t.Unix:
		b.WriteString("redis+socket://" + login + t.Host + "?virtual_host=" + db)
	case t.Master != "":
		for i, addr := range t.sentinels {
			if i > 0 {
				b.WriteString(";")
			}
			b.WriteString("sentinel://")
			if i == 0 {
				b.WriteString(login)
			}
			b.WriteString(addr)
			if i == 0 {
				b.WriteString("/" + db)
			}
		}
		b.WriteString(" (master " + t.Master + ")")
	default:
		scheme := "redis://"
		if t.tls != nil {
			scheme = "rediss://"
		}
		b.WriteString(scheme + login + t.Addr() + "/" + db)
	}
	return b.String()
}

func (t *Target) login() string {
	switch {
	case t.password != "":
		return t.Username + ":" + masked + "@"
	case t.Username != "":
		return t.Username + "@"
	}
	return ""
}
