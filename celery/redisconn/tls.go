package redisconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tlsConfig takes the ssl_* options of redis-py (redis/connection.py SSLConnection).
func tlsConfig(o *options) (*tls.Config, []string, error) {
	var notes []string
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	reqs, given := o.values["ssl_cert_reqs"]
	delete(o.values, "ssl_cert_reqs")
	verify, err := certReqs(reqs, given)
	if err != nil {
		return nil, nil, err
	}
	checkName := true
	if _, found := o.values["ssl_check_hostname"]; found {
		if checkName, err = o.boolean("ssl_check_hostname"); err != nil {
			return nil, nil, err
		}
	}
	if config.RootCAs, err = roots(o); err != nil {
		return nil, nil, err
	}
	if o.text("ssl_password") != "" {
		return nil, nil, errors.New("ssl_password: an encrypted private key cannot be read, decrypt it")
	}
	cert, key := o.text("ssl_certfile"), o.text("ssl_keyfile")
	if cert != "" || key != "" {
		if key == "" {
			key = cert // one file may hold both
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, nil, fmt.Errorf("ssl_certfile %q, ssl_keyfile %q: %w", cert, key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	switch {
	case !verify:
		config.InsecureSkipVerify = true
		notes = append(notes, "ssl_cert_reqs=none: whoever answers is trusted, the certificate is not looked at")
	case !checkName:
		config.InsecureSkipVerify = true
		config.VerifyConnection = chainOnly(config.RootCAs)
		notes = append(notes, "ssl_check_hostname=false: any certificate that the authority signed is accepted")
	}
	for key := range o.values {
		if strings.HasPrefix(key, "ssl_") {
			notes = append(notes, key+" has no effect: Go's own choice of protocol and ciphers is used, TLS 1.2 or newer")
		}
	}
	return config, notes, nil
}

// certReqs reads ssl_cert_reqs: a name, or the number of Python's ssl.CERT_* constant. For a client OPTIONAL is the
// same as REQUIRED.
func certReqs(v any, given bool) (verify bool, err error) {
	if v == nil {
		return !given, nil // Python's None is CERT_NONE
	}
	switch name := strings.ToLower(fmt.Sprint(v)); strings.TrimPrefix(strings.TrimPrefix(name, "verifymode."), "cert_") {
	case "required", "optional", "1", "2":
		return true, nil
	case "none", "0":
		return false, nil
	}
	return false, fmt.Errorf("ssl_cert_reqs %q is not one of required, optional, none", v)
}

// roots returns the authorities to trust; nil means those of the system.
func roots(o *options) (*x509.CertPool, error) {
	file, dir, data := o.text("ssl_ca_certs"), o.text("ssl_ca_path"), o.text("ssl_ca_data")
	if file == "" && dir == "" && data == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if data != "" && !pool.AppendCertsFromPEM([]byte(data)) {
		return nil, errors.New("ssl_ca_data: no PEM certificate in it")
	}
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("ssl_ca_certs: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ssl_ca_certs: no PEM certificate in %s", file)
		}
	}
	if dir != "" {
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("ssl_ca_path: %w", err)
		}
		for _, f := range files {
			if pem, err := os.ReadFile(filepath.Join(dir, f.Name())); err == nil {
				pool.AppendCertsFromPEM(pem)
			}
		}
	}
	return pool, nil
}

// chainOnly verifies the certificate but not the name that it was issued for.
func chainOnly(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(opts)
		return err
	}
}
