package redisconn

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// parts is a URL taken apart as Python does it (kombu/utils/url.py url_to_parts): net/url is stricter, and puts what
// it refuses, passwords included, into its errors.
type parts struct {
	scheme   string
	host     string // lower case, without brackets
	port     int    // 0 if absent
	username string
	password string
	path     string // without the first slash
	query    map[string]string
}

func split(raw string) (parts, error) {
	var p parts
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return p, fmt.Errorf("a URL begins with a scheme such as redis://")
	}
	p.scheme = strings.ToLower(scheme)
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	p.path = unquote(path)
	p.query = parseQuery(query)

	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		p.username, p.password = unquote(user), unquote(password)
		authority = authority[at+1:]
	}
	host, port := authority, ""
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return p, fmt.Errorf("an IPv6 address needs its closing bracket")
		}
		host = authority[1:end]
		if rest := authority[end+1:]; rest != "" {
			if rest[0] != ':' {
				return p, fmt.Errorf("after the closing bracket of an IPv6 address comes the port or nothing")
			}
			port = rest[1:]
		}
	} else {
		host, port, _ = strings.Cut(authority, ":")
		if strings.Contains(port, ":") {
			return p, fmt.Errorf("an IPv6 address stands in brackets")
		}
	}
	p.host = strings.ToLower(unquote(host))
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			// What stands here may be the tail of a password with a bare slash or question mark in it.
			return p, fmt.Errorf("the port is not a number up to 65535 (in a password write %%2F for /, %%3F for ? and %%23 for #)")
		}
		p.port = int(n)
	}
	return p, nil
}

// unquote undoes percent-encoding and lets pass what is not percent-encoding, as Python's urllib.parse.unquote does.
func unquote(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// parseQuery keeps the last of repeated keys and drops empty values, as dict(parse_qsl(query)) does.
func parseQuery(query string) map[string]string {
	values := map[string]string{}
	for _, pair := range strings.Split(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if value != "" {
			values[plus(key)] = plus(value)
		}
	}
	return values
}

func plus(s string) string {
	if v, err := url.QueryUnescape(s); err == nil {
		return v
	}
	return unquote(strings.ReplaceAll(s, "+", " "))
}
