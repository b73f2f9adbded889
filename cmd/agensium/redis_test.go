package main

import (
	"context"
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

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// basics are the scenarios that show that a worker works.
var basics = []string{"set success", "set failure", "set chord", "set countdown"}

func works(t *testing.T, s *site) {
	t.Helper()
	got := s.client(basics...)
	want := map[string]any{
		"set success": []any{"SUCCESS", 5., []any{}}, "set chord": []any{"SUCCESS", 6., []any{}}, "set countdown": []any{"SUCCESS", 2., []any{}},
		"set failure": []any{"FAILURE", "ValueError('a', 1)", []any{"ValueError: ('a', 1)"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
}

// TestWaysToRedis reaches Redis in every way that a Celery URL can say.
func TestWaysToRedis(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, s *site){
		"unix socket": func(t *testing.T, s *site) {
			s.set("TEST_BROKER=redis+socket://"+s.redis.Socket()+"?virtual_host=2", "TEST_BACKEND=unix://"+s.redis.Socket()+"?db=3")
			s.conf(map[string]any{"result_backend": "redis+socket://" + s.redis.Socket() + "?virtual_host=3"})
		},
		"ACL user": func(t *testing.T, s *site) {
			for _, rule := range [][]any{
				{"ACL", "SETUSER", "celery", "on", ">Geheim-5", "~*", "&*", "+@all", "-@dangerous"},
				{"ACL", "SETUSER", "default", "off"},
			} {
				if err := s.broker().Do(t.Context(), rule...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			url := "redis://celery:Geheim-5@" + s.redis.Addr()
			s.set("TEST_BROKER="+url+"/0", "TEST_BACKEND="+url+"/1")
		},
		"TLS": func(t *testing.T, s *site) {
			cert, key := selfSigned(t)
			port := celerytest.FreePort(t)
			s.redis = celerytest.StartRedis(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
			url := fmt.Sprintf("rediss://localhost:%d", port)
			query := "?ssl_cert_reqs=required&ssl_ca_certs=" + cert
			s.set("TEST_BROKER="+url+"/0"+query, "TEST_BACKEND="+url+"/1"+query)
		},
		"TLS, nothing checked": func(t *testing.T, s *site) {
			cert, key := selfSigned(t)
			port := celerytest.FreePort(t)
			s.redis = celerytest.StartRedis(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
			url := fmt.Sprintf("rediss://127.0.0.1:%d", port)
			s.set("TEST_BROKER="+url+"/0?ssl_cert_reqs=CERT_NONE", "TEST_BACKEND="+url+"/1?ssl_cert_reqs=none")
		},
		"Sentinel": func(t *testing.T, s *site) {
			sentinel := celerytest.StartSentinel(t, s.redis, "mymaster")
			url := "sentinel://" + sentinel.Addr()
			s.conf(map[string]any{
				"broker_url": url + "/0", "result_backend": url + "/1",
				"broker_transport_options": map[string]any{"master_name": "mymaster"}, "result_backend_transport_options": map[string]any{"master_name": "mymaster"},
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "celery-latest")
			prepare(t, s)
			node := s.node("-c", "2")
			works(t, s)
			cleanEnd(t, node)
		})
	}
}

// selfSigned makes a certificate for the loopback addresses and returns the paths of it and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestRedisAbsentAtTheStart starts a worker before its Redis.
func TestRedisAbsentAtTheStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	s.redis.Kill()
	node := s.start("worker", "-A", "proj", "-c", "2")
	s.printed(node, "connection refused")
	s.redis.Start()
	works(t, s)
	cleanEnd(t, node)
}

// TestRedisGoneInTheMiddle takes Redis away while tasks run: their results are stored when it is back, and new tasks are run.
func TestRedisGoneInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	s.redis = celerytest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	file := filepath.Join(t.TempDir(), "go")
	s.set("TEST_BROKER="+s.redis.URL(0), "TEST_BACKEND="+s.redis.URL(1), "TEST_FILE="+file)
	node := s.node("-c", "2")
	id := strings.TrimSpace(s.script("import proj; print(proj.wait_for_file.delay('running').id)"))
	s.noted("running", 1)
	s.redis.Kill()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.printed(node, "broker is not usable")
	s.printed(node, "result store is not usable")
	s.redis.Start()
	celerytest.Eventually(t, "the result of the task that ran meanwhile", func() bool { return s.state(id) == "SUCCESS" })
	works(t, s)
	if ran := s.notes("running"); len(ran) != 1 {
		t.Errorf("the task ran %d times", len(ran))
	}
	cleanEnd(t, node)
}

// TestAWrongPassword ends at once with the status of a wrong setup, and says what is wrong.
func TestAWrongPassword(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	url := "redis://:Geheim-5@" + s.redis.Addr()
	s.set("TEST_BROKER="+url+"/0", "TEST_BACKEND="+url+"/1")
	admin := s.broker()
	setPassword := func(password string) {
		t.Helper()
		if err := admin.ConfigSet(t.Context(), "requirepass", password).Err(); err != nil {
			t.Fatal(err)
		}
	}
	setPassword("another")
	node := s.start("worker", "-A", "proj", "-c", "2")
	if status := node.Wait(); status != exitUsage || !strings.Contains(node.Output(), "hint: User or password is wrong") {
		t.Errorf("exit status %d", status)
	}
	if strings.Contains(node.Output(), "Geheim") {
		t.Error("the password is shown")
	}
	setPassword("Geheim-5")
	node = s.node("-c", "2")
	works(t, s)
	cleanEnd(t, node)
}

// TestAFullRedis keeps a result until Redis takes it.
func TestAFullRedis(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	node := s.node("-c", "1")
	ids := strings.Fields(s.script("import proj; print(proj.wait_for.delay('full', 'a').id, proj.add.delay(1, 1).id)"))
	s.noted("full", 1)
	ctx := context.Background()
	admin := s.broker()
	full := s.results().TxPipeline() // the task may not end before Redis is full
	full.Set(ctx, "go:full", 1, 0)
	full.ConfigSet(ctx, "maxmemory", "1")
	if _, err := full.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	s.printed(node, "result store is not usable: reason=oom")
	if err := admin.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		celerytest.Eventually(t, "both results", func() bool { return s.state(id) == "SUCCESS" })
	}
	cleanEnd(t, node)
}
