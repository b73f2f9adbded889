package redisconn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	type options = map[string]any
	for name, c := range map[string]struct {
		url       string
		transport options
		want      string // String
		login     string // user:password
	}{
		"all parts":              {"redis://u:p@h:1234/5", nil, "redis://u:**@h:1234/5", "u:p"},
		"bare":                   {"redis://", nil, "redis://127.0.0.1:6379/0", ":"},
		"host alone":             {"redis://Redis.Example", nil, "redis://redis.example:6379/0", ":"},
		"slash":                  {"redis://h/", nil, "redis://h:6379/0", ":"},
		"two slashes":            {"redis://h//3", nil, "redis://h:6379/3", ":"},
		"password alone":         {"redis://:p@h", nil, "redis://:**@h:6379/0", ":p"},
		"user alone":             {"redis://u@h", nil, "redis://u@h:6379/0", "u:"},
		"encoded password":       {"redis://:a%2Fb%40c%3A%25%23@h", nil, "redis://:**@h:6379/0", ":a/b@c:%#"},
		"at and colon unencoded": {"redis://u:a@b:c@h", nil, "redis://u:**@h:6379/0", "u:a@b:c"},
		"percent that is none":   {"redis://:100%@h", nil, "redis://:**@h:6379/0", ":100%"},
		"plus is a plus":         {"redis://:a+b@h", nil, "redis://:**@h:6379/0", ":a+b"},
		"semicolon in password":  {"redis://:a;b@h", nil, "redis://:**@h:6379/0", ":a;b"},
		"IPv6":                   {"redis://[::1]:7000/1", nil, "redis://[::1]:7000/1", ":"},
		"IPv6 without port":      {"redis://:p@[fd12::1]", nil, "redis://:**@[fd12::1]:6379/0", ":p"},
		"db in the query":        {"redis://h/1?db=2", nil, "redis://h:6379/2", ":"},
		"virtual_host wins":      {"redis://h/1?virtual_host=3&db=2", nil, "redis://h:6379/3", ":"},
		"TLS":                    {"rediss://h:6380", nil, "rediss://h:6380/0", ":"},
		"TLS by option":          {"redis://h", options{"ssl": options{"ssl_cert_reqs": 0.0}}, "rediss://h:6379/0", ":"},
		"TLS by boolean":         {"redis://h", options{"ssl": true}, "rediss://h:6379/0", ":"},
		"socket":                 {"redis+socket:///run/redis.sock?virtual_host=2", nil, "redis+socket:///run/redis.sock?virtual_host=2", ":"},
		"socket of a backend":    {"socket:///run/redis.sock", nil, "redis+socket:///run/redis.sock?virtual_host=0", ":"},
		"socket of redis-py":     {"unix://u:p@/run/redis.sock?db=1", nil, "redis+socket://u:**@/run/redis.sock?virtual_host=1", "u:p"},
		"password in the query":  {"redis+socket:///s?password=p", nil, "redis+socket://:**@/s?virtual_host=0", ":p"},
		"sentinels": {"sentinel://:p@a:1/4;sentinel://b;c:3", options{"master_name": "m"},
			"sentinel://:**@a:1/4;sentinel://b:26379;sentinel://c:3 (master m)", ":p"},
		"failover list": {"redis://u:p@a;redis://b:q@c", nil, "redis://u:**@a:6379/0", "u:p"},
		"white space":   {" redis://h \n", nil, "redis://h:6379/0", ":"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.url, c.transport)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if login := got.Username + ":" + got.password; login != c.login {
				t.Errorf("login %q, want %q", login, c.login)
			}
		})
	}
}

func TestParseErrorsSayWhatIsWrongAndKeepThePassword(t *testing.T) {
	for url, words := range map[string]string{
		"":                                         "it is empty",
		"localhost:6379":                           "begins with a scheme",
		"amqp://u:s3cret@h":                        `scheme "amqp" is not Redis`,
		"redis://u:s3cret@h:port":                  "port is not a number",
		"redis://u:s3cret/x@h:6379":                "%2F for /",
		"redis://:s3cret?x@h:6379/0":               "port is not a number",
		"redis://u:s3cret@h:70000":                 "port is not a number",
		"redis://u:s3cret@[::1":                    "closing bracket",
		"redis://u:s3cret@::1:6379":                "stands in brackets",
		"redis://u:s3cret@h/queue":                 `database "queue" is not a number`,
		"redis://u:s3cret@h/-1":                    "is not a number",
		"redis://u:s3cret@h?ssl_cert_reqs=none":    "needs the scheme rediss://",
		"rediss://u:s3cret@h?ssl_cert_reqs=maybe":  "is not one of required, optional, none",
		"rediss://u:s3cret@h?ssl_ca_certs=/no.pem": "ssl_ca_certs: open /no.pem",
		"rediss://u:s3cret@h?ssl_certfile=/no.pem": "ssl_certfile",
		"rediss://h?ssl_password=s3cret":           "encrypted private key",
		"redis+socket://u:s3cret@host/s":           "absolute path",
		"sentinel://:s3cret@h":                     "master_name",
		"redis://:s3cret@h?socket_timeout=soon":    "socket_timeout: soon is not a number of seconds",
		"redis://:s3cret@h?credential_provider=x":  "credential_provider is Python code",
	} {
		target, err := Parse(url, nil)
		switch {
		case err == nil:
			t.Errorf("%q was read as %s", url, target)
		case !strings.Contains(err.Error(), words):
			t.Errorf("%q: %v; want %q in it", url, err, words)
		case strings.Contains(err.Error(), "s3cret"):
			t.Errorf("%q: %v shows the password", url, err)
		}
	}
}

func TestOptionsOfTheURLGoBeforeTheTransports(t *testing.T) {
	target, err := Parse("redis://h?socket_timeout=1.5&max_connections=3&socket_keepalive=false", map[string]any{
		"socket_timeout": 9.0, "socket_connect_timeout": int64(2), "health_check_interval": nil, "client_name": "x", "visibility_timeout": 60.0,
	})
	if err != nil {
		t.Fatal(err)
	}
	if target.socketTimeout != 1500*time.Millisecond || target.connectTimeout != 2*time.Second || target.clientName != "x" {
		t.Fatalf("%+v", target)
	}
	if notes := strings.Join(target.Notes, "\n"); !strings.Contains(notes, "max_connections") || !strings.Contains(notes, "keepalive") || len(target.Notes) != 2 {
		t.Fatal(notes)
	}
}

func TestSame(t *testing.T) {
	parse := func(url string) *Target {
		target, err := Parse(url, map[string]any{"master_name": "m"})
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	base := parse("redis://u:p@h/1")
	for url, same := range map[string]bool{
		"redis://u:p@H:6379/1?max_connections=3": true,
		"redis://u:p@h/2":                        false,
		"redis://u:p@g/1":                        false,
		"redis://u:q@h/1":                        false,
		"rediss://u:p@h/1":                       false,
		"sentinel://u:p@h/1":                     false,
		"unix://u:p@/h?db=1":                     false,
	} {
		if base.Same(parse(url)) != same {
			t.Errorf("%s: want %t", url, same)
		}
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"no URL":                                "no URL",
		"dial redis://u:p@h:1/0: refused":       "dial redis://u:**@h:1/0: refused",
		"redis://:p%40@h":                       "redis://:**@h",
		"redis://u@h":                           "redis://u@h",
		"redis://h:6379/0":                      "redis://h:6379/0",
		"redis://u:p@q@h":                       "redis://u:**@h",
		"redis://u:p/q@h":                       "redis://u:**@h",
		"sentinel://:p@a;sentinel://:q@b":       "sentinel://:**@a;sentinel://:**@b",
		`{"url": "redis://u:p@h", "x": "y@z"}`:  `{"url": "redis://u:**@h", "x": "y@z"}`,
		"redis+socket:///s?password=p&db=1":     "redis+socket:///s?password=**&db=1",
		"from redis://a:b@c to rediss://d:e@f.": "from redis://a:**@c to rediss://d:**@f.",
	} {
		if got := Mask(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, url := range []string{"redis://u:p@h:1/2?db=3", "rediss://[::1]?ssl_cert_reqs=none", "sentinel://a;b", "unix:///s", "redis://%zz:%@"} {
		f.Add(url, "secret")
	}
	f.Fuzz(func(t *testing.T, url, password string) {
		target, err := Parse(url, map[string]any{"master_name": "m"})
		if (target == nil) == (err == nil) {
			t.Fatal(target, err)
		}
		// A password that is written as it should be is in no text.
		if len(password) < 8 || strings.Contains("redis://user:**@host:6379/0", password) {
			return
		}
		target, err = Parse("redis://user:"+escape(password)+"@host", nil)
		if err != nil || target.password != password {
			t.Fatalf("%q: got %+v, %v", password, target, err)
		}
		if strings.Contains(fmt.Sprint(target), password) {
			t.Fatalf("%s shows the password", target)
		}
	})
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
