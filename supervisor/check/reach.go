package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/agensium/agensium/celery/redisconn"
)

// reach goes from the name to a connection. With Sentinel the master is found by the connection that greets.
func (r *run) reach(ctx context.Context, t *redisconn.Target) bool {
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	if t.Master != "" {
		r.add(ok("sentinel", "%s are asked for the address of %q with each connection", t.Addr(), t.Master))
		return true
	}
	network := "unix"
	if !t.Unix {
		network = "tcp"
		if !r.resolve(ctx, t.Host) {
			return false
		}
	}
	begun := time.Now()
	conn, err := (&net.Dialer{Resolver: r.Resolver}).DialContext(ctx, network, t.Addr())
	if err != nil {
		r.add(refused(network, "connect", err))
		return false
	}
	defer conn.Close()
	r.add(ok(network, "connected to %s in %s", conn.RemoteAddr(), shown(time.Since(begun))))
	switch {
	case t.TLS() != nil:
		return r.handshake(ctx, t, conn)
	case !t.Unix:
		r.add(unprotected(t, conn.RemoteAddr()))
	}
	return true
}

func (r *run) resolve(ctx context.Context, host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true // an address, not a name
	}
	begun := time.Now()
	addrs, err := r.Resolver.LookupHost(ctx, host)
	if err != nil {
		r.add(refused("dns", "look up "+host, err))
		return false
	}
	r.add(ok("dns", "%s is %s, found in %s", host, strings.Join(addrs, ", "), shown(time.Since(begun))))
	return true
}

// soon is when a certificate's end deserves a warning.
const soon = 14 * 24 * time.Hour

func (r *run) handshake(ctx context.Context, t *redisconn.Target, raw net.Conn) bool {
	config := t.TLS()
	if config.ServerName == "" {
		config.ServerName = t.Host
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		r.add(refused("tls", "secure the connection", &redisconn.HandshakeError{Addr: t.Addr(), Err: err}))
		return false
	}
	state := conn.ConnectionState()
	cert := state.PeerCertificates[0]
	left := time.Until(cert.NotAfter)
	text := fmt.Sprintf("%s, certificate of %s by %s, %d days left", tls.VersionName(state.Version),
		orUnnamed(cert.Subject.String()), orUnnamed(cert.Issuer.String()), int(left.Hours()/24))
	switch {
	case left < soon:
		r.add(warning("tls", "Renew the certificate: when it has run out, nothing connects any more.", "%s", text))
	case config.InsecureSkipVerify:
		r.add(warning("tls", "Without these options the server has to prove who it is; ssl_ca_certs names the authority to believe.",
			"%s; it is not verified in full", text))
	default:
		r.add(ok("tls", "%s", text))
	}
	return true
}

func orUnnamed(s string) string {
	if s == "" {
		return "(no name)"
	}
	return s
}

// unprotected judges a plain connection by where it goes.
func unprotected(t *redisconn.Target, to net.Addr) Result {
	if private(t.Host, to) {
		return ok("tls", "none; %s is in a private network", to)
	}
	return warning("tls", "Use rediss:// if the server offers it, or a private network: password and tasks can be read on the way.",
		"none, and %s is a public address", to)
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: carriers' networks, and overlays such as Tailscale's

// private tells whether a connection stays within a machine or a network of its owner's.
func private(host string, to net.Addr) bool {
	if strings.HasSuffix(host, ".internal") {
		return true
	}
	at, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return true // a unix socket
	}
	ip := at.Addr().Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || shared.Contains(ip)
}

// unanswered looks for the reason why a connection that came about got no answer: servers that want TLS hang up without a word.
func unanswered(ctx context.Context, t *redisconn.Target, r Result) Result {
	if r.Cause != redisconn.Unreachable || t.TLS() != nil || t.Unix || t.Master != "" {
		return r
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", t.Addr())
	if err != nil {
		return r
	}
	defer raw.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn := tls.Client(raw, &tls.Config{ServerName: t.Host, InsecureSkipVerify: true}) // nothing is sent
	if conn.HandshakeContext(ctx) != nil {
		return r
	}
	r.Cause, r.Hint = redisconn.TLS, "The server speaks TLS on this port: use rediss://."
	return r
}
