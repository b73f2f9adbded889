package python

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// startRedis starts a server of the test's own, on a socket in its directory.
func startRedis(t testing.TB) (client *redis.Client, url string) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "redis", "no redis-server")
	}
	socket := filepath.Join(t.TempDir(), "redis")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(socket))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "ready to accept connections") &&
		!strings.Contains(lines.Text(), "now ready to accept") {
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
		}
	}()
	client = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, DisableIdentity: true})
	t.Cleanup(func() {
		client.Close()
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Fatal(fmt.Errorf("redis-server: %w", err))
	}
	return client, "redis+socket://" + socket
}
