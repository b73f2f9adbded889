package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/agensium/agensium/supervisor/admin"
	"github.com/agensium/agensium/supervisor/config"
)

// healthCommand is for HEALTHCHECK lines: no curl is needed in the image.
type healthCommand struct {
	Live    bool   `help:"Ask whether it makes progress, not whether it consumes: for platforms that kill what is unhealthy."`
	Address string `placeholder:"HOST:PORT" help:"Admin address of the node. Default: admin.listen of the settings."`
}

// Run is called by kong.
func (h healthCommand) Run(c *call) error {
	ask := "/readyz"
	if h.Live {
		ask = "/livez"
	}
	address, home, err := c.adminAddress(h.Address)
	if err != nil { // in one line, and never with status 2, which Docker keeps for itself
		line, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(line)
	}
	a, err := get(c.ctx, address, ask)
	if err == nil {
		err = home.check(address, a)
	}
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(string(a.body))
	if a.code != http.StatusOK {
		return errors.New(reason)
	}
	if home.unsure(a) {
		reason += " (" + a.whose() + ")"
	}
	fmt.Fprintln(c.std.out, reason)
	return nil
}

// adminAddress is where the local node answers: the address given, else that of the settings, and what node is expected there.
func (c *call) adminAddress(given string) (string, home, error) {
	expected := home{any: given != ""}
	if given == "" {
		loaded, err := c.load(&config.Flags{})
		if err != nil { // the node may run on with what the file said before
			if loaded = config.Glance(c.input(&config.Flags{})); loaded == nil {
				return "", home{}, err
			}
		}
		given, expected.settings = loaded.Config.Admin.Listen, loaded.Path
	}
	if given == "" {
		return "", home{}, usage(errors.New("the admin server is switched off"), `set admin.listen, it is ""`)
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return "", home{}, usage(fmt.Errorf("admin address: %w", err), "give it as host:port")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost" // of either IP version
	}
	return net.JoinHostPort(host, port), expected, nil
}

const (
	askTimeout = 10 * time.Second
	maxAnswer  = 16 << 20
)

// unanswered is a node that is not there, or is not a node.
type unanswered struct {
	address string
	err     error
}

func (u *unanswered) Error() string {
	return fmt.Sprintf("no node answers on %s: %v", u.address, u.err)
}
func (u *unanswered) Unwrap() error { return u.err }

// answered is what an admin server said, and whose it is.
type answered struct {
	code       int
	body       []byte
	node, home string
}

func (a *answered) whose() string { return a.node + " of " + a.home }

// get asks the local node. Proxies of the environment are not for it.
func get(ctx context.Context, address, path string) (*answered, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, &unanswered{address, rootOf(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, &unanswered{address, rootOf(err)}
	}
	a := &answered{code: resp.StatusCode, body: body}
	if a.node, _ = url.PathUnescape(resp.Header.Get(admin.HeaderNode)); a.node == "" {
		return nil, &unanswered{address, errors.New("what answers is not agensium")}
	}
	a.home, _ = url.PathUnescape(resp.Header.Get(admin.HeaderHome))
	return a, nil
}

// rootOf drops what the HTTP client says around a network error: the address stands beside it already.
func rootOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
