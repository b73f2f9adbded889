package redisconn

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultPort         = 6379
	defaultSentinelPort = 26379
)

// Parse reads a URL as Celery spells it, and kombu's transport options:
//
//	redis://[user:password@]host[:port][/db][?option=value]   plain TCP
//	rediss://…?ssl_cert_reqs=…&ssl_ca_certs=…                  TLS
//	redis+socket:///path?virtual_host=db  unix:///path?db=db   unix socket
//	sentinel://host[:port][/db];sentinel://host[:port]         Sentinel; transport["master_name"]
//
// transport holds the broker_transport_options or result_backend_transport_options of the application; its key "ssl"
// is broker_use_ssl or redis_backend_use_ssl. Options in the URL go before those in transport. Parse reads the
// certificate files but connects to nothing. Unlike kombu, rediss:// without ssl_cert_reqs verifies the server.
func Parse(rawURL string, transport map[string]any) (*Target, error) {
	t, err := parse(rawURL, transport)
	if err != nil {
		shown := Mask(rawURL)
		if shown == "" {
			return nil, errors.New("read Redis URL: it is empty")
		}
		return nil, fmt.Errorf("read Redis URL %s: %w", shown, err)
	}
	return t, nil
}

func parse(rawURL string, transport map[string]any) (*Target, error) {
	first, others := splitList(rawURL)
	p, err := split(first)
	if err != nil {
		return nil, err
	}
	o := options{values: maps.Clone(transport)}
	if o.values == nil {
		o.values = map[string]any{}
	}
	for key, value := range p.query {
		o.values[key] = value
	}
	t := &Target{Host: p.host, Port: p.port, Username: p.username, password: p.password}
	secure := false
	switch p.scheme {
	case "redis", "rediss":
		secure = p.scheme == "rediss"
		if t.Host == "" {
			t.Host = "127.0.0.1"
		}
		if t.Port == 0 {
			t.Port = defaultPort
		}
		if len(others) > 0 {
			t.note("only the first broker of the list is used: the others are no replicas of it")
		}
	case "redis+socket", "socket", "unix":
		if p.host != "" || p.path == "" {
			return nil, fmt.Errorf("a socket is named by its absolute path, as in %s:///run/redis.sock", p.scheme)
		}
		t.Unix, t.Host, t.Port = true, "/"+p.path, 0
		p.path = ""
	case "sentinel":
		if err := t.readSentinels(p, others, &o); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("scheme %q is not Redis: redis, rediss, redis+socket, unix and sentinel are understood", p.scheme)
	}
	if t.DB, err = database(p.path, &o); err != nil {
		return nil, err
	}
	if err := t.readTLS(secure, p.query, &o); err != nil {
		return nil, err
	}
	return t, t.readOptions(&o)
}

// splitList separates the URLs of a list. A part without a scheme has that of the first.
func splitList(raw string) (string, []string) {
	list := strings.Split(strings.TrimSpace(raw), ";")
	if scheme, _, found := strings.Cut(list[0], "://"); !found || scheme != "sentinel" {
		// A semicolon may belong to a password; only one that a scheme follows separates.
		if at := nextURL.FindStringIndex(raw); at != nil && raw[at[0]] == ';' {
			return raw[:at[0]], []string{raw[at[0]+1:]}
		}
		return strings.TrimSpace(raw), nil
	}
	others := slices.DeleteFunc(list[1:], func(s string) bool { return s == "" })
	for i, s := range others {
		if !strings.Contains(s, "://") {
			others[i] = "sentinel://" + s
		}
	}
	return list[0], others
}

func (t *Target) readSentinels(first parts, others []string, o *options) error {
	add := func(p parts) {
		host, port := p.host, p.port
		if host == "" {
			host = "127.0.0.1"
		}
		if port == 0 {
			port = defaultSentinelPort
		}
		t.sentinels = append(t.sentinels, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	add(first)
	for i, raw := range others {
		p, err := split(raw)
		switch {
		case err != nil:
			return fmt.Errorf("sentinel %d: %w", i+2, err)
		case p.scheme != "sentinel":
			return fmt.Errorf("sentinel %d: scheme %q in a list of sentinels", i+2, p.scheme)
		case p.path != "" && p.path != first.path:
			// kombu takes database and login from the first one (kombu/transport/redis.py SentinelChannel).
			t.note("the database is that of the first sentinel in the list, as in Celery; /%s further on has no effect", p.path)
		}
		add(p)
	}
	t.Host, t.Port = "", 0
	if t.Master = o.text("master_name"); t.Master == "" {
		return errors.New("sentinel:// needs the transport option master_name, the name that the sentinels watch")
	}
	kwargs, _ := o.take("sentinel_kwargs").(map[string]any)
	login := options{values: maps.Clone(kwargs)}
	if login.values == nil {
		return nil
	}
	t.sentinel.username, t.sentinel.password = login.text("username"), login.text("password")
	if on, _ := login.boolean("ssl"); on {
		config, notes, err := tlsConfig(&login)
		if err != nil {
			return fmt.Errorf("sentinel_kwargs: %w", err)
		}
		t.sentinel.tls = config
		t.Notes = append(t.Notes, notes...)
	}
	return nil
}

// database finds the database number: the path of the URL, or the options virtual_host and db, which go before it.
func database(path string, o *options) (int, error) {
	where := strings.Trim(path, "/")
	for _, key := range []string{"db", "virtual_host"} {
		if v := o.take(key); v != nil {
			where = strings.Trim(fmt.Sprint(v), "/")
		}
	}
	if where == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(where, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("database %q is not a number", Mask(where))
	}
	return int(n), nil
}

func (t *Target) readTLS(secure bool, query map[string]string, o *options) error {
	switch ssl := o.take("ssl").(type) {
	case nil:
	case bool:
		secure = secure || ssl
	case string:
		on, err := parseBool(ssl)
		if err != nil {
			return fmt.Errorf("option ssl: %w", err)
		}
		secure = secure || on
	case map[string]any:
		secure = true
		for key, value := range ssl {
			if _, inURL := query[key]; !inURL {
				o.values[key] = value
			}
		}
	default:
		return fmt.Errorf("option ssl is %T, not a boolean or a table", ssl)
	}
	if !secure {
		for key := range query {
			if strings.HasPrefix(key, "ssl_") {
				return fmt.Errorf("%s needs the scheme rediss://", key)
			}
		}
		return nil
	}
	config, notes, err := tlsConfig(o)
	if err != nil {
		return err
	}
	t.tls, t.Notes = config, append(t.Notes, notes...)
	return nil
}

// elsewhere are the transport options that other packages read (broker, control) or that have no meaning in Go.
var elsewhere = map[string]string{
	"max_connections":       "the number of connections is fixed and small",
	"health_check_interval": "TCP keepalive and deadlines find dead connections",
	"retry_on_timeout":      "what may be repeated is repeated",
	"retry_on_error":        "what may be repeated is repeated",
	"protocol":              "RESP2 is spoken",
}

func (t *Target) readOptions(o *options) (err error) {
	if t.socketTimeout, err = o.seconds("socket_timeout"); err != nil {
		return err
	}
	if t.connectTimeout, err = o.seconds("socket_connect_timeout"); err != nil {
		return err
	}
	t.clientName = o.text("client_name")
	if on, err := o.boolean("socket_keepalive"); err == nil && !on && o.had("socket_keepalive") {
		t.note("socket_keepalive=false has no effect: keepalive is always on")
	}
	if o.take("credential_provider") != nil {
		return errors.New("credential_provider is Python code: give user and password in the URL")
	}
	if v := o.text("username"); v != "" {
		t.Username = v
	}
	if v := o.text("password"); v != "" {
		t.password = v
	}
	for _, key := range slices.Sorted(maps.Keys(elsewhere)) {
		if o.take(key) != nil {
			t.note("%s has no effect: %s", key, elsewhere[key])
		}
	}
	return nil
}

func (t *Target) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// options are settings of whatever origin: text from a URL, JSON from Python, TOML.
type options struct {
	values map[string]any
	seen   map[string]bool
}

// take returns an option and notes that it was there.
func (o *options) take(key string) any {
	v, found := o.values[key]
	if found {
		if o.seen == nil {
			o.seen = map[string]bool{}
		}
		o.seen[key] = true
		delete(o.values, key)
	}
	return v
}

func (o *options) had(key string) bool { return o.seen[key] }

func (o *options) text(key string) string {
	if v := o.take(key); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (o *options) boolean(key string) (bool, error) {
	switch v := o.take(key).(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case string:
		b, err := parseBool(v)
		if err != nil {
			return false, fmt.Errorf("option %s: %w", key, err)
		}
		return b, nil
	default:
		return fmt.Sprint(v) != "0", nil
	}
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "t", "true", "y", "yes", "on":
		return true, nil
	case "0", "f", "false", "n", "no", "off", "none":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

// seconds reads a duration that Python gives as a number of seconds; None means no limit there and our default here.
func (o *options) seconds(key string) (time.Duration, error) {
	v := o.take(key)
	if v == nil {
		return 0, nil
	}
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil || n < 0 || n > 1e9 {
		return 0, fmt.Errorf("option %s: %v is not a number of seconds", key, v)
	}
	return time.Duration(n * float64(time.Second)), nil
}
