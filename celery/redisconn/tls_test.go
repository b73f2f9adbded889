package redisconn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

// authority signs certificates and writes them to files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.issue("ca", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

// issue writes <name>.pem and <name>.key, by default for a server on loopback.
func (a *authority) issue(name string, change func(*x509.Certificate)) (cert, key string) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(template)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.key = private
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

func (a *authority) ca() string { return filepath.Join(a.dir, "ca.pem") }

// start starts a Redis with a TLS port and returns host:port of that.
func (a *authority) start(cert, key string, args ...string) (plain *celerytest.Redis, addr string) {
	port := celerytest.FreePort(a.t)
	args = append([]string{"--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", a.ca()}, args...)
	return celerytest.StartRedis(a.t, args...), fmt.Sprintf("127.0.0.1:%d", port)
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	none := func(*x509.Certificate) {}
	cert, key := a.issue("server", none)
	r, addr := a.start(cert, key, "--tls-auth-clients", "no")
	ping := func(url string, transport map[string]any) error {
		return client(t, url, transport).Ping(t.Context()).Err()
	}
	url := "rediss://" + addr + "/1"
	expect(t, ping(url+"?ssl_ca_certs="+a.ca(), nil), "", "")
	expect(t, ping(url+"?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs="+a.ca(), nil), "", "")
	expect(t, ping(url+"?ssl_cert_reqs=optional&ssl_ca_path="+a.dir, nil), "", "")
	expect(t, ping(url+"?ssl_cert_reqs=none", nil), "", "")
	expect(t, ping(url, map[string]any{"ssl": map[string]any{"ssl_cert_reqs": 2.0, "ssl_ca_certs": a.ca()}}), "", "")
	expect(t, ping(url, map[string]any{"ssl": map[string]any{"ssl_cert_reqs": nil}}), "", "")
	expect(t, ping(url, nil), TLS, "authority that is not known")
	expect(t, ping(url+"?ssl_ca_certs="+newAuthority(t).ca(), nil), TLS, "authority that is not known")

	t.Run("plain to a TLS port", func(t *testing.T) {
		err := ping("redis://"+addr, nil)
		if got := Classify(err); !strings.Contains(got.Hint, "rediss://") {
			t.Errorf("%v: %+v", err, got)
		}
	})
	t.Run("TLS to a plain port", func(t *testing.T) {
		target, err := Parse("rediss://"+r.Addr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		// Redis takes the handshake for an inline command, and answers if there is a line end in it.
		c := target.Client(ClientOptions{DialTimeout: 5 * time.Second})
		defer c.Close()
		expect(t, c.Ping(t.Context()).Err(), TLS, "redis://")
	})
	t.Run("other name", func(t *testing.T) {
		cert, key := a.issue("other", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"redis.example"} })
		_, addr := a.start(cert, key, "--tls-auth-clients", "no")
		url := "rediss://" + addr + "?ssl_ca_certs=" + a.ca()
		expect(t, ping(url, nil), TLS, "another name")
		expect(t, ping(url+"&ssl_check_hostname=false", nil), "", "")
		expect(t, ping("rediss://"+addr+"?ssl_check_hostname=false", nil), TLS, "authority")
	})
	t.Run("expired", func(t *testing.T) {
		cert, key := a.issue("expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
		_, addr := a.start(cert, key, "--tls-auth-clients", "no")
		expect(t, ping("rediss://"+addr+"?ssl_ca_certs="+a.ca(), nil), TLS, "expired")
	})
	t.Run("client certificate", func(t *testing.T) {
		_, addr := a.start(cert, key)
		url := "rediss://" + addr + "?ssl_ca_certs=" + a.ca()
		expect(t, ping(url, nil), TLS, "client certificate")
		mine, myKey := a.issue("client", none)
		expect(t, ping(url+"&ssl_certfile="+mine+"&ssl_keyfile="+myKey, nil), "", "")
	})
}

// A provider closes connections that were idle. The next command, which may be a task that is sent, has nothing to do with that.
func TestAConnectionThatWasClosedWhileIdleIsNotUsed(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server", func(*x509.Certificate) {})
	r, addr := a.start(cert, key, "--tls-auth-clients", "no")
	killer := r.Client(0)
	for name, url := range map[string]string{"plain": r.URL(0), "TLS": "rediss://" + addr + "/0?ssl_ca_certs=" + a.ca()} {
		t.Run(name, func(t *testing.T) {
			c := client(t, url, nil)
			if err := c.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if n, err := killer.ClientKillByFilter(t.Context(), "TYPE", "normal").Result(); err != nil || n == 0 {
				t.Fatalf("killed %d, %v", n, err)
			}
			if err := c.Ping(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}
