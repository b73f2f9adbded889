package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

// authority signs certificates for servers.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-100 * 24 * time.Hour), NotAfter: time.Now().Add(time.Hour * 24 * 365), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) write(t testing.TB, name, kind string, der []byte) {
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// serve starts a Redis that speaks TLS, with a certificate for 127.0.0.1 or another name that ends after life. It returns its port.
func (a *authority) serve(t testing.TB, name string, life time.Duration) int {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-50 * 24 * time.Hour), NotAfter: time.Now().Add(life),
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "cert.pem", "CERTIFICATE", der)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "key.pem", "PRIVATE KEY", private)
	port := celerytest.FreePort(t)
	celerytest.StartRedis(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", a.file("cert.pem"), "--tls-key-file", a.file("key.pem"),
		"--tls-ca-cert-file", a.file("ca.pem"), "--tls-auth-clients", "no")
	return port
}

func (a *authority) url(port int, query string) string {
	return "rediss://127.0.0.1:" + strconv.Itoa(port) + "/0?" + query
}

func (a *authority) trusted() string { return "ssl_ca_certs=" + url.QueryEscape(a.file("ca.pem")) }

const day = 24 * time.Hour

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	port := a.serve(t, "127.0.0.1", 90*day)
	r := checked(t, a.url(port, a.trusted()))
	r.expect(t, "tls", OK, "", "TLS 1.3", "CN=redis", "by CN=test authority", "89 days left")
	if !r.OK() {
		t.Error("not fit")
	}
}

func TestCertificateEndsSoon(t *testing.T) {
	a := newAuthority(t)
	r := checked(t, a.url(a.serve(t, "127.0.0.1", 5*day), a.trusted()))
	r.expect(t, "tls", Warning, "", "4 days left", "Renew")
}

func TestUnverifiedCertificateIsWarnedAbout(t *testing.T) {
	a := newAuthority(t)
	r := checked(t, a.url(a.serve(t, "other.example", 90*day), "ssl_cert_reqs=none"))
	r.expect(t, "tls", Warning, "", "not verified in full", "ssl_ca_certs")
	if !r.OK() {
		t.Error("not fit")
	}
}

func TestUnknownAuthority(t *testing.T) {
	a := newAuthority(t)
	r := checked(t, a.url(a.serve(t, "127.0.0.1", 90*day), ""))
	r.expect(t, "tls", Failed, redisconn.TLS, "unknown authority", "ssl_ca_certs=")
}

func TestExpiredCertificate(t *testing.T) {
	a := newAuthority(t)
	r := checked(t, a.url(a.serve(t, "127.0.0.1", -2*day), a.trusted()))
	r.expect(t, "tls", Failed, redisconn.TLS, "expired", "renew it")
}

func TestCertificateOfAnotherName(t *testing.T) {
	a := newAuthority(t)
	r := checked(t, a.url(a.serve(t, "other.example", 90*day), a.trusted()))
	r.expect(t, "tls", Failed, redisconn.TLS, "for another name")
}

func TestPlainURLToTLSPort(t *testing.T) {
	a := newAuthority(t)
	port := a.serve(t, "127.0.0.1", 90*day)
	r := checked(t, "redis://127.0.0.1:"+strconv.Itoa(port)+"/0")
	r.expect(t, "ping", Failed, redisconn.TLS, "speaks TLS", "rediss://")
}

func TestTLSURLToPlainPort(t *testing.T) {
	s := celerytest.StartRedis(t)
	checked(t, "rediss://"+s.Addr()+"/0").expect(t, "tls", Failed, redisconn.TLS, "redis://")
}
